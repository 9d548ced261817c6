//! The age of files of an index whose page is read rarely, on both databases, with a clock that the test sets.

use rstudio_pm::db::project_file;
use rstudio_pm::db::{Conn, DbError, invariants, package, tree};
use rstudio_pm::edit::block_rule;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::project_path::FilePart;
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::time::SECOND;
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::serve::{self, RepoError};
use sha2::Digest;

use super::index_history::{files, find_page, page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db;
use crate::support::pypi::Pypi;

/// The repository `py` of an index with the project `one`, and a minimum age of 7 days. The page of the project is first
/// read on 2024-03-01.
async fn start(engine: db::Engine, pypi: &Pypi) -> Backend {
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.expect("no panic");
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", pypi.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    let criteria = Criteria { min_age: Some(7 * 86_400 * SECOND), fixes_pass: true, ..Criteria::default() };
    let rule = Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() };
    block_rule::create(&backend.state, &[rule], &actor()).await.expect("a rule");
    add(pypi, "1.0", "2015-03-04T05:06:07Z");
    sync(&backend).await;
    assert_eq!(versions(&backend, "latest").await, ["1.0"], "the claims of the first reading count");
    backend
}

fn add(pypi: &Pypi, version: &str, uploaded: &str) {
    let name = format!("one-{version}.tar.gz");
    pypi.add("one", &name, name.as_bytes(), uploaded);
}

/// Moves the clock to a later day and syncs, which reads the changed page again.
async fn sync_on(backend: &Backend, day: &str) {
    backend.advance_to_noon(day);
    sync(backend).await;
}

async fn versions(backend: &Backend, snapshot: &str) -> Vec<String> {
    let (page, ..) = page(backend, snapshot, "one", SimpleFormat::Json).await;
    let version = |name: &String| {
        let stem = name.strip_suffix(".tar.gz").expect("a source distribution");
        stem.strip_prefix("one-").expect("a file of one").to_owned()
    };
    files(&page).keys().map(version).collect()
}

/// Whether the file of a version is blocked.
async fn is_blocked(backend: &Backend, snapshot: &str, version: &str) -> bool {
    let name = format!("one-{version}.tar.gz");
    let point = serve::point::resolve(&backend.repositories, "py", snapshot.parse().unwrap()).await.unwrap();
    let sha256 = Sha256(sha2::Sha256::digest(name.as_bytes()).into());
    match serve::project::file::locate(&backend.repositories, &point, sha256, &name, FilePart::Distribution)
        .await
    {
        Ok(_) => false,
        Err(RepoError::Blocked(blocked)) => {
            assert!(blocked.reason.contains("younger than 7 days"), "{blocked}");
            true
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

async fn backdated(engine: db::Engine) {
    let pypi = Pypi::start();
    let backend = start(engine, &pypi).await;
    // The page is not read between these days.
    add(&pypi, "2.0", "2024-03-05T00:00:00Z");
    add(&pypi, "2.1", "2024-03-19T08:00:00Z");
    sync_on(&backend, "2024-03-20").await;
    assert_eq!(versions(&backend, "latest").await, ["1.0"]);
    assert!(is_blocked(&backend, "latest", "2.0").await && !is_blocked(&backend, "latest", "1.0").await);
    // The days after the upload that the index claims do not list it: it is unknown whether it was there.
    assert_eq!(versions(&backend, "2024-03-15").await, ["1.0"]);

    // A yank, its end, a removal, a return and another claim do not restart the age.
    pypi.edit("one", "one-2.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    sync_on(&backend, "2024-03-21").await;
    assert_eq!(versions(&backend, "latest").await, ["1.0"]);
    pypi.edit("one", "one-2.0.tar.gz", |file| file.yanked = None);
    pypi.edit("one", "one-2.1.tar.gz", |file| file.uploaded = "2023-01-01T00:00:00Z".to_owned());
    sync_on(&backend, "2024-03-22").await;
    pypi.remove("one", "one-2.0.tar.gz");
    sync_on(&backend, "2024-03-23").await;
    add(&pypi, "2.0", "2020-01-01T00:00:00Z");
    sync_on(&backend, "2024-03-24").await;
    assert_eq!(versions(&backend, "latest").await, ["1.0"]);

    let backend = backend.restart().await;
    backend.advance_to_noon("2024-03-26");
    sync(&backend).await;
    assert_eq!(versions(&backend, "latest").await, ["1.0"], "the new claim of 2.1 is too early");
    sync_on(&backend, "2024-03-28").await;
    assert_eq!(versions(&backend, "latest").await, ["1.0", "2.0", "2.1"]);
    assert!(!is_blocked(&backend, "latest", "2.0").await);
    // Past days have what the rule allowed at their end.
    for (day, expected) in [
        ("2024-03-15", vec!["1.0"]),
        ("2024-03-24", vec!["1.0"]),
        ("2024-03-26", vec!["1.0"]),
        ("2024-03-27", vec!["1.0", "2.0", "2.1"]),
    ] {
        assert_eq!(versions(&backend, day).await, expected, "{day}");
    }
    assert!(is_blocked(&backend, "2024-03-26", "2.0").await);
    if engine == db::Engine::Postgres {
        let second = backend.open_second().await;
        assert_eq!(versions(&second, "2024-03-26").await, ["1.0"]);
        assert_eq!(versions(&second, "latest").await, ["1.0", "2.0", "2.1"]);
    }
    let violations = backend.state.db.read(invariants::violations).await.expect("a database");
    assert_eq!(violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_age_of_a_backdated_file_counts_from_the_reading_that_found_it_on_sqlite() {
    backdated(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_age_of_a_backdated_file_counts_from_the_reading_that_found_it_on_postgres() {
    backdated(db::Engine::Postgres).await;
}

/// A claim counts if the file appears at most 48 hours after the claimed time; a claim in the future delays the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_shortly_before_the_reading_counts() {
    let pypi = Pypi::start();
    let backend = start(db::Engine::Sqlite, &pypi).await;
    for (version, uploaded) in
        [("2.0", "2024-03-18T13:00:00Z"), ("2.1", "2024-03-18T11:00:00Z"), ("2.2", "2024-03-22T00:00:00Z")]
    {
        add(&pypi, version, uploaded);
    }
    sync_on(&backend, "2024-03-20").await;
    for (day, expected) in [
        ("2024-03-25", vec!["1.0"]),
        ("2024-03-26", vec!["1.0", "2.0"]),
        ("2024-03-27", vec!["1.0", "2.0", "2.1"]),
        ("2024-03-28", vec!["1.0", "2.0", "2.1"]),
        ("2024-03-30", vec!["1.0", "2.0", "2.1", "2.2"]),
    ] {
        sync_on(&backend, day).await;
        assert_eq!(versions(&backend, "latest").await, expected, "{day}");
    }
}

/// A file that an earlier version of the program recorded has no time of its reading: its claim counts unless a reading
/// after the claim lacked the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_a_recorded_reading_have_the_age_of_their_listing() {
    let pypi = Pypi::start();
    let backend = start(db::Engine::Sqlite, &pypi).await;
    add(&pypi, "2.0", "2024-03-05T00:00:00Z");
    add(&pypi, "2.1", "2023-01-01T00:00:00Z");
    sync_on(&backend, "2024-03-07").await;
    let discovered = |c: &mut dyn Conn| {
        let package = package::by_name(c, SourceId::PYPI, "one")?.expect("a project");
        let tree = tree::built_in(c, SourceId::PYPI)?.id;
        let discovered = project_file::discovered_at(c, tree, package)?;
        let mut days: Vec<String> = discovered.values().map(|at| at.day().to_string()).collect();
        days.sort();
        Ok::<_, DbError>(days)
    };
    let days = backend.state.db.read(discovered).await.expect("a database");
    assert_eq!(days, ["2015-03-04", "2024-03-07", "2024-03-07"]);
    let delete = |c: &mut dyn Conn| c.execute("DELETE FROM file_reading", &[]);
    assert_eq!(backend.state.db.write(delete).await.expect("a database"), 2);
    let days = backend.state.db.read(discovered).await.expect("a database");
    assert_eq!(days, ["2015-03-04", "2024-03-01", "2024-03-05"]);
    sync_on(&backend, "2024-03-10").await;
    assert_eq!(versions(&backend, "latest").await, ["1.0", "2.1"], "2.1 was not there on 2024-03-01");
}

/// Whether the page of a project is refused because all its files are too young; `None` if the snapshot does not list the
/// project.
async fn is_page_blocked(backend: &Backend, snapshot: &str, project: &str) -> Option<bool> {
    match find_page(backend, snapshot, project, SimpleFormat::Json).await {
        Ok(page) => page.map(|_| false),
        Err(RepoError::Blocked(blocked)) => {
            assert!(blocked.reason.contains("younger than 7 days"), "{blocked}");
            Some(true)
        }
        Err(error) => panic!("{project}: {error}"),
    }
}

async fn new_project(engine: db::Engine) {
    let pypi = Pypi::start();
    let backend = start(engine, &pypi).await;
    sync_on(&backend, "2024-03-18").await;
    // The list has neither of them until the next sync.
    pypi.add("backdated", "backdated-1.0.tar.gz", b"backdated", "2023-01-01T00:00:00Z");
    pypi.add("new", "new-1.0.tar.gz", b"new", "2024-03-19T00:00:00Z");
    sync_on(&backend, "2024-03-20").await;
    for project in ["backdated", "new"] {
        assert_eq!(is_page_blocked(&backend, "latest", project).await, Some(true), "{project}");
        assert_eq!(is_page_blocked(&backend, "2024-03-10", project).await, None, "{project}");
    }
    assert_eq!(versions(&backend, "latest").await, ["1.0"], "the first sync found this project");
    sync_on(&backend, "2024-03-24").await;
    assert_eq!(is_page_blocked(&backend, "latest", "backdated").await, Some(true));
    // Seven days after the last sync that did not find the project, and after the claim of the other one.
    sync_on(&backend, "2024-03-26").await;
    for project in ["backdated", "new"] {
        assert_eq!(is_page_blocked(&backend, "latest", project).await, Some(false), "{project}");
        assert_eq!(is_page_blocked(&backend, "2024-03-24", project).await, Some(true), "{project}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_a_later_sync_finds_is_not_older_than_the_sync_before_on_sqlite() {
    new_project(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_a_later_sync_finds_is_not_older_than_the_sync_before_on_postgres() {
    new_project(db::Engine::Postgres).await;
}
