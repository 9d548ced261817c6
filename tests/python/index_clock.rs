//! The source `pypi` after syncs while the clock was ahead: `rspm repair clock` resets its state, later syncs are visible
//! at once, and days that were served before do not change.

use rstudio_pm::db::{Conn, DbError, clock_repair, invariants, tree};
use rstudio_pm::index::{PageError, PageReads, Priority, Validity};
use rstudio_pm::model::ids::{Seq, SourceId};
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::time::Timestamp;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::name;
use rstudio_pm::sync::Sync;
use rstudio_pm::upkeep;

use super::index_history::{Files, files, find_page, page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig, day};
use crate::support::db;
use crate::support::pypi::Pypi;

/// A backend on 2024-03-01 that has synced an index with the projects `one`, `two` and `four`.
async fn synced(engine: db::Engine, index: &Pypi) -> Backend {
    // A list that loses more than a twentieth of its projects is refused.
    for number in 0..60 {
        index.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2024-02-01T00:00:00Z");
    }
    for project in ["one", "two", "four"] {
        index.add(project, &format!("{project}-1.0.tar.gz"), b"1.0", "2024-02-01T00:00:00Z");
    }
    let settings = tokio::task::spawn_blocking(move || db::settings(engine)).await.unwrap();
    let gcfg = format!("{settings}\n[PyPI]\nURL = {}", index.url());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    subscribe(&backend).await;
    sync(&backend).await;
    backend
}

async fn try_sync(backend: &Backend) -> Result<String, String> {
    let sync = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone());
    sync.start(SourceKind::Pypi).unwrap().job().wait_end().await
}

/// The files of a project in a snapshot; `None` if the snapshot does not have it.
async fn listed(backend: &Backend, snapshot: &str, project: &str) -> Option<Files> {
    let found = find_page(backend, snapshot, project, SimpleFormat::Json).await.unwrap();
    found.map(|(page, ..)| files(&page))
}

fn names(files: &Files) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

async fn head(backend: &Backend) -> i64 {
    backend.state.db.read(|c| tree::built_in(c, SourceId::PYPI)).await.unwrap().head.unwrap().0
}

/// The number of rows with a time of the index that is later than `now`.
fn later_rows(c: &mut dyn Conn, now: Timestamp) -> Result<i64, DbError> {
    const COUNT: &str = "SELECT (SELECT count(*) FROM life l JOIN tree t ON t.id = l.tree_id AND t.axis = 'time' \
        WHERE l.from_seq > $1 OR l.to_seq > $1 AND l.to_seq < $2) \
        + (SELECT count(*) FROM project WHERE from_at > $1 OR to_at > $1 AND to_at < $2 OR changed_at > $1) \
        + (SELECT count(*) FROM reading WHERE valid_at > $1 OR fetched_at > $1) \
        + (SELECT count(*) FROM file_reading WHERE read_at > $1)";
    c.query(COUNT, &[now.into(), Seq::OPEN.into()])?[0].int(0)
}

/// Repairs the clock, and checks that no time of the index is later than now.
async fn repair(backend: &Backend, today: &str) {
    let now = (backend.state.clock)();
    let before = head(backend).await;
    assert!(before > now.0);
    let planned = upkeep::clock::repair(&backend.state, day(today), true).await.unwrap();
    assert_eq!(head(backend).await, before, "a dry run changes nothing");
    let repair = upkeep::clock::repair(&backend.state, day(today), false).await.unwrap();
    assert_eq!(planned, repair, "a dry run reports what a repair does");
    let repair = repair.expect("something to do");
    assert_eq!(repair.index_state(), Some(Timestamp(before)));
    assert_eq!(head(backend).await, now.0);
    assert_eq!(backend.state.catalog.get().index_skew(now), None);
    let later = backend.state.db.read(move |c| later_rows(c, now)).await.unwrap();
    assert_eq!(later, 0);
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, [""; 0]);
    assert_eq!(upkeep::clock::repair(&backend.state, day(today), false).await.unwrap(), None);
}

async fn a_state_in_the_future_is_reset(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    let transactions = backend.state.catalog.get().transactions.len();
    let (_, closed, _) = page(&backend, "2024-02-20", "one", SimpleFormat::Json).await;
    backend.advance_to_noon("2024-03-11");
    assert!(try_sync(&backend).await.unwrap().contains("is up to date"));
    assert_eq!(
        listed(&backend, "latest", "two").await.unwrap().len(),
        1,
        "the page is read for the first time"
    );
    backend.set_back_to_noon("2024-03-02");
    index.add("one", "one-2.0.tar.gz", b"2.0", "2024-03-02T08:00:00Z");
    index.add("two", "two-2.0.tar.gz", b"2.0", "2024-03-02T08:00:00Z");
    index.add("three", "three-1.0.tar.gz", b"1.0", "2024-03-02T08:00:00Z");
    let refusal = try_sync(&backend).await.unwrap_err();
    assert!(refusal.contains("the newest state of the index is that of 2024-03-11T11:45:00Z"), "{refusal}");
    assert!(refusal.contains("run: rspm repair clock --today=2024-03-02"), "{refusal}");
    let catalog = backend.state.catalog.get();
    let now = (backend.state.clock)();
    assert!(catalog.skew(now).is_none(), "no transaction is in the future");
    assert!(catalog.index_skew(now).is_some());
    repair(&backend, "2024-03-02").await;
    assert_eq!(backend.state.catalog.get().transactions.len(), transactions);
    assert_eq!(listed(&backend, "latest", "two").await.unwrap().len(), 1, "not changed by the repair");
    backend.advance_to_noon("2024-03-03");
    sync(&backend).await;
    index.edit("two", "two-1.0.tar.gz", |file| file.yanked = Some("bad".to_owned()));
    for snapshot in ["latest", "2024-03-02"] {
        for project in ["one", "two"] {
            let files = listed(&backend, snapshot, project).await.unwrap();
            let expected = [format!("{project}-1.0.tar.gz"), format!("{project}-2.0.tar.gz")];
            assert_eq!(names(&files), expected, "{snapshot}");
        }
        assert_eq!(names(&listed(&backend, snapshot, "three").await.unwrap()), ["three-1.0.tar.gz"]);
    }
    assert_eq!(listed(&backend, "2024-03-01", "three").await, None);
    let (_, again, is_final) = page(&backend, "2024-02-20", "one", SimpleFormat::Json).await;
    assert!(is_final && again == closed, "a past day does not change");
    backend.advance_to_noon("2024-03-04");
    sync(&backend).await;
    let files = listed(&backend, "latest", "two").await.unwrap();
    assert_eq!(files["two-1.0.tar.gz"].as_deref(), Some("bad"));
}

async fn changes_in_the_future_keep_their_order(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    for project in ["one", "two", "four"] {
        listed(&backend, "latest", project).await.expect("listed");
    }
    // A day for each change, so that rows begin and end at several times in the future.
    backend.advance_to_noon("2024-03-11");
    index.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("first".to_owned()));
    index.remove_project("four");
    index.add("five", "five-1.0.tar.gz", b"1.0", "2024-03-01T00:00:00Z");
    sync(&backend).await;
    backend.advance_to_noon("2024-03-12");
    index.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("second".to_owned()));
    index.add("six", "six-1.0.tar.gz", b"1.0", "2024-03-01T00:00:00Z");
    sync(&backend).await;
    listed(&backend, "latest", "six").await.expect("listed");
    backend.advance_to_noon("2024-03-13");
    index.remove_project("six");
    index.add("seven", "seven-1.0.tar.gz", b"1.0", "2024-03-01T00:00:00Z");
    index.add("four", "four-2.0.tar.gz", b"2.0", "2024-03-01T00:00:00Z");
    sync(&backend).await;
    let mut before = Vec::new();
    for project in ["one", "two", "four", "five", "six", "seven"] {
        before.push((project, listed(&backend, "latest", project).await));
    }
    assert!(before.iter().filter(|(_, files)| files.is_some()).count() == 5, "{before:?}");
    backend.set_back_to_noon("2024-03-02");
    index.add("two", "two-2.0.tar.gz", b"2.0", "2024-03-02T08:00:00Z");
    repair(&backend, "2024-03-02").await;
    for (project, files) in &before {
        assert_eq!(listed(&backend, "latest", project).await, *files, "{project}");
    }
    backend.advance_to_noon("2024-03-03");
    index.edit("one", "one-1.0.tar.gz", |file| file.yanked = None);
    sync(&backend).await;
    assert_eq!(listed(&backend, "latest", "one").await.unwrap()["one-1.0.tar.gz"], None);
    assert_eq!(listed(&backend, "latest", "two").await.unwrap().len(), 2);
    assert_eq!(listed(&backend, "latest", "six").await, None);
    assert_eq!(listed(&backend, "2024-03-01", "seven").await, None, "it was listed later");
    let violations = backend.state.db.read(invariants::violations).await.unwrap();
    assert_eq!(violations, [""; 0]);
}

/// A file whose periods begin and end at, before and after the head and the time of the repair.
async fn rows_stay_disjoint(engine: db::Engine) {
    let index = Pypi::start();
    let backend = synced(engine, &index).await;
    listed(&backend, "latest", "one").await.expect("listed");
    let tree = backend.state.db.read(|c| tree::built_in(c, SourceId::PYPI)).await.unwrap().id;
    let now = (backend.state.clock)();
    let periods = [(-5, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, Seq::OPEN.0 - now.0)];
    let write = move |c: &mut dyn Conn| {
        const END: &str = "UPDATE life SET to_seq = CAST($1 AS BIGINT) WHERE tree_id = $2 AND to_seq = $3";
        const COPY: &str = "INSERT INTO life (tree_id, state, package_id, path, from_seq, to_seq, release_id, variant, \
            file_id, mark) SELECT tree_id, state, package_id, path, CAST($1 AS BIGINT), CAST($2 AS BIGINT), release_id, \
            variant, file_id, mark FROM life WHERE tree_id = $3 AND to_seq = $4";
        let first_end = now.0 - 5;
        assert_eq!(c.execute(END, &[first_end.into(), tree.into(), Seq::OPEN.into()])?, 1);
        for (from, to) in periods {
            c.execute(COPY, &[(now.0 + from).into(), (now.0 + to).into(), tree.into(), first_end.into()])?;
        }
        c.execute(
            "UPDATE tree SET head = CAST($1 AS BIGINT) WHERE id = $2",
            &[(now.0 + 40).into(), tree.into()],
        )?;
        let future = clock_repair::future_trees(c, now)?;
        assert_eq!(future.len(), 1);
        clock_repair::reset(c, future[0], now)?;
        let rows = c.query(
            "SELECT from_seq, to_seq FROM life WHERE tree_id = $1 ORDER BY from_seq",
            &[tree.into()],
        )?;
        rows.iter()
            .map(|row| Ok((row.int(0)? - now.0, row.int(1)? - now.0)))
            .collect::<Result<Vec<_>, DbError>>()
    };
    let rows = backend.state.db.write(write).await.unwrap();
    let moved: Vec<_> = rows.into_iter().filter(|(from, _)| *from >= -5).collect();
    assert_eq!(moved, [(-5, -1), (-1, 0), (0, Seq::OPEN.0 - now.0)]);
}

/// A page that is read while another server repairs the clock: on PostgreSQL, its transaction sees the state before the
/// repair, which does not see its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_read_during_a_repair_has_no_times_in_the_future() {
    let index = Pypi::start();
    let backend = synced(db::Engine::Postgres, &index).await;
    backend.advance_to_noon("2024-03-11");
    sync(&backend).await;
    let other = backend.open_second().await;
    backend.set_back_to_noon("2024-03-02");
    let now = (backend.state.clock)();
    assert!(head(&backend).await > now.0);
    let (repaired, is_repaired) = std::sync::mpsc::channel();
    let (commit, may_commit) = std::sync::mpsc::channel::<()>();
    let repair = tokio::spawn(async move {
        let write = move |c: &mut dyn Conn| {
            let repair = clock_repair::repair(c, now, false)?;
            let _ = repaired.send(());
            let _ = may_commit.recv();
            Ok(repair)
        };
        let repair = other.state.db.write(write).await;
        (other, repair)
    });
    tokio::task::spawn_blocking(move || is_repaired.recv()).await.unwrap().unwrap();
    let reads = PageReads::new(backend.state.clone());
    let reads = reads.of(SourceId::PYPI).unwrap();
    let mut page = tokio::spawn({
        let reads = reads.clone();
        async move { reads.at(&name::parse("one").unwrap(), Seq(now.0 - 1), Priority::Client).await }
    });
    // The page is written before the repair ends, or waits for it.
    let early = tokio::time::timeout(std::time::Duration::from_secs(2), &mut page).await;
    drop(commit);
    let (_other, result) = repair.await.unwrap();
    assert!(result.unwrap().is_some(), "something was repaired");
    let result = match early {
        Ok(result) => result.unwrap(),
        Err(_) => page.await.unwrap(),
    };
    assert_eq!(backend.state.db.read(move |c| later_rows(c, now)).await.unwrap(), 0, "{result:?}");
    // It waited for the repair before it read the state of the project, or after it.
    assert!(matches!(result, Ok(Validity::Complete) | Err(PageError::ClockRepaired)), "{result:?}");
    // It is not a failure of the index, so the next request reads the page.
    let again = reads.at(&name::parse("one").unwrap(), Seq(now.0 - 1), Priority::Client).await;
    assert!(matches!(again, Ok(Validity::Complete)), "{again:?}");
    assert_eq!(backend.state.db.read(move |c| later_rows(c, now)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_in_the_future_is_reset_on_sqlite() {
    a_state_in_the_future_is_reset(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_in_the_future_is_reset_on_postgres() {
    a_state_in_the_future_is_reset(db::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_the_future_keep_their_order_on_sqlite() {
    changes_in_the_future_keep_their_order(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_the_future_keep_their_order_on_postgres() {
    changes_in_the_future_keep_their_order(db::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stay_disjoint_on_sqlite() {
    rows_stay_disjoint(db::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stay_disjoint_on_postgres() {
    rows_stay_disjoint(db::Engine::Postgres).await;
}
