//! On every pair of stores, the sweep removes only objects of its own database, asks for a confirmation before it
//! removes many, and can be undone.

use std::time::Duration;

use rstudio_pm::edit::{self, OnExisting};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::serve::RepoError;
use rstudio_pm::storage::{Area, Key, Ownership};
use rstudio_pm::upkeep::sweep::{SweepOptions, SweepResult};
use rstudio_pm::{db, upkeep};

use super::all_stores::{ObjectStore, package_bytes, stores};
use super::sweep::{make_old, objects};
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::db::Engine;
use crate::support::storage::bytes;
use crate::support::tarball::Tarball;
use crate::support::{db as databases, s3};

/// Makes a test of each scenario on each pair of stores.
macro_rules! on_every_pair {
    ($($scenario:ident)*) => {
        $(
            mod $scenario {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite_and_disk() {
                    super::$scenario(Engine::Sqlite, ObjectStore::Disk).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres_and_disk() {
                    super::$scenario(Engine::Postgres, ObjectStore::Disk).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite_and_s3() {
                    if !s3::rerun_with_credentials() {
                        super::$scenario(Engine::Sqlite, ObjectStore::S3).await;
                    }
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres_and_s3() {
                    if !s3::rerun_with_credentials() {
                        super::$scenario(Engine::Postgres, ObjectStore::S3).await;
                    }
                }
            }
        )*
    };
}

on_every_pair! {
    a_sweep_of_another_database_removes_nothing
    storage_without_markers_belongs_to_the_database_that_names_its_objects
    a_sweep_of_a_large_share_waits_for_a_confirmation
    a_removed_object_is_restored_on_demand_and_deleted_after_the_grace_period
}

/// Returns the options of a sweep for which all objects are old enough.
pub(super) fn sweep_now() -> SweepOptions {
    SweepOptions { age: Duration::ZERO, ..SweepOptions::default() }
}

/// Returns the configuration of the storage of `backend` with a new database.
async fn config_with_other_database(backend: &Backend, engine: Engine) -> StoresConfig {
    let gcfg = backend.stores().gcfg.clone();
    let other = tokio::task::spawn_blocking(move || databases::settings(engine)).await.expect("no panic");
    let storage = gcfg.find("[Storage]").map_or("", |at| &gcfg[at..]);
    let location = match engine {
        Engine::Sqlite => format!("[SQLite]\nDir = {}/other-db\n", backend.folder().display()),
        Engine::Postgres => String::new(),
    };
    StoresConfig { gcfg: format!("{other}{location}{storage}") }
}

pub(super) async fn with_packages(engine: Engine, store: ObjectStore) -> Backend {
    let backend = Backend::with_stores(stores(engine, store).await).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    for number in 0..5 {
        let package =
            Tarball::new("alpha", &format!("1.{number}")).with("README.md", &format!("# {number}\n"));
        backend.try_add("team", &[package], OnExisting::Fail).await.expect("added");
    }
    backend
}

/// Returns the keys of the objects in an area of a class.
pub(super) async fn in_area(backend: &Backend, area: Area, class: StorageClass) -> Vec<Key> {
    let objects = backend.state.storage.list_in(area, class, None, 10_000).await.expect("a listing");
    objects.into_iter().map(|object| object.key).collect()
}

/// Returns the number of objects of class `packages` in use.
pub(super) async fn count(backend: &Backend) -> usize {
    in_area(backend, Area::Live, StorageClass::Packages).await.len()
}

pub(super) async fn assert_all_served(backend: &Backend) {
    for number in 0..5 {
        let version = format!("1.{number}");
        assert!(
            package_bytes(backend, "latest", "alpha", &version).await.is_some_and(|bytes| !bytes.is_empty())
        );
    }
}

async fn a_sweep_of_another_database_removes_nothing(engine: Engine, store: ObjectStore) {
    let backend = with_packages(engine, store).await;
    let object_count = count(&backend).await;
    assert_eq!(object_count, 10, "archives and READMEs");
    let own_config = backend.stores().clone();

    // The database is replaced by an empty one; a second server has the same effect.
    let other = config_with_other_database(&backend, engine).await;
    let backend = backend.restart_with_stores(other).await;
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep"),
        SweepResult::default()
    );
    assert_eq!(count(&backend).await, object_count);
    let condition = backend.state.storage.condition();
    assert!(matches!(condition.ownership(StorageClass::Packages), Ownership::Foreign(_)), "{condition:?}");
    let warnings = condition.warnings();
    assert!(warnings.iter().any(|w| w.kind == "storage-owner" && w.command == "rspm storage adopt"));

    // With the original database, everything is served without warnings.
    let other = backend.stores().clone();
    let backend = backend.restart_with_stores(own_config.clone()).await;
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 0);
    assert_eq!(backend.state.storage.condition().warnings(), []);
    assert_all_served(&backend).await;

    // After an adoption, objects that the new owner does not name are moved to the trash; the first owner removes
    // nothing.
    let backend = backend.restart_with_stores(other).await;
    let classes = upkeep::ownership::adopt(&backend.upkeep, &StorageClass::ALL).await.expect("adopted");
    assert_eq!(classes, StorageClass::ALL);
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects,
        object_count as u64
    );
    assert_eq!(count(&backend).await, 0);
    let backend = backend.restart_with_stores(own_config).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let condition = backend.state.storage.condition();
    assert!(matches!(condition.ownership(StorageClass::Packages), Ownership::Foreign(_)), "{condition:?}");
    assert_eq!(
        upkeep::sweep::trash::restore(&backend.upkeep, StorageClass::Packages).await.expect("restored"),
        object_count as u64
    );
    assert_all_served(&backend).await;
}

async fn storage_without_markers_belongs_to_the_database_that_names_its_objects(
    engine: Engine,
    store: ObjectStore,
) {
    // The packages are stored before the storage is claimed.
    let backend = Backend::with_stores(stores(engine, store).await).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    for number in 0..5 {
        backend.add("team", "alpha", &format!("1.{number}")).await;
    }
    let own_config = backend.stores().clone();
    let other = config_with_other_database(&backend, engine).await;
    let backend = backend.restart_with_stores(other).await;
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 0);
    let ownership = backend.state.storage.condition().ownership(StorageClass::Packages);
    assert_eq!(ownership, Ownership::Unclaimed { objects: 5, referenced: 0 });
    let backend = backend.restart_with_stores(own_config).await;
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 0);
    assert!(backend.state.storage.is_own(StorageClass::Packages));
    assert_all_served(&backend).await;
}

async fn a_sweep_of_a_large_share_waits_for_a_confirmation(engine: Engine, store: ObjectStore) {
    let backend = with_packages(engine, store).await;
    let class = StorageClass::Cran;
    let put = async |backend: &Backend, seeds: std::ops::Range<u64>| {
        for seed in seeds {
            let (content, digest) = bytes(50, seed);
            backend.state.storage.put(&Key::Package(class, digest), content.into()).await.expect("stored");
        }
    };
    put(&backend, 0..11).await;
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 0);
    assert_eq!(in_area(&backend, Area::Live, class).await.len(), 11);
    let warnings = backend.state.storage.condition().warnings();
    assert_eq!(
        warnings.iter().map(|w| (w.kind, w.name.as_str())).collect::<Vec<_>>(),
        [("storage-sweep", "cran")]
    );
    assert!(warnings[0].message.contains("11 of 11"), "{warnings:?}");

    let options = SweepOptions { confirmed: vec![class], ..sweep_now() };
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &options).await.expect("a sweep").objects, 11);
    assert_eq!(backend.state.storage.condition().warnings(), []);
    assert_eq!(upkeep::sweep::trash::summary(&backend.state, class).await.expect("a trash").objects, 11);
    assert!(in_area(&backend, Area::Live, class).await.is_empty(), "the trash is not listed");
    assert_eq!(upkeep::sweep::trash::restore(&backend.upkeep, class).await.expect("restored"), 11);
    assert_eq!(in_area(&backend, Area::Live, class).await.len(), 11);
    assert_eq!(upkeep::sweep::trash::summary(&backend.state, class).await.expect("a trash").objects, 0);

    // Ten are a small share, but one more on the same day is not.
    let first = in_area(&backend, Area::Live, class).await[0];
    backend.state.storage.delete(&first).await.expect("removed");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 10);
    put(&backend, 20..21).await;
    let backend = backend.restart().await;
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 0);
    assert_eq!(backend.state.storage.condition().warnings()[0].kind, "storage-sweep");
    backend.advance_to_noon("2024-03-03");
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 1);
    assert_eq!(backend.state.storage.condition().warnings(), []);
    assert_all_served(&backend).await;
}

async fn a_removed_object_is_restored_on_demand_and_deleted_after_the_grace_period(
    engine: Engine,
    store: ObjectStore,
) {
    let backend = with_packages(engine, store).await;
    let (storage, class) = (&backend.state.storage, StorageClass::Packages);
    let all = in_area(&backend, Area::Live, class).await;
    let (content, digest) = bytes(50, 1);
    let unnamed_key = Key::Package(class, digest);
    storage.put(&unnamed_key, content.clone().into()).await.expect("stored");
    for key in all.iter().chain([&unnamed_key]) {
        assert!(storage.move_to_trash(key).await.expect("moved"));
        assert_eq!(storage.size(key).await.expect("an answer"), None);
    }
    // A request for an object of a row restores it.
    assert_all_served(&backend).await;
    let restored_count = count(&backend).await;
    assert_eq!(restored_count, 5, "the archives were requested");
    // The same bytes can be stored again in the meantime.
    storage.put(&unnamed_key, content.into()).await.expect("stored");
    assert!(!storage.restore(&unnamed_key).await.expect("an answer"), "the key is in use");
    storage.delete(&unnamed_key).await.expect("removed");

    let result = upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
    // On PostgreSQL the rows are too young to be compared.
    let trash_count = if engine == Engine::Sqlite { 1 } else { 6 };
    assert_eq!(
        (
            result.deleted,
            upkeep::sweep::trash::summary(&backend.state, class).await.expect("a trash").objects
        ),
        (0, trash_count)
    );
    let options = SweepOptions { grace: Duration::ZERO, ..SweepOptions::default() };
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &options).await.expect("a sweep").deleted, 1);
    assert_eq!(upkeep::sweep::trash::summary(&backend.state, class).await.expect("a trash").objects, 0);
    assert_eq!(count(&backend).await, 10, "objects that rows name were restored instead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_start_only_objects_that_can_be_fetched_again_are_removed() {
    let backend = Backend::new().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    for class in [StorageClass::Packages, StorageClass::Binaries, StorageClass::Cran] {
        let (content, digest) = bytes(50, class as u64);
        backend.state.storage.put(&Key::Package(class, digest), content.into()).await.expect("stored");
    }
    let options = SweepOptions { only_refillable: true, ..sweep_now() };
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &options).await.expect("a sweep").objects, 1);
    for (class, expected) in
        [(StorageClass::Packages, 1), (StorageClass::Binaries, 1), (StorageClass::Cran, 0)]
    {
        assert_eq!(in_area(&backend, Area::Live, class).await.len(), expected, "{class:?}");
    }
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 2);
}

/// Inserts rows of blobs that nothing refers to, with a creation time three hours ago.
async fn insert_old_blobs(backend: &Backend, rows: Vec<(Sha256, &'static str)>) {
    let created_at = rstudio_pm::model::time::Timestamp((backend.state.clock)().0 - 3 * 3_600_000_000);
    let transaction = backend.state.db.write(move |c| {
        for (sha256, class) in &rows {
            let class = (*class).to_owned();
            db::blob::insert(c, &db::blob::Blob { sha256: *sha256, class, size: 1, created_at })?;
        }
        Ok(())
    });
    transaction.await.expect("written");
}

fn digest_of_number(first: u8, number: u16) -> Sha256 {
    let mut digest = [first; 32];
    digest[1..3].copy_from_slice(&number.to_be_bytes());
    Sha256(digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_unreferenced_blobs_than_one_page_are_removed_despite_rows_of_unknown_classes() {
    let backend = Backend::new().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let unknown_blobs = (0..1200).map(|number| (digest_of_number(0, number), "elsewhere"));
    insert_old_blobs(
        &backend,
        unknown_blobs.chain((0..2500).map(|number| (digest_of_number(1, number), "cran"))).collect(),
    )
    .await;
    let options = SweepOptions { confirmed: vec![StorageClass::Cran], ..SweepOptions::default() };
    upkeep::sweep::sweep(&backend.upkeep, &options).await.expect("a sweep");
    let blobs = backend.state.db.read(|c| db::blob::page(c, None, 10_000)).await.expect("rows");
    assert_eq!(blobs.len(), 1200, "the blobs of class cran are removed");
    assert!(blobs.iter().all(|blob| blob.class == "elsewhere"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_up_on_another_server_leaves_the_bytes_of_an_upload() {
    let backend = Backend::with_stores(stores(Engine::Postgres, ObjectStore::Disk).await).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    // The same bytes were stored before, and nothing refers to them.
    let package = Tarball::new("alpha", "1.0");
    let sha256 = backend.upload(&package).await.expect("an upload").sha256;
    let transaction = backend.state.db.write(|c| c.execute("UPDATE blob SET created_at = 1", &[]));
    assert_eq!(transaction.await.expect("a row"), 1);
    let files = objects(&backend.folder().join("data/packages"));
    make_old(&files);

    let upload = backend.upload(&package).await.expect("an upload");
    assert_eq!(upload.sha256, sha256);
    make_old(&files);
    let other = backend.open_second().await;
    assert_eq!(
        upkeep::sweep::sweep(&other.upkeep, &SweepOptions::default()).await.expect("a sweep").objects,
        0
    );
    edit::add::add(&backend.uploads, "team", &[upload.id], OnExisting::Fail, &actor()).await.expect("added");
    assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_never_clean_up_concurrently() {
    let backend = Backend::with_stores(stores(Engine::Postgres, ObjectStore::Disk).await).await;
    let now = (backend.state.clock)();
    // The database compares `until` with its own clock, which is that of this machine.
    let expiry = rstudio_pm::model::time::Timestamp(jiff::Timestamp::now().as_microsecond() + 60_000_000);
    let lease = backend.state.db.write(move |c| db::lease::claim(c, "sweep", "another", now, expiry)).await;
    let fence = lease.expect("a database").expect("free");
    let refusal = upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await;
    assert!(matches!(refusal, Err(RepoError::Conflict(_))), "{refusal:?}");
    backend.state.db.write(move |c| db::lease::release(c, "sweep", fence)).await.expect("released");
    upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
}
