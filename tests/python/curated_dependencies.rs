//! Curated sources of PyPI that include dependencies: plans, commits, what clients get, and gaps.

use rstudio_pm::db::curation::DefinitionFile;
use rstudio_pm::db::invariants;
use rstudio_pm::edit::RemoveScope;
use rstudio_pm::edit::curation::Input;
use rstudio_pm::edit::python::{self as curated, PythonUpdate, PythonUpdateRequest};
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::python::name;
use rstudio_pm::serve::RepoError;
use serde_json::json;

use super::clients::{command, installed_version, program, run, text};
use super::curated::{Curated, start, update};
use super::flask;
use super::oracle;
use crate::support::backend::actor;
use crate::support::data;
use crate::support::db::Engine;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names, wheel};
use crate::support::python::package::{Package, write};
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

const LAST_LINE: &str =
    "To complete this operation, execute this command with the --commit and --snapshot=2022-01-01 flags.";

/// Adds `app`, whose newest version requires `mid`, and with the extra `net` also `other`, to the index of [`start`].
/// `mid` requires `lib` and, on Windows, `win`.
fn add_app(pypi: &Pypi) {
    wheel(pypi, &Package::new("app", "1.0").requires("odd<1.5"), "2019-06-01T00:00:00Z");
    let app = Package::new("app", "2.0").requires("Mid>=1,<3").requires("other; extra == 'net'");
    wheel(pypi, &app, "2021-06-01T00:00:00Z");
    let mid = Package::new("mid", "1.0").requires("lib (>=1.5,<2)").requires("win ; sys_platform == 'win32'");
    wheel(pypi, &mid.requires("app"), "2019-01-01T00:00:00Z");
    wheel(pypi, &Package::new("mid", "3.0"), "2021-01-01T00:00:00Z");
    wheel(pypi, &Package::new("win", "1.0").requires("MID"), "2019-01-01T00:00:00Z");
}

fn plan(server: &Server, lines: &str, flags: &str) -> RspmOutput {
    let path = write(server, "r.txt", lines.as_bytes());
    update(server, &format!("--file-in={} --snapshot=2022-01-01 {flags}", path.display()))
}

#[test]
fn a_plan_states_why_each_package_is_included_and_the_commit_serves_them() {
    let pypi = Pypi::start();
    add_app(&pypi);
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    pypi.take_requests();
    let planned = plan(&server, "App\n", "--dependencies");
    assert_eq!((planned.code, planned.err.as_str()), (0, ""), "{}", planned.out);
    let rows = "Name  Versions      Files  Newest  Change  Why\n\
                app   all versions  2      2.0     added   root\n\
                lib   >=1.5,<2      1      1.5     added   app > mid > lib\n\
                mid   all versions  2      3.0     added   app > mid\n\
                win   all versions  1      1.0     added   app > mid > win\n\n\
                4 added, 0 changed, 0 removed, 0 kept; selected from PyPI as of 2022-01-01 23:59:59 UTC\n";
    let trimmed: Vec<&str> = planned.out.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = rows.lines().chain([LAST_LINE]).collect();
    assert_eq!(trimmed, expected);
    let requests = pypi.take_requests();
    let mut pages: Vec<&str> =
        requests.iter().filter(|path| path.starts_with("/simple/")).map(String::as_str).collect();
    pages.sort_unstable();
    assert_eq!(pages, ["/simple/app/", "/simple/lib/", "/simple/mid/", "/simple/win/"]);
    let metadata = requests.iter().filter(|path| path.ends_with(".metadata")).count();
    assert_eq!((metadata, requests.len()), (5, 9), "of app 2.0, mid 1.0 and 3.0, lib and win: {requests:?}");
    assert_eq!(get(&server, "/py/latest/simple/app/").status, 404, "a plan changes nothing");

    let csv = server.dir().join("plan.csv");
    let commit = plan(&server, "App\n", &format!("--dependencies --commit --csv-out={}", csv.display()));
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let csv = std::fs::read_to_string(csv).expect("a plan");
    assert!(csv.contains("lib,\">=1.5,<2\",1,1.5,added,,,app > mid > lib\n"), "{csv}");
    assert!(csv.contains("app,all versions,2,2.0,added,,,root\n"), "{csv}");
    assert!(pypi.take_requests().is_empty(), "a commit reads nothing again");
    for (project, count) in [("app", 2), ("lib", 1), ("mid", 2), ("win", 1), ("odd", 0), ("other", 0)] {
        assert_eq!(names(&server, "latest", project).len(), count, "{project}");
    }
    let info = server.json("info --source=subset");
    let definition = &info["definition"];
    assert_eq!((&info["packages"], &definition["include"]), (&json!(4), &json!("dependencies")), "{info}");
    let chains = json!([
        { "name": "lib", "chain": ["app", "mid", "lib"] },
        { "name": "mid", "chain": ["app", "mid"] },
        { "name": "win", "chain": ["app", "mid", "win"] },
    ]);
    assert_eq!(definition["dependencies"], chains, "{info}");
    assert_eq!(definition["files"][0]["text"], "App\n");
    let info = server.rspm_stdout("info --source=subset");
    assert!(info.contains("Dependencies:") && info.contains("3 packages that others require"), "{info}");
    let target = server.dir().join("target");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &server.url("/py/latest/simple"), "app"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    for (package, version) in [("app", "2.0"), ("mid", "1.0"), ("lib", "1.5")] {
        assert_eq!(installed_version(&target, package).as_deref(), Some(version), "{package}");
    }
}

#[test]
fn dependencies_stay_included_until_an_update_ends_that() {
    let pypi = Pypi::start();
    add_app(&pypi);
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    write(&server, "c.txt", b"mid<2\nother<9\n");
    let lines = "app[NET]\nlib\n-c c.txt\n";
    let planned = plan(&server, lines, "--dependencies --commit");
    assert_eq!(planned.code, 0, "{planned:?}");
    // The constraint applies to mid, and the line lib has all versions.
    let row = |output: &RspmOutput, name: &str| {
        let mut lines = output.out.lines().filter(|line| line.split_whitespace().next() == Some(name));
        lines.next().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(row(&planned, "mid").as_deref(), Some("mid <2 1 1.0 added app > mid"));
    assert_eq!(row(&planned, "other").as_deref(), Some("other <9 1 1.0 added app > other"));
    assert_eq!(row(&planned, "lib").as_deref(), Some("lib all versions 3 2.0 added root"));

    // Another day, without the file: app 1.0 requires odd.
    let earlier = update(&server, "--snapshot=2020-06-30");
    assert_eq!(earlier.code, 0, "{earlier:?}");
    assert_eq!(row(&earlier, "odd").as_deref(), Some("odd <1.5 1 1.0 added app > odd"));
    assert_eq!(row(&earlier, "mid").as_deref(), Some("mid <2 removed"));
    assert!(earlier.out.contains("1 added, 0 changed, 3 removed, 2 kept"), "{}", earlier.out);
    assert!(update(&server, "--snapshot=2020-06-30 --show-kept").out.contains("root"));
    assert_eq!(update(&server, "--snapshot=2020-06-30 --commit").code, 0);
    assert_eq!(names(&server, "latest", "odd"), ["odd-1.0-py3-none-any.whl"]);

    // Added packages; the definition is generated, with its extras and constraints.
    let add = |flags: &str| server.rspm(&format!("add --source=subset --snapshot=2022-01-01 {flags}"));
    let planned = add("--packages=other,odd[x]==2.0");
    assert_eq!(planned.code, 0, "{planned:?}");
    assert_eq!(row(&planned, "odd").as_deref(), Some("odd ==2.0 1 2.0 changed root"));
    assert_eq!(add("--packages=other,odd[x]==2.0 --commit").code, 0);
    let files = server.json("info --source=subset")["definition"]["files"].clone();
    assert_eq!(
        (&files[0]["text"], &files[1]["text"]),
        (&json!("-c constraints.txt\napp[net]\nlib\nodd[x]==2.0\nother<9\n"), &json!("mid<2\n")),
        "{files}"
    );
    let names_of = || -> Vec<String> {
        let root = get(&server, "/py/latest/simple/").json();
        let projects = root["projects"].as_array().expect("projects");
        projects.iter().map(|project| project["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names_of(), ["app", "lib", "mid", "odd", "other", "win"]);

    // Removed packages, with what only they require.
    let refused = server.refused("remove package --source=subset --name=win@all");
    assert!(
        refused.contains("does not name 'win': other packages require it (app > mid > win)"),
        "{refused}"
    );
    let removed = server.rspm_stdout("remove package --source=subset --name=lib@all");
    assert!(removed.contains("which still has it for other packages"), "{removed}");
    assert_eq!(names(&server, "latest", "lib"), ["lib-1.5-py3-none-any.whl"]);
    let removed = server.rspm_stdout("remove package --source=subset --name=App@all");
    assert!(removed.contains("all versions, lib >=1.5,<2, mid <2, win all versions"), "{removed}");
    assert_eq!(names_of(), ["odd", "other"]);

    let ended = plan(&server, "app\n", "--dependencies=false --commit");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!((names_of(), ended.out.contains("Why")), (vec!["app".to_owned()], false));
    let later = update(&server, "--snapshot=2022-01-02");
    assert!(later.out.contains("0 added, 0 changed, 0 removed, 1 kept"), "{later:?}");
}

#[test]
fn rules_and_guards_apply_to_dependencies_as_to_named_packages() {
    let pypi = Pypi::start();
    add_app(&pypi);
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=<2 --description=broken");
    let blocked = plan(&server, "app\n", "--dependencies");
    let problem = "mid 1.0 requires 'lib>=1.5,<2', but all files of such versions are blocked in 'py' by rule 1 (broken; \
                   versions <2); create an exception, or leave it out with --allow-missing; the definition needs it for app";
    assert_eq!(blocked.err, format!("Error: {problem}\nThe plan cannot be committed.\n"), "{}", blocked.out);
    assert!(blocked.code == 1 && !blocked.out.contains("To complete"), "{blocked:?}");
    let commit = plan(&server, "app\n", "--dependencies --commit");
    assert_eq!((commit.code, commit.err), (1, format!("Error: {problem}\nNothing was changed.\n")));
    let commit = plan(&server, "app\n", "--dependencies --allow-missing --commit");
    let notice = "mid 1.0 requires 'lib>=1.5,<2', which is left out: all files of such versions are blocked in 'py' by rule \
                  1 (broken; versions <2)\n";
    assert_eq!((commit.code, commit.err.as_str()), (0, notice), "{}", commit.out);
    assert_eq!(get(&server, "/py/latest/simple/lib/").status, 404, "it was left out");

    // The newest version that the rules allow is followed.
    server.rspm_stdout("delete blocklist-rule --id=1");
    server.rspm_stdout("create blocklist-rule --package-name=app --version=>=2");
    let older = plan(&server, "app\n", "--dependencies");
    assert!(older.code == 0 && older.out.contains("app > odd"), "{older:?}");
    assert!(!older.out.contains("app > mid") && older.out.contains("app: 1 of 2 files blocked"), "{older:?}");
    server.rspm_stdout("delete blocklist-rule --id=2");
    // An age rule.
    let uploaded = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    wheel(&pypi, &Package::new("app", "3.0").requires("other"), &uploaded.to_string());
    server.sync_of("pypi").expect("an index");
    let path = write(&server, "r.txt", b"app\n");
    let latest = format!("--file-in={} --dependencies", path.display());
    assert!(update(&server, &latest).out.contains("app > other"), "3.0");
    server.rspm_stdout("create blocklist-rule --package-name=app --min-age=7d");
    let aged = update(&server, &latest);
    assert!(aged.out.contains("app > mid") && !aged.out.contains("app > other"), "2.0: {aged:?}");
    server.rspm_stdout("delete blocklist-rule --id=3");

    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("create name-guard --name=mid --source=team");
    let guarded = plan(&server, "app<3\n", "--dependencies");
    let reason = "all its files are hidden by name guard 1: only another source may provide the name";
    assert!(
        guarded.code == 1 && guarded.err.contains(&format!("app 2.0 requires 'mid>=1,<3', but {reason}"))
    );
    let commit = plan(&server, "app<3\n", "--dependencies --allow-missing --commit");
    assert_eq!(commit.err, format!("app 2.0 requires 'mid>=1,<3', which is left out: {reason}\n"));
    assert_eq!((commit.code, get(&server, "/py/latest/simple/mid/").status), (0, 403), "it is guarded");
}

#[test]
fn a_dependency_that_is_blocked_later_does_not_prevent_the_removal_of_another_package() {
    let pypi = Pypi::start();
    add_app(&pypi);
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    assert_eq!(plan(&server, "app\nodd\n", "--dependencies --commit").code, 0);
    server.rspm_stdout("create blocklist-rule --package-name=mid --description=ask");
    let removed = server.rspm_stdout("remove package --source=subset --name=odd@all");
    assert_eq!(removed, "Removed odd all versions from source 'subset'.\n");
    let refused = server.refused("remove package --source=subset --name=win@all");
    assert!(refused.contains("other packages require it (app > mid > win)"), "{refused}");
    assert_eq!(get(&server, "/py/latest/simple/mid/").status, 403, "it is blocked");
    server.rspm_stdout("delete blocklist-rule --id=1");
    let packages = get(&server, "/py/latest/simple/").json();
    let names: Vec<&str> = packages["projects"]
        .as_array()
        .expect("projects")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["app", "lib", "mid", "win"]);
    let removed = server.rspm_stdout("remove package --source=subset --name=app@all");
    assert!(removed.contains("all versions, lib >=1.5,<2, mid all versions, win all versions"), "{removed}");
}

#[test]
fn gaps_of_metadata_are_problems_and_unknown_dependencies_are_notices() {
    let pypi = Pypi::start();
    wheel(
        &pypi,
        &Package::new("gone", "1.0").requires("nothere>=1").requires("lib @ https://example.org/x.whl"),
        "2020-01-01T00:00:00Z",
    );
    // A wheel for which the index declares no METADATA, and a damaged one.
    for name in ["bare", "damaged"] {
        let package = Package::new(name, "1.0").requires("lib<2");
        pypi.add(name, &package.wheel_name(), &package.wheel(), "2020-01-01T00:00:00Z");
    }
    pypi.edit("damaged", "damaged-1.0-py3-none-any.whl", |file| {
        file.sent = Some(vec![b'x'; file.bytes.len()])
    });
    // Source distributions; the metadata of one does not state its dependencies.
    for (name, is_dynamic) in [("sdist", false), ("dynamic", true)] {
        let package = Package::new(name, "1.0");
        let package = if is_dynamic { package.field("Dynamic: Requires-Dist") } else { package };
        pypi.add(name, &package.sdist_name(), &package.sdist(), "2020-01-01T00:00:00Z");
    }
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");

    let bare = plan(&server, "bare\nsdist\n", "--dependencies");
    assert_eq!((bare.code, bare.err.as_str()), (0, ""), "{}", bare.out);
    assert!(bare.out.contains("bare > lib"), "METADATA of the wheel: {}", bare.out);
    let dynamic = plan(&server, "dynamic\n", "--dependencies");
    assert_eq!(
        (dynamic.code, dynamic.err.as_str()),
        (
            0,
            "the dependencies of 'dynamic 1.0' are not known: the metadata of its source distribution does not state them; add \
             the missing ones to the definition\n"
        )
    );
    let gone = plan(&server, "gone\n", "--dependencies");
    let address =
        "gone 1.0 requires 'lib @ https://example.org/x.whl', which is left out: it is not from the index\n";
    let problem = "Error: gone 1.0 requires 'nothere>=1', but there is no such package at 2022-01-01; choose a later \
                   --snapshot, or leave it out with --allow-missing\nThe plan cannot be committed.\n";
    assert_eq!((gone.code, gone.err), (1, format!("{address}{problem}")), "{}", gone.out);
    assert_eq!(plan(&server, "gone\n", "--dependencies --allow-missing --commit").code, 0);
    assert_eq!(names(&server, "latest", "gone").len(), 1);

    let damaged = plan(&server, "damaged\n", "--dependencies");
    let reason = "the dependencies of 'damaged 1.0' are not known: damaged-1.0-py3-none-any.whl: ";
    assert!(damaged.code == 1 && damaged.err.contains(reason), "{damaged:?}");
    assert!(damaged.err.contains("; add them to the definition, and use --allow-missing"), "{damaged:?}");
    assert_eq!(plan(&server, "damaged\nlib<2\n", "--dependencies --allow-missing").code, 0);

    // Pages that are known, and an index that does not answer. The commit made `--dependencies` the setting of the source.
    assert_eq!(plan(&server, "odd>=1\nother>=1\n", "--dependencies=false").code, 0);
    pypi.set_unavailable(true);
    for flags in ["--dependencies", "--dependencies --allow-missing"] {
        let unavailable = plan(&server, "odd>=1\nother>=1\n", flags);
        assert_eq!(unavailable.code, 1, "{unavailable:?}");
        let reason = "the dependencies of 'other 1.0' are not known: ";
        assert!(unavailable.err.contains(reason), "{unavailable:?}");
        assert!(unavailable.err.contains("; try again when the index answers"), "{unavailable:?}");
    }
    let refused = plan(&server, "odd\n", "--allow-missing --dependencies=false");
    assert!(
        refused.err.contains("--allow-missing leaves out dependencies, and none are included"),
        "{refused:?}"
    );
}

#[test]
fn flags_about_dependencies_are_those_of_the_language() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    let refused = plan(&server, "odd\n", "--include=suggests");
    assert!(refused.code == 1 && refused.err.contains("--dependencies includes those of Python packages"));
    server.rspm_stdout("create source --name=r");
    let refused = server.refused("update --source=r --dependencies");
    assert!(
        refused.contains("--dependencies is for Python packages; --include names the kinds"),
        "{refused}"
    );
}

/// flask, requests and their dependencies: the released ones if the test data has them, otherwise small packages in their
/// place.
#[test]
fn pip_resolves_flask_and_requests_from_a_source_that_names_only_these_two() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().canonicalize().expect("a folder");
    let web = flask::mirror(&data::path("pypi-mirror/web"), &folder);
    let server = Builder::default().gcfg(&format!("[PyPI]\nURL = file://{}", web.display())).start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("create source --name=subset --type=curated-pypi");
    server.rspm_stdout("subscribe --repo=py --source=subset");
    server.sync_of("pypi").expect("an index");
    let path = write(&server, "requirements.txt", b"Flask\nrequests\n");
    let flags = format!("--file-in={} --snapshot=2020-06-30 --dependencies", path.display());
    let planned = update(&server, &flags);
    assert_eq!((planned.code, planned.err.as_str()), (0, ""), "{}", planned.out);
    assert!(planned.out.contains("flask > jinja2 > markupsafe"), "{}", planned.out);
    assert_eq!(update(&server, &format!("{flags} --commit")).code, 0);
    let root = get(&server, "/py/latest/simple/").json();
    let projects = root["projects"].as_array().expect("projects").iter();
    let projects: Vec<String> =
        projects.map(|project| project["name"].as_str().expect("a name").to_lowercase()).collect();
    let expected: Vec<String> =
        oracle::FLASK_AND_REQUESTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(projects, expected, "and nothing else");
    oracle::assert_resolves_flask_and_requests(&server, "latest");
}

/// Like [`Curated::plan_or_commit`], with dependencies.
async fn with_dependencies(
    curated: &Curated,
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
        dependencies: lines.is_some().then_some(true),
        allow_missing: false,
        commit,
        comment: String::new(),
    };
    let update =
        curated::update(&curated.backend.repositories, &curated.backend.state, request, &actor()).await?;
    assert_eq!(update.plan.problems, Vec::<String>::new());
    Ok(update)
}

async fn open_day(engine: Engine) {
    const PLANNED_DAY: &str = "2026-11-21";
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("app", "1.0").requires("lib<2"), "2019-01-01T00:00:00Z");
    let curated = Curated::start(engine, &pypi).await;
    let plan = with_dependencies(&curated, Some("app\n"), PLANNED_DAY, false).await.unwrap();
    let lib = name::parse("lib").unwrap();
    assert_eq!(plan.chains[&lib].len(), 2, "{:?}", plan.chains);

    wheel(&pypi, &Package::new("app", "2.0").requires("odd"), "2026-11-21T20:00:00Z");
    curated.backend.advance_to_noon("2026-11-22");
    curated.sync().await;
    let curated = Curated { backend: curated.backend.restart().await };
    let refused =
        with_dependencies(&curated, Some("app\n"), PLANNED_DAY, true).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "PyPI has changed since the plan: app is 2.0, and was 1.0 in the plan; odd 1.0 is new; lib 1.5 is no longer \
         selected; plan again, or plan and commit with a transaction as --snapshot, which always names the same state"
    );
    let plan = with_dependencies(&curated, Some("app\n"), PLANNED_DAY, false).await.unwrap();
    let commit = with_dependencies(&curated, Some("app\n"), PLANNED_DAY, true).await.unwrap();
    assert_eq!((&plan.plan, &plan.chains), (&commit.plan, &commit.chains));
    let second = commit.transaction.expect("a transaction");
    // An earlier day with the same definition, and back again.
    let first = with_dependencies(&curated, None, "2026-11-20", true).await.unwrap();
    let first = first.transaction.expect("a transaction");
    assert_eq!(with_dependencies(&curated, None, "2026-11-20", true).await.unwrap().transaction, None);
    let (repositories, state) = (&curated.backend.repositories, &curated.backend.state);
    curated::remove(repositories, state, "subset", "app", RemoveScope::All, "", &actor()).await.unwrap();
    let definition = curated::definition(state, "subset").await.unwrap().expect("a definition");
    assert_eq!((definition.dependencies, definition.include.as_deref()), (Vec::new(), Some("dependencies")));

    let curated = Curated { backend: curated.backend.restart().await };
    for (transaction, lib, odd) in [(second, false, true), (first, true, false)] {
        let snapshot = Snapshot::Transaction(transaction);
        for (project, is_included) in [("app", true), ("lib", lib), ("odd", odd)] {
            let versions = curated.versions(snapshot, project).await;
            assert_eq!(versions.is_some(), is_included, "{project} in transaction {transaction}");
        }
    }
    assert_eq!(curated.versions(Snapshot::Latest, "app").await, None);
    let violations = curated.backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_are_a_part_of_plans_and_of_each_step_on_sqlite() {
    open_day(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_are_a_part_of_plans_and_of_each_step_on_postgres() {
    open_day(Engine::Postgres).await;
}
