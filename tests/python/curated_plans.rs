//! Plans of curated sources of PyPI for a day that is not over, and marks of files that rules block.

use rstudio_pm::model::snapshot::Snapshot;

use super::curated::{Curated, file, start, update, wheel};
use crate::support::db::Engine;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names};
use crate::support::python::package::{Package, write};

const DEFINITION: &str = "lib>=1.5\nodd<2\nother\n";
const PLANNED_DAY: &str = "2026-11-21";

async fn open_day(engine: Engine) {
    let pypi = Pypi::start();
    wheel(&pypi, "other", "1.0", "2019-01-01T00:00:00Z");
    let curated = Curated::start(engine, &pypi).await;
    let plan = curated.plan_or_commit(Some(DEFINITION), PLANNED_DAY, false).await.unwrap();
    assert!(plan.notices.iter().any(|notice| notice.contains("is not over")), "{:?}", plan.notices);

    // The rest of the day: odd 3.0 is not allowed, and the plan has not read the files of other.
    for package in ["lib", "odd", "other"] {
        wheel(&pypi, package, "3.0", "2026-11-21T20:00:00Z");
    }
    curated.backend.advance_to_noon("2026-11-22");
    curated.sync().await;
    let curated = Curated { backend: curated.backend.restart().await };
    let refused = curated.plan_or_commit(Some(DEFINITION), PLANNED_DAY, true).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "PyPI has changed since the plan: lib is 3.0, and was 2.0 in the plan; plan again, or plan and commit with a \
         transaction as --snapshot, which always names the same state"
    );
    assert_eq!(curated.versions(Snapshot::Latest, "lib").await, None, "nothing was published");

    let plan = curated.plan_or_commit(Some(DEFINITION), PLANNED_DAY, false).await.unwrap();
    assert_eq!(plan.notices, Vec::<String>::new(), "the day is over");
    curated.plan_or_commit(Some(DEFINITION), PLANNED_DAY, true).await.unwrap();
    let versions = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    assert_eq!(curated.versions(Snapshot::Latest, "lib").await, versions(&["3.0", "2.0", "1.5"]));
    assert_eq!(curated.versions(Snapshot::Latest, "odd").await, versions(&["1.0"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_would_allow_other_files_than_its_plan_is_refused_on_sqlite() {
    open_day(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_would_allow_other_files_than_its_plan_is_refused_on_postgres() {
    open_day(Engine::Postgres).await;
}

#[test]
fn a_plan_names_the_rules_that_block_files_and_a_package_without_any_other_file_is_refused() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=>=2 --description=broken");
    server.rspm_stdout("create blocklist-rule --package-name=odd --description=unwanted");
    let definition = write(&server, "requirements.txt", b"lib>=1.5\nodd<2\nother\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01", definition.display());
    let plan = update(&server, &flags);
    let lib = "lib: 1 of 2 files blocked in 'py' by rule 1 (broken; versions >=2)\n";
    let odd = "odd: 2 of 2 files blocked in 'py' by rule 2 (unwanted)\n";
    assert!(plan.code == 1 && plan.out.contains(lib) && plan.out.contains(odd), "{plan:?}");
    let problem = "Error: all 2 files of 'odd' are blocked in 'py' by rule 2 (unwanted); no client could download them: \
                   allow other versions, or create an exception\n";
    assert_eq!(plan.err, format!("{problem}The plan cannot be committed.\n"));
    assert!(!plan.out.contains("To complete"), "{plan:?}");
    let csv = server.dir().join("plan.csv");
    let commit = update(&server, &format!("{flags} --commit --csv-out={}", csv.display()));
    assert_eq!((commit.code, commit.err), (1, format!("{problem}Nothing was changed.\n")), "{}", commit.out);
    assert!(server.json("info --source=subset")["definition"].is_null(), "nothing was published");

    server.rspm_stdout("delete blocklist-rule --id=2");
    let committed = update(&server, &format!("{flags} --commit --csv-out={}", csv.display()));
    assert_eq!(committed.code, 0, "{committed:?}");
    let csv = std::fs::read_to_string(csv).expect("a plan");
    let row = "lib,>=1.5,2,2.0,added,1,blocked in 'py' by rule 1 (broken; versions >=2),\n";
    assert!(csv.contains(row) && csv.contains("odd,<2,2,1.5,added,,,\n"), "{csv}");
    assert_eq!(names(&server, "latest", "lib"), [file("1.5", "lib")]);
}

#[test]
fn packages_that_another_source_provides_are_left_out_with_a_notice() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("create name-guard --name=odd --source=team");
    let wheel = Package::new("team-lib", "2.0");
    let path = write(&server, &wheel.wheel_name(), &wheel.wheel());
    server.rspm_stdout(&format!("add --source=team --path={}", path.display()));
    let definition = write(&server, "requirements.txt", b"lib>=1.5\nodd\nteam_lib[x]==2.0\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01", definition.display());
    let hidden =
        |guard: u32| format!("hidden by name guard {guard}: only another source may provide the name");
    let notices = format!(
        "requirements.txt, line 2: 'odd' is left out: {}\nrequirements.txt, line 3: 'team-lib' is left out: {}\n",
        hidden(1),
        hidden(2)
    );
    let plan = update(&server, &flags);
    assert_eq!((plan.code, &plan.err), (0, &notices), "{plan:?}");
    let commit = update(&server, &format!("{flags} --commit"));
    assert_eq!((commit.code, &commit.err), (0, &notices), "{commit:?}");
    assert_eq!(names(&server, "latest", "lib"), [file("1.5", "lib"), file("2.0", "lib")]);
    let kept = update(&server, "--snapshot=2022-01-01");
    assert!(kept.code == 0 && kept.out.contains("0 added, 0 changed, 0 removed, 1 kept"), "{kept:?}");

    let lock = format!(
        "version = 1\n{}",
        [("lib", "1.5", "a"), ("other", "1.0", "a"), ("odd", "1.0+cpu", "b")]
            .map(|(name, version, host)| format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\
                 source = {{ registry = \"https://me:secret@{host}.example.org/simple\" }}\n"
            ))
            .concat()
    );
    let path = write(&server, "uv.lock", lock.as_bytes());
    let plan = update(&server, &format!("--file-in={} --snapshot=2022-01-01 --commit", path.display()));
    let notice = "uv.lock: 'odd' is left out: it is from another index, https://b.example.org/simple\n";
    assert_eq!((plan.code, &*plan.err), (0, notice), "{plan:?}");

    // As `pip lock --find-links` writes it; the index has a package with the name of the local one.
    let lock = [("lib", "https://files.pythonhosted.org/packages/lib"), ("other", "file:///srv/wheels/other")]
        .map(|(name, start)| format!(
            "[[packages]]\nname = \"{name}\"\nversion = \"1.5\"\nwheels = [{{ url = \"{start}-1.5-py3-none-any.whl\", \
             hashes = {{ sha256 = \"{}\" }} }}]\n",
            "0a".repeat(32)
        ))
        .concat();
    let path = write(&server, "pylock.toml", format!("lock-version = \"1.0\"\n{lock}").as_bytes());
    let plan = update(&server, &format!("--file-in={} --snapshot=2022-01-01", path.display()));
    let reason = "it is from a file or a directory, not from an index";
    assert!(plan.err.starts_with(&format!("pylock.toml: 'other' is left out: {reason}\n")), "{plan:?}");
    assert_eq!(plan.code, 0, "{plan:?}");
    let path = write(&server, "git.txt", b"git+https://u:secret@h/x@1#egg=x\n");
    let error = update(&server, &format!("--file-in={} --snapshot=2022-01-01", path.display()));
    let reason = "git.txt, line 1: the package is left out: it names a URL or a path";
    assert!(error.code == 1 && error.err.contains(reason) && !error.err.contains("secret"), "{error:?}");

    let definition = write(&server, "own.txt", b"team-lib\n");
    let error = update(&server, &format!("--file-in={} --snapshot=2022-01-01", definition.display()));
    assert!(error.code == 1 && error.err.contains("no package is left in the definition"), "{error:?}");
}

#[test]
fn a_rule_for_pypi_reaches_files_that_come_from_pypi_through_a_curated_source() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=>=2 --source=pypi");
    let definition = write(&server, "requirements.txt", b"lib>=1.5\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01", definition.display());
    let plan = update(&server, &flags);
    assert!(plan.out.contains("lib: 1 of 2 files blocked in 'py' by rule 1 (versions >=2)"), "{plan:?}");
    assert_eq!(update(&server, &format!("{flags} --commit")).code, 0);
    assert_eq!(names(&server, "latest", "lib"), [file("1.5", "lib")]);
    server.rspm_stdout("edit blocklist-rule --id=1 --version=>=3");
    let page = get(&server, "/py/latest/simple/lib/").json();
    let files = page["files"].as_array().expect("files").clone();
    let newest = files.iter().find(|entry| entry["filename"] == file("2.0", "lib").as_str());
    let url = newest.expect("it is allowed")["url"].as_str().expect("an address").to_owned();
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(server.get(&path).status, 200);
    server.rspm_stdout("edit blocklist-rule --id=1 --version=>=2");
    let answer = server.get(&path);
    assert_eq!((answer.status, answer.header("x-pm-reason")), (403, Some("rule 1 (versions >=2)")));
    assert_eq!(server.get(&format!("{path}.metadata")).status, 403);
}
