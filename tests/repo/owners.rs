//! The clean-up removes only what belongs to its own database, asks before it removes much, and can be undone. On every pair
//! of stores.

use std::time::Duration;

use rstudio_pm::config::StorageClass;
use rstudio_pm::db;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::repo::RepoError;
use rstudio_pm::repo::edit::OnExisting;
use rstudio_pm::repo::sweep::{SweepOptions, SweepResult};
use rstudio_pm::storage::{Area, Key, Ownership};

use super::clean_up::{make_old, objects};
use super::everywhere::{Bytes, fetched, stores};
use crate::support::backend::{Stores, World, actor};
use crate::support::db::Engine;
use crate::support::storage::bytes;
use crate::support::tarball::Tarball;
use crate::support::{db as databases, s3};

/// Makes a test of each story on each pair of stores.
macro_rules! on_every_pair {
    ($($story:ident)*) => {
        $(
            mod $story {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite_and_disk() {
                    super::$story(Engine::Sqlite, Bytes::Disk).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres_and_disk() {
                    super::$story(Engine::Postgres, Bytes::Disk).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite_and_s3() {
                    if !s3::elsewhere() {
                        super::$story(Engine::Sqlite, Bytes::S3).await;
                    }
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres_and_s3() {
                    if !s3::elsewhere() {
                        super::$story(Engine::Postgres, Bytes::S3).await;
                    }
                }
            }
        )*
    };
}

on_every_pair! {
    a_sweep_of_another_database_removes_nothing
    storage_of_before_markers_belongs_to_the_database_that_names_its_objects
    a_sweep_of_more_than_a_small_share_waits_for_a_confirmation
    a_removed_object_comes_back_when_it_is_needed_and_is_deleted_after_the_grace_period
}

/// Everything counts as old.
pub(super) fn at_once() -> SweepOptions {
    SweepOptions { age: Duration::ZERO, ..SweepOptions::default() }
}

/// The same bytes, and another database that nobody used yet.
async fn other_database(world: &World, engine: Engine) -> Stores {
    let gcfg = world.stores().gcfg.clone();
    let other = tokio::task::spawn_blocking(move || databases::settings(engine)).await.expect("no panic");
    let storage = gcfg.find("[Storage]").map_or("", |at| &gcfg[at..]);
    let place = match engine {
        Engine::Sqlite => format!("[SQLite]\nDir = {}/other-db\n", world.folder().display()),
        Engine::Postgres => String::new(),
    };
    Stores { gcfg: format!("{other}{place}{storage}") }
}

pub(super) async fn filled(engine: Engine, bytes: Bytes) -> World {
    let world = World::on(stores(engine, bytes).await).await;
    world.repo.claim_storage().await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    for number in 0..5 {
        let package =
            Tarball::new("alpha", &format!("1.{number}")).with("README.md", &format!("# {number}\n"));
        world.try_add("team", &[package], OnExisting::Fail).await.expect("added");
    }
    world
}

pub(super) async fn in_area(world: &World, area: Area, class: StorageClass) -> Vec<Key> {
    let found = world.state.storage.list_in(area, class, None, 10_000).await.expect("a listing");
    found.into_iter().map(|object| object.key).collect()
}

pub(super) async fn count(world: &World) -> usize {
    in_area(world, Area::Live, StorageClass::Packages).await.len()
}

pub(super) async fn serves_everything(world: &World) {
    for number in 0..5 {
        let version = format!("1.{number}");
        assert!(fetched(world, "latest", "alpha", &version).await.is_some_and(|bytes| !bytes.is_empty()));
    }
}

async fn a_sweep_of_another_database_removes_nothing(engine: Engine, bytes: Bytes) {
    let world = filled(engine, bytes).await;
    let stored = count(&world).await;
    assert_eq!(stored, 10, "archives and READMEs");
    let own = world.stores().clone();

    // The database moved away and an empty one in its place; a second server is the same.
    let other = other_database(&world, engine).await;
    let world = world.restarted_on(other).await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up"), SweepResult::default());
    assert_eq!(count(&world).await, stored);
    let condition = world.state.storage.condition();
    assert!(matches!(condition.ownership(StorageClass::Packages), Ownership::Foreign(_)), "{condition:?}");
    let warnings = condition.warnings();
    assert!(warnings.iter().any(|w| w.kind == "storage-owner" && w.message.contains("rspm storage adopt")));

    // Put back, everything serves and nothing is left to warn of.
    let other = world.stores().clone();
    let world = world.restarted_on(own.clone()).await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 0);
    assert_eq!(world.state.storage.condition().warnings(), []);
    serves_everything(&world).await;

    // Adopted on purpose, what the new owner does not name goes to the trash; the first owner touches nothing any more.
    let world = world.restarted_on(other).await;
    let adopted = world.repo.adopt_storage(&StorageClass::ALL).await.expect("adopted");
    assert_eq!(adopted, StorageClass::ALL);
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, stored as u64);
    assert_eq!(count(&world).await, 0);
    let world = world.restarted_on(own).await;
    world.repo.claim_storage().await;
    let condition = world.state.storage.condition();
    assert!(matches!(condition.ownership(StorageClass::Packages), Ownership::Foreign(_)), "{condition:?}");
    assert_eq!(world.repo.restore_trash(StorageClass::Packages).await.expect("brought back"), stored as u64);
    serves_everything(&world).await;
}

async fn storage_of_before_markers_belongs_to_the_database_that_names_its_objects(
    engine: Engine,
    bytes: Bytes,
) {
    // Nothing was claimed yet when these were stored.
    let world = World::on(stores(engine, bytes).await).await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    for number in 0..5 {
        world.add("team", "alpha", &format!("1.{number}")).await;
    }
    let own = world.stores().clone();
    let other = other_database(&world, engine).await;
    let world = world.restarted_on(other).await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 0);
    let standing = world.state.storage.condition().ownership(StorageClass::Packages);
    assert_eq!(standing, Ownership::Unclaimed { objects: 5, named: 0 });
    let world = world.restarted_on(own).await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 0);
    assert!(world.state.storage.is_own(StorageClass::Packages));
    serves_everything(&world).await;
}

async fn a_sweep_of_more_than_a_small_share_waits_for_a_confirmation(engine: Engine, where_: Bytes) {
    let world = filled(engine, where_).await;
    let class = StorageClass::Cran;
    let store = async |world: &World, seeds: std::ops::Range<u64>| {
        for seed in seeds {
            let (content, digest) = bytes(50, seed);
            world.state.storage.put(&Key::Package(class, digest), content.into()).await.expect("stored");
        }
    };
    store(&world, 0..11).await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 0);
    assert_eq!(in_area(&world, Area::Live, class).await.len(), 11);
    let warnings = world.state.storage.condition().warnings();
    assert_eq!(
        warnings.iter().map(|w| (w.kind, w.name.as_str())).collect::<Vec<_>>(),
        [("storage-sweep", "cran")]
    );
    assert!(warnings[0].message.contains("11 of 11"), "{warnings:?}");

    let confirmed = SweepOptions { confirmed: vec![class], ..at_once() };
    assert_eq!(world.repo.sweep(&confirmed).await.expect("a clean-up").objects, 11);
    assert_eq!(world.state.storage.condition().warnings(), []);
    assert_eq!(world.repo.trash(class).await.expect("a trash").objects, 11);
    assert!(in_area(&world, Area::Live, class).await.is_empty(), "the trash is not listed");
    assert_eq!(world.repo.restore_trash(class).await.expect("brought back"), 11);
    assert_eq!(in_area(&world, Area::Live, class).await.len(), 11);
    assert_eq!(world.repo.trash(class).await.expect("a trash").objects, 0);

    // Ten are few, but not ten again on the same day.
    let first = in_area(&world, Area::Live, class).await[0];
    world.state.storage.delete(&first).await.expect("removed");
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 10);
    store(&world, 20..21).await;
    let world = world.restarted().await;
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 0);
    assert_eq!(world.state.storage.condition().warnings()[0].kind, "storage-sweep");
    world.noon("2024-03-03");
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 1);
    assert_eq!(world.state.storage.condition().warnings(), []);
    serves_everything(&world).await;
}

async fn a_removed_object_comes_back_when_it_is_needed_and_is_deleted_after_the_grace_period(
    engine: Engine,
    where_: Bytes,
) {
    let world = filled(engine, where_).await;
    let (storage, class) = (&world.state.storage, StorageClass::Packages);
    let all = in_area(&world, Area::Live, class).await;
    let (content, digest) = bytes(50, 1);
    let unnamed = Key::Package(class, digest);
    storage.put(&unnamed, content.clone().into()).await.expect("stored");
    for key in all.iter().chain([&unnamed]) {
        assert!(storage.move_to_trash(key).await.expect("moved"));
        assert_eq!(storage.size(key).await.expect("an answer"), None);
    }
    // Asked for by a row, it is found again.
    serves_everything(&world).await;
    let back = count(&world).await;
    assert_eq!(back, 5, "the archives were asked for");
    // The same bytes can be stored again meanwhile.
    storage.put(&unnamed, content.into()).await.expect("stored");
    assert!(!storage.restore(&unnamed).await.expect("an answer"), "one is in service");
    storage.delete(&unnamed).await.expect("removed");

    let swept = world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up");
    // On PostgreSQL the rows are too young to be compared.
    let left = if engine == Engine::Sqlite { 1 } else { 6 };
    assert_eq!((swept.deleted, world.repo.trash(class).await.expect("a trash").objects), (0, left));
    let past = SweepOptions { grace: Duration::ZERO, ..SweepOptions::default() };
    assert_eq!(world.repo.sweep(&past).await.expect("a clean-up").deleted, 1);
    assert_eq!(world.repo.trash(class).await.expect("a trash").objects, 0);
    assert_eq!(count(&world).await, 10, "what rows name was brought back instead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_start_nothing_is_swept_that_no_mirror_can_give_again() {
    let world = World::new().await;
    world.repo.claim_storage().await;
    for class in [StorageClass::Packages, StorageClass::Binaries, StorageClass::Cran] {
        let (content, digest) = bytes(50, class as u64);
        world.state.storage.put(&Key::Package(class, digest), content.into()).await.expect("stored");
    }
    let start = SweepOptions { only_refillable: true, ..at_once() };
    assert_eq!(world.repo.sweep(&start).await.expect("a clean-up").objects, 1);
    for (class, left) in [(StorageClass::Packages, 1), (StorageClass::Binaries, 1), (StorageClass::Cran, 0)] {
        assert_eq!(in_area(&world, Area::Live, class).await.len(), left, "{class:?}");
    }
    assert_eq!(world.repo.sweep(&at_once()).await.expect("a clean-up").objects, 2);
}

/// Rows of blobs that nothing refers to, written three hours ago.
async fn old_rows(world: &World, rows: Vec<(Sha256, &'static str)>) {
    let old = rstudio_pm::model::time::Timestamp((world.state.clock)().0 - 3 * 3_600_000_000);
    let written = world.state.db.write(move |c| {
        for (sha256, class) in &rows {
            let class = (*class).to_owned();
            db::blob::insert(c, &db::blob::Blob { sha256: *sha256, class, size: 1, created_at: old })?;
        }
        Ok(())
    });
    written.await.expect("written");
}

fn numbered(first: u8, number: u16) -> Sha256 {
    let mut digest = [first; 32];
    digest[1..3].copy_from_slice(&number.to_be_bytes());
    Sha256(digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_unreferenced_blobs_than_one_page_go_in_one_night_and_rows_of_no_class_hold_up_none() {
    let world = World::new().await;
    world.repo.claim_storage().await;
    let strange = (0..1200).map(|number| (numbered(0, number), "elsewhere"));
    old_rows(&world, strange.chain((0..2500).map(|number| (numbered(1, number), "cran"))).collect()).await;
    let confirmed = SweepOptions { confirmed: vec![StorageClass::Cran], ..SweepOptions::default() };
    world.repo.sweep(&confirmed).await.expect("a clean-up");
    let left = world.state.db.read(|c| db::blob::page(c, None, 10_000)).await.expect("rows");
    assert_eq!(left.len(), 1200, "those of class cran are gone");
    assert!(left.iter().all(|blob| blob.class == "elsewhere"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_up_on_another_server_leaves_the_bytes_of_an_upload() {
    let world = World::on(stores(Engine::Postgres, Bytes::Disk).await).await;
    world.repo.claim_storage().await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    // The very bytes were here before, and nothing refers to them any more.
    let package = Tarball::new("alpha", "1.0");
    let sha256 = world.upload(&package).await.expect("an upload").sha256;
    let aged = world.state.db.write(|c| c.execute("UPDATE blob SET created_at = 1", &[]));
    assert_eq!(aged.await.expect("a row"), 1);
    let files = objects(&world.folder().join("data/packages"));
    make_old(&files);

    let upload = world.upload(&package).await.expect("an upload");
    assert_eq!(upload.sha256, sha256);
    make_old(&files);
    let other = world.beside().await;
    assert_eq!(other.repo.sweep(&SweepOptions::default()).await.expect("a clean-up").objects, 0);
    world.repo.add("team", &[upload.id], OnExisting::Fail, &actor()).await.expect("added");
    assert!(fetched(&world, "latest", "alpha", "1.0").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_never_clean_up_at_once() {
    let world = World::on(stores(Engine::Postgres, Bytes::Disk).await).await;
    let now = (world.state.clock)();
    let until = rstudio_pm::model::time::Timestamp(now.0 + 60_000_000);
    let claimed = world.state.db.write(move |c| db::lease::claim(c, "sweep", "another", now, until)).await;
    let fence = claimed.expect("a database").expect("free");
    let refused = world.repo.sweep(&SweepOptions::default()).await;
    assert!(matches!(refused, Err(RepoError::Conflict(_))), "{refused:?}");
    world.state.db.write(move |c| db::lease::release(c, "sweep", fence)).await.expect("given back");
    world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up");
}
