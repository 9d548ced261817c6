//! Objects that rows name and storage lacks are reported; an implausible clock deletes nothing.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::storage::{Area, Key, StorageError, day_of};
use rstudio_pm::upkeep::scrub::{Fault, RepairOutcome, ScrubOptions};
use rstudio_pm::upkeep::sweep::SweepOptions;
use rstudio_pm::{db, upkeep};

use super::all_stores::ObjectStore;
use super::ownership::{assert_all_served, count, in_area, sweep_now, with_packages};
use super::sweep::objects;
use super::{point, scrub};
use crate::support::backend::Backend;
use crate::support::db::Engine;
use crate::support::storage::bytes;
use crate::support::tarball::Tarball;

const CLASS: StorageClass = StorageClass::Packages;

fn kinds(backend: &Backend) -> Vec<&'static str> {
    backend.state.storage.condition().warnings().iter().map(|warning| warning.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_rows_name_and_storage_lacks_are_an_alert_until_they_are_restored() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    let packages = in_area(&backend, Area::Live, CLASS).await;
    let archives: Vec<Key> = packages.into_iter().filter(|key| matches!(key, Key::Package(..))).collect();
    let [trash_key, lost_key, ..] = archives.as_slice() else { panic!("{archives:?}") };
    assert!(backend.state.storage.move_to_trash(trash_key).await.expect("moved"));
    let content = backend.state.storage.read(lost_key).await.expect("bytes");
    backend.state.storage.delete(lost_key).await.expect("removed");

    // The sweep at start detects it.
    let backend = backend.restart().await;
    backend.advance_to_noon("2024-03-02");
    upkeep::sweep::sweep(&backend.upkeep, &SweepOptions { only_refillable: true, ..sweep_now() })
        .await
        .expect("a start");
    assert_eq!(backend.state.storage.condition().lost_objects(CLASS).collect::<Vec<_>>(), [lost_key]);
    assert_eq!(count(&backend).await, 9, "the object in the trash is restored");
    let warnings = backend.state.storage.condition().warnings();
    assert!(warnings[0].kind == "storage-lost" && warnings[0].message.contains(": 1;"), "{warnings:?}");

    backend.state.storage.put(lost_key, content).await.expect("stored");
    assert!(kinds(&backend).is_empty());
    assert_all_served(&backend).await;

    // The scrub detects it as well.
    backend.state.storage.delete(lost_key).await.expect("removed");
    let result = scrub::run(&backend, ScrubOptions::full()).await;
    assert!(matches!(scrub::findings(&result)[..], [(Fault::Missing, RepairOutcome::Lost, _)]), "{result:?}");
    assert_eq!(kinds(&backend), ["storage-lost"]);
}

async fn open(backend: &Backend, version: &str) -> Result<(), RepoError> {
    let (point, file) = (point(backend, "all", "latest").await, format!("alpha_{version}.tar.gz"));
    let location = serve::file::locate(&backend.repositories, &point, "alpha", version, &file, false)
        .await
        .expect("a package");
    let check_result = serve::file::check(&backend.repositories, &location).await;
    let open_result = serve::file::open(&backend.repositories, &location, None).await.map(drop);
    assert_eq!(check_result.is_ok(), open_result.is_ok(), "{check_result:?} {open_result:?}");
    open_result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_package_is_recorded_when_it_is_requested_until_it_is_restored() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let object = object_of(&backend, "alpha", "1.3").await;
    let copy = backend.folder().join("away");
    std::fs::rename(&object, &copy).expect("moved");
    for _ in 0..2 {
        let refusal = open(&backend, "1.3").await;
        assert!(matches!(refusal, Err(RepoError::Storage(StorageError::NotFound(_)))), "{refusal:?}");
        assert_eq!(backend.state.storage.condition().lost_objects(CLASS).count(), 1);
    }
    assert_eq!(kinds(&backend), ["storage-lost"]);
    std::fs::rename(&copy, &object).expect("moved back");
    open(&backend, "1.3").await.expect("served");
    assert!(kinds(&backend).is_empty());
}

/// Returns the path of the object of a package.
async fn object_of(backend: &Backend, package: &str, version: &str) -> PathBuf {
    let point = point(backend, "all", "latest").await;
    let file = format!("{package}_{version}.tar.gz");
    let location = serve::file::locate(&backend.repositories, &point, package, version, &file, false)
        .await
        .expect("a package");
    let path = Key::Package(CLASS, location.sha256.expect("a digest")).path();
    backend.folder().join("data/packages").join(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_lost_soon_after_it_was_added_is_detected_by_the_next_clean_up() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let backend = with_packages(engine, ObjectStore::Disk).await;
        let object = object_of(&backend, "alpha", "1.3").await;
        std::fs::remove_file(object).expect("removed");
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
        let lost_count = backend.state.storage.condition().lost_objects(CLASS).count();
        // On PostgreSQL the object may be one that another server stored a moment ago.
        assert_eq!(lost_count, usize::from(engine == Engine::Sqlite), "{engine:?}");
        backend.advance_to_noon("2024-03-02");
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
        assert_eq!(backend.state.storage.condition().lost_objects(CLASS).count(), 1, "{engine:?}");
        // The same package uploaded again, and not added yet.
        let tarball = Tarball::new("alpha", "1.3").with("README.md", "# 3\n");
        backend.upload(&tarball).await.expect("an upload");
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
        assert!(kinds(&backend).is_empty(), "{engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_clock_removes_nothing() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    let (content, digest) = bytes(50, 1);
    let unknown_key = Key::Package(CLASS, digest);
    backend.state.storage.put(&unknown_key, content.into()).await.expect("stored");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 1);
    backend.advance_to_noon("2025-04-05");
    let options = SweepOptions { grace: Duration::ZERO, ..sweep_now() };
    match upkeep::sweep::sweep(&backend.upkeep, &options).await {
        Err(RepoError::Conflict(reason)) => {
            assert!(reason.contains("nothing is removed") && reason.contains("2025-04-05"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(upkeep::sweep::trash::summary(&backend.state, CLASS).await.expect("a trash").objects, 1);
    backend.set_back_to_noon("2024-03-01");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &options).await.expect("a sweep").deleted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_contradicts_the_clock_of_the_database_removes_and_repairs_nothing() {
    let backend = with_packages(Engine::Postgres, ObjectStore::Disk).await;
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let later = Timestamp(now.0 + 10 * 86_400 * SECOND).day();
    backend.advance_to_noon(&now.day().to_string());
    // A running server closes days, which keeps the row near the true time.
    let close = move |c: &mut dyn db::Conn| c.execute("UPDATE clock SET at = $1", &[now.into()]);
    assert_eq!(backend.state.db.write(close).await.expect("written"), 1);
    backend.advance_to_noon(&later.to_string());
    match upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await {
        Err(RepoError::Conflict(reason)) => assert!(reason.contains("nothing is removed"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let result = upkeep::clock::repair(&backend.state, later, false).await;
    assert!(matches!(result, Err(RepoError::Db(db::DbError::ClockAhead { .. }))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_age_of_objects_in_the_trash_counts_days_with_a_clean_up_too() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    let (content, digest) = bytes(50, 1);
    let unknown_key = Key::Package(CLASS, digest);
    backend.state.storage.put(&unknown_key, content.into()).await.expect("stored");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 1);
    // As after a jump of the clock.
    let modified_at = SystemTime::now() - Duration::from_secs(10 * 86_400);
    let [object] = objects(&backend.folder().join("data/packages/trash")).try_into().expect("one object");
    let file = std::fs::File::options().write(true).open(&object).expect("a file");
    file.set_modified(modified_at).expect("a time");
    for _ in 0..2 {
        assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").deleted, 0);
    }
    // As after a week of nightly sweeps.
    let transaction = backend.state.db.write(move |c| {
        (1..=7).try_for_each(|day| db::storage_class::record_sweep_day(c, day_of(modified_at) + day))
    });
    transaction.await.expect("recorded");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").deleted, 1);
}
