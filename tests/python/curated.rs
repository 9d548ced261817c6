//! Curated sources of PyPI: plans, commits, what clients get, and older snapshots.

use rstudio_pm::db::curation::DefinitionFile;
use rstudio_pm::db::invariants;
use rstudio_pm::edit::curation::Input;
use rstudio_pm::edit::python::{self as curated, PythonUpdate, PythonUpdateRequest};
use rstudio_pm::edit::{self, OnExisting, RemoveScope};
use rstudio_pm::index::PageReads;
use rstudio_pm::model::kind::{RepoKind, SourceKind};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::python::name;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::sync::Sync;

use super::clients::{command, installed_version, program, run, text};
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names};
use crate::support::python::package::{Package, write};
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

pub(super) fn wheel(pypi: &Pypi, name: &str, version: &str, uploaded: &str) {
    let package = Package::new(name, version);
    let file = package.wheel_name();
    pypi.add(name, &file, &package.wheel(), uploaded);
    pypi.edit(name, &file, |file| file.metadata = Some(package.metadata().into_bytes()));
}

/// Starts a server with the curated source `subset`, the only one of the repository `py`, after a sync of PyPI.
pub(super) fn start(pypi: &Pypi) -> Server {
    for (version, uploaded) in
        [("1.0", "2019-01-01T00:00:00Z"), ("1.5", "2020-01-01T00:00:00Z"), ("2.0", "2021-01-01T00:00:00Z")]
    {
        wheel(pypi, "lib", version, uploaded);
        wheel(pypi, "odd", version, uploaded);
    }
    wheel(pypi, "other", "1.0", "2019-01-01T00:00:00Z");
    let gcfg = format!("[PyPI]\nURL = {}\n", pypi.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    let created = server.rspm_stdout("create source --name=subset --type=curated-pypi");
    assert_eq!(created, "Source 'subset':\n  Type:  Curated PyPI\n");
    server.rspm_stdout("subscribe --repo=py --source=subset");
    server
}

pub(super) fn update(server: &Server, flags: &str) -> RspmOutput {
    server.rspm(&format!("update --source=subset {flags}"))
}

pub(super) fn file(version: &str, project: &str) -> String {
    format!("{project}-{version}-py3-none-any.whl")
}

#[test]
fn a_plan_is_printed_and_a_commit_serves_only_what_is_allowed() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    let definition = write(&server, "requirements.txt", b"Lib<2  # old\n-r more.txt\n");
    write(&server, "more.txt", b"other\n");
    let definition = definition.display();
    let flags = format!("--file-in={definition} --snapshot=2022-01-01");
    let output = update(&server, &flags);
    assert!(output.code == 1 && output.err.contains("rspm sync --type=pypi"), "{output:?}");
    server.sync_of("pypi").expect("an index");
    pypi.take_requests();

    let plan = update(&server, &flags);
    assert_eq!((plan.code, plan.err.as_str()), (0, ""), "{}", plan.out);
    let last =
        "To complete this operation, execute this command with the --commit and --snapshot=2022-01-01 flags.";
    assert!(plan.out.trim_end().ends_with(last) && plan.out.contains("2 added"), "{}", plan.out);
    assert_eq!(pypi.take_requests(), ["/simple/lib/"], "only a line with a version needs a page");
    assert_eq!(get(&server, "/py/latest/simple/lib/").status, 404, "a plan changes nothing");

    let csv = server.dir().join("plan.csv");
    let commit = update(&server, &format!("{flags} --commit --csv-out={}", csv.display()));
    assert!(commit.code == 0 && commit.out.contains("was updated in transaction"), "{commit:?}");
    let csv = std::fs::read_to_string(csv).expect("a plan");
    let columns = "name,versions,files,newest,change,blocked_files,blocked,why";
    assert_eq!(csv, format!("{columns}\nlib,<2,2,1.5,added,,,\nother,all versions,,,added,,,\n"));
    assert!(pypi.take_requests().is_empty(), "a commit reads no page again");
    assert!(update(&server, &format!("{flags} --commit")).out.contains("Nothing changed"));

    assert_eq!(names(&server, "latest", "lib"), [file("1.0", "lib"), file("1.5", "lib")]);
    assert_eq!(names(&server, "latest", "other"), [file("1.0", "other")]);
    assert_eq!(get(&server, "/py/latest/simple/odd/").status, 404, "the definition does not name it");
    let root = get(&server, "/py/latest/simple/").json();
    assert_eq!(root["projects"].as_array().map(Vec::len), Some(2), "{root}");
    let info = server.json("info --source=subset");
    assert_eq!(
        (info["packages"].as_i64(), info["definition"]["snapshot"].as_str()),
        (Some(2), Some("2022-01-01"))
    );
    assert_eq!(info["definition"]["files"][0]["text"], "Lib<2  # old\n-r more.txt\n", "{info}");
    server.rspm_stdout("create source --name=wheels --type=local-python");
    let guard = server.rspm_stdout("create name-guard --name=l* --source=wheels --dry-run");
    assert!(guard.contains("It would hide 2 packages of other sources: lib (pypi), lib (subset)"), "{guard}");
    let listed = server.rspm_stdout("list packages --source=subset");
    assert!(listed.contains("lib") && listed.contains("other") && !listed.contains("odd"), "{listed}");
    let explained = server.rspm_stdout("explain py lib");
    assert!(explained.contains("subset") && explained.contains("1.5"), "{explained}");
    assert!(explained.starts_with("Snapshot\n* latest: with PyPI as of 20"), "{explained}");
    let detail = server.get("/__api__/repos/py/packages/lib").json();
    assert_eq!(detail["version"], "1.5", "{detail}");

    // Files that the definition does not allow have no address here, whatever PyPI lists.
    server.rspm_stdout("create repo --name=all --type=python");
    server.rspm_stdout("subscribe --repo=all --source=pypi");
    let page = get(&server, "/all/latest/simple/lib/").json();
    for entry in page["files"].as_array().expect("files") {
        let url = entry["url"].as_str().expect("an address");
        let url = url.strip_prefix("../../").expect("relative");
        let expected = if entry["filename"] == file("2.0", "lib") { 404 } else { 200 };
        for address in [format!("/py/latest/{url}"), format!("/py/latest/{url}.metadata")] {
            assert_eq!(server.get(&address).status, expected, "{address}");
        }
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_file_line_and_remedy() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    for (lines, reason) in [
        ("lib\nnothere>=1\n", "r.txt, line 2: there is no package 'nothere' at 2022-01-01; correct the name"),
        (
            "lib==1.7\n",
            "r.txt, line 1: there is no 'lib==1.7' (the closest versions are 1.0, 1.5, 2.0) at 2022-01-01",
        ),
        ("lib=>1\n", "r.txt: line 1: '=>1' is not a version specifier"),
        ("lib\n--global-option=x\n", "r.txt: line 2: the option '--global-option' is not supported"),
    ] {
        let path = write(&server, "r.txt", lines.as_bytes());
        let flags = format!("--file-in={} --snapshot=2022-01-01 --commit", path.display());
        let output = update(&server, &flags);
        assert!(output.code == 1 && output.err.contains(reason), "{lines}: {output:?}");
    }
    // Lines of a megabyte, and other encodings.
    let long = |begin: &str| format!("lib\n{begin}{}\n", "a".repeat(1 << 20)).into_bytes();
    let utf16 = |mark: &[u8], unit: fn(u16) -> [u8; 2]| {
        let text = "lib\n".encode_utf16().flat_map(unit);
        mark.iter().copied().chain(text).collect::<Vec<u8>>()
    };
    for (bytes, reason) in [
        (long(""), "line 2: a requirement has 1048576 bytes, more than the 65536 allowed"),
        (long("lib=="), "line 2: a requirement has 1048581 bytes, more than the 65536 allowed"),
        (long("--"), "line 2: the option '--aaaa"),
        (long("lib --hash="), "line 2: 'aaaa"),
        (utf16(&[], u16::to_le_bytes), "line 1: there is a NUL character"),
        (
            b"lib # r\xe9sum\xe9\n".to_vec(),
            "the bytes after position 7 are not UTF-8; save the file as UTF-8",
        ),
    ] {
        let path = write(&server, "long.txt", &bytes);
        let output = update(&server, &format!("--file-in={} --snapshot=2022-01-01 --commit", path.display()));
        let is_named = output.err.contains("long.txt") && output.err.contains(reason);
        assert!(output.code == 1 && is_named && output.err.len() < 1000, "{reason}: {output:?}");
    }
    assert!(server.json("info --source=subset")["definition"].is_null());
    let path = write(&server, "r.txt", b"lib==2.0\n");
    let output = update(&server, &format!("--file-in={} --snapshot=2020-06-30", path.display()));
    assert!(output.code == 1 && output.err.contains("there is no 'lib==2.0'"), "a later upload: {output:?}");
    assert!(!output.out.contains("To complete"), "{output:?}");
    let output = update(&server, "--snapshot=2020-06-30");
    assert!(output.err.contains("has no definition yet"), "{output:?}");
    let output = update(&server, "--snapshot=2999-01-01 --file-in=/nonexistent");
    assert!(output.err.contains("could not read /nonexistent"), "{output:?}");
    let output = update(&server, &format!("--file-in={} --snapshot=2999-01-01", path.display()));
    assert!(output.err.contains("--snapshot=2999-01-01 is in the future"), "{output:?}");
    assert_eq!(
        update(&server, &format!("--file-in={} --commit", path.display())).code,
        2,
        "without --snapshot"
    );
    server.rspm_stdout("create source --name=team --type=local-python");
    let refused = server.refused(&format!("update --source=team --file-in={}", path.display()));
    assert!(refused.contains("only sources of type curated-pypi have a definition"), "{refused}");
}

#[test]
fn pip_and_uv_install_only_allowed_versions() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    let hash = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(Package::new("odd", "1.0").wheel()))
    };
    let lines = format!("lib<2\nodd --hash=sha256:{hash}\n");
    let definition = write(&server, "requirements.txt", lines.as_bytes());
    let flags = format!("--file-in={} --snapshot=2022-01-01 --commit", definition.display());
    assert_eq!(update(&server, &flags).code, 0);
    let index = server.url("/py/latest/simple");
    for (requirement, installed) in
        [("lib", Some("1.5")), ("odd", Some("1.0")), ("lib==2.0", None), ("other", None)]
    {
        let folder = requirement.replace('=', "-");
        let pip_target = server.dir().join(format!("pip-{folder}"));
        let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
        pip.arg(&pip_target).args(["-i", &index, requirement]);
        let uv_target = server.dir().join(format!("uv-{folder}"));
        let mut uv = command(&server, &program("uv", "uv"), "home-uv");
        uv.args(["pip", "install", "--target"]).arg(&uv_target).args([
            "--default-index",
            &index,
            requirement,
        ]);
        for (client, target) in [(pip, pip_target), (uv, uv_target)] {
            let output = run(client);
            assert_eq!(output.status.success(), installed.is_some(), "{requirement}: {}", text(&output));
            let name = requirement.split('=').next().expect("a name");
            assert_eq!(installed_version(&target, name).as_deref(), installed, "{}", target.display());
        }
    }
}

#[test]
fn packages_are_added_and_removed_one_by_one_and_the_first_source_owns_a_name() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    let add = |packages: &str, flags: &str| {
        server.rspm(&format!("add --source=subset --packages={packages} --snapshot=2022-01-01 {flags}"))
    };
    let plan = add("lib==1.0,odd", "");
    assert!(plan.code == 0 && plan.out.contains("2 added"), "{plan:?}");
    assert_eq!(add("lib==1.0,odd", "--commit").code, 0);
    assert_eq!(add("lib==2.0", "--commit").code, 0);
    assert_eq!(names(&server, "latest", "lib"), [file("1.0", "lib"), file("2.0", "lib")]);
    assert_eq!(names(&server, "latest", "odd").len(), 3, "the package stays");
    let info = server.json("info --source=subset");
    assert_eq!(info["definition"]["files"][0]["text"], "lib==1.0\nlib==2.0\nodd\n", "{info}");

    // PyPI behind it provides what the definition does not name; a name has one owner.
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    assert_eq!(names(&server, "latest", "other"), [file("1.0", "other")]);
    assert_eq!(names(&server, "latest", "lib").len(), 2);
    let refused = server.refused("remove package --source=subset --name=lib@1.0");
    assert!(refused.contains("write lib@all to remove the package"), "{refused}");
    server.rspm_stdout("remove package --source=subset --name=lib@all");
    assert_eq!(names(&server, "latest", "lib").len(), 3, "of PyPI");
    let refused = server.refused("remove package --source=subset --name=lib@all");
    assert!(refused.contains("has no package 'lib'"), "{refused}");
}

#[test]
fn names_and_quarantines_are_those_of_the_index_and_there_are_no_serials() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    pypi.display("lib", "LIB");
    // One of a few projects that is no longer listed would look like another index.
    for number in 0..40 {
        pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2021-03-05T00:00:00Z");
    }
    server.sync_of("pypi").expect("an index");
    let definition = write(&server, "r.txt", b"lib<2\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01 --commit", definition.display());
    assert_eq!(update(&server, &flags).code, 0);
    let list = get(&server, "/py/latest/simple/");
    let projects = list.json()["projects"].clone();
    assert_eq!((&projects[0]["name"], projects.as_array().map(Vec::len)), (&"LIB".into(), Some(1)));
    let page = get(&server, "/py/latest/simple/lib/");
    for answer in [&list, &page] {
        let serial = answer.json()["meta"]["_last-serial"].clone();
        assert!(serial.is_null() && answer.header("x-pypi-last-serial").is_none(), "{serial}");
    }
    let url = page.json()["files"][0]["url"].as_str().expect("an address").to_owned();
    let file = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(server.get(&file).status, 200);
    pypi.quarantine("lib", true);
    server.sync_of("pypi").expect("an index");
    let page = get(&server, "/py/latest/simple/lib/").json();
    assert_eq!(page["project-status"]["status"], "quarantined", "{page}");
    assert_eq!(page["files"].as_array().map(Vec::len), Some(0), "{page}");
    assert_eq!(server.get(&file).status, 404, "the definition names it, and the index holds it back");
}

/// A backend with the curated source `subset`, the only one of the repository `py`.
pub(super) struct Curated {
    pub(super) backend: Backend,
}

impl Curated {
    /// Creates the source after a sync at noon on 2026-11-21.
    pub(super) async fn start(engine: db::Engine, pypi: &Pypi) -> Curated {
        let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
        let gcfg = format!("{settings}\n[PyPI]\nURL = {}", pypi.url());
        let backend = Backend::with_stores(StoresConfig { gcfg }).await;
        backend.advance_to_noon("2026-11-21");
        for (version, day) in [("1.0", "2019-01-01"), ("1.5", "2020-01-01"), ("2.0", "2021-01-01")] {
            wheel(pypi, "lib", version, &format!("{day}T00:00:00Z"));
        }
        wheel(pypi, "odd", "1.0", "2019-01-01T00:00:00Z");
        let repository = edit::NewRepo::open(&"py".parse().unwrap(), RepoKind::Python, "");
        edit::repo::create(&backend.state, repository, OnExisting::Fail, &actor()).await.unwrap();
        let name = "subset".parse().unwrap();
        edit::source::create(&backend.state, &name, SourceKind::CuratedPypi, OnExisting::Fail).await.unwrap();
        edit::subscription::subscribe(&backend.state, "py", "subset", None, OnExisting::Fail, &actor())
            .await
            .unwrap();
        let curated = Curated { backend };
        curated.sync().await;
        curated
    }

    pub(super) async fn sync(&self) {
        let state = &self.backend.state;
        let sync = Sync::new(PageReads::new(state.clone()), state.clone());
        let job = sync.start(SourceKind::Pypi).unwrap();
        job.job().wait_end().await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn update(&self, lines: Option<&str>, snapshot: &str) -> Result<PythonUpdate, RepoError> {
        self.plan_or_commit(lines, snapshot, true).await
    }

    pub(super) async fn plan_or_commit(
        &self,
        lines: Option<&str>,
        snapshot: &str,
        commit: bool,
    ) -> Result<PythonUpdate, RepoError> {
        let file = |text: &str| DefinitionFile { name: "r.txt".to_owned(), content: text.into() };
        let request = PythonUpdateRequest {
            source: "subset".to_owned(),
            input: lines.map_or(Input::Keep, |text| Input::Replace(vec![file(text)])),
            snapshot: Some(snapshot.parse().unwrap()),
            strict: false,
            dependencies: None,
            allow_missing: false,
            commit,
            comment: String::new(),
        };
        let update =
            curated::update(&self.backend.repositories, &self.backend.state, request, &actor()).await?;
        assert_eq!(update.plan.problems, Vec::<String>::new());
        Ok(update)
    }

    /// The versions that a project has in a snapshot; `None` if no source lists it.
    pub(super) async fn versions(&self, snapshot: Snapshot, project: &str) -> Option<Vec<String>> {
        let repositories = &self.backend.repositories;
        let point = serve::point::resolve(repositories, "py", snapshot).await.ok()?;
        let project = name::parse(project).unwrap();
        let detail =
            serve::project::detail::project(repositories, &point, project.as_str(), None).await.ok()?;
        Some(detail.releases.into_iter().map(|release| release.version).collect())
    }
}

async fn scenario(engine: db::Engine) {
    let pypi = Pypi::start();
    let curated = Curated::start(engine, &pypi).await;
    let mut steps = Vec::new();
    for (lines, snapshot, lib, odd) in [
        (Some("lib\n"), "2020-06-30", &["1.5", "1.0"][..], false),
        (Some("lib>=1.5\nodd\n"), "2022-01-01", &["2.0", "1.5"][..], true),
        // An earlier day with the same definition.
        (None, "2020-06-30", &["1.5"][..], true),
        (Some("odd\n"), "2022-01-01", &[][..], true),
    ] {
        let update = curated.update(lines, snapshot).await.unwrap();
        steps.push((update.transaction.expect("a transaction"), lib, odd));
    }
    assert_eq!(curated.update(None, "2022-01-01").await.unwrap().transaction, None, "nothing changed");
    let (repositories, state) = (&curated.backend.repositories, &curated.backend.state);
    let removed = curated::remove(repositories, state, "subset", "odd", RemoveScope::All, "", &actor()).await;
    assert_eq!(removed.unwrap(), ["all versions"]);
    let curated = Curated { backend: curated.backend.restart().await };
    for (transaction, lib, odd) in steps {
        let snapshot = Snapshot::Transaction(transaction);
        let expected: Option<Vec<String>> =
            (!lib.is_empty()).then(|| lib.iter().map(|version| (*version).to_owned()).collect());
        assert_eq!(curated.versions(snapshot, "lib").await, expected, "transaction {transaction}");
        assert_eq!(curated.versions(snapshot, "odd").await.is_some(), odd, "transaction {transaction}");
    }
    assert_eq!(curated.versions(Snapshot::Latest, "odd").await, None);
    let violations = curated.backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_transactions_keep_their_definition_on_sqlite() {
    scenario(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_transactions_keep_their_definition_on_postgres() {
    scenario(db::Engine::Postgres).await;
}
