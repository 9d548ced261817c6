//! Stored objects are compared with their digests, and damaged ones are never served.

use std::path::PathBuf;
use std::time::Duration;

use rstudio_pm::config::StorageClass;
use rstudio_pm::edit::{AddStatus, OnExisting};
use rstudio_pm::serve::RepoError;
use rstudio_pm::serve::file::OpenFile;
use rstudio_pm::serve::index::Document;
use rstudio_pm::storage::Area;
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::scrub::{ScrubLimits, ScrubResult};

use super::all_stores::{ObjectStore, fetched, stores};
use super::clean_up::objects;
use super::{index, point};
use crate::support::backend::World;
use crate::support::db::Engine;
use crate::support::tarball::Tarball;

/// A local package that is served, and its object.
async fn stored() -> (World, PathBuf) {
    let world = World::new().await;
    upkeep::ownership::claim(&world.upkeep).await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    world.add("team", "alpha", "1.0").await;
    let [object] = objects(&world.folder().join("data/packages")).try_into().expect("one object");
    (world, object)
}

/// Flips one bit; the size stays.
fn flip(object: &PathBuf) {
    let mut bytes = std::fs::read(object).expect("stored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).expect("written");
}

async fn open(world: &World) -> Result<OpenFile, RepoError> {
    let point = point(world, "all", "latest").await;
    let located = world.repositories.locate(&point, "alpha", "1.0", "alpha_1.0.tar.gz", false).await?;
    world.repositories.open(&located, None).await
}

async fn damaged(world: &World) -> usize {
    let listed = world.state.storage.list_in(Area::Damaged, StorageClass::Packages, None, 10).await;
    listed.expect("a listing").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_local_package_is_not_served_and_is_moved_aside() {
    let (world, object) = stored().await;
    flip(&object);
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    for _ in 0..2 {
        let refused = open(&world).await.err();
        assert!(matches!(refused, Some(RepoError::Damaged { .. })), "{refused:?}");
    }
    assert!(!object.exists());
    assert_eq!(damaged(&world).await, 1);
    // The damage is still known after a restart.
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    let refused = open(&world).await.err();
    assert!(matches!(refused, Some(RepoError::Damaged { .. })), "{refused:?}");
    let warnings = world.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-damage"]);
    // Adding the same package again repairs it.
    let again = world.try_add("team", &[Tarball::new("alpha", "1.0")], OnExisting::Replace).await;
    again.expect("added");
    assert!(fetched(&world, "latest", "alpha", "1.0").await.is_some());
    assert_eq!(world.state.storage.condition().warnings(), []);
}

/// As HEAD does.
async fn check(world: &World) -> Result<(), RepoError> {
    let point = point(world, "all", "latest").await;
    let located = world.repositories.locate(&point, "alpha", "1.0", "alpha_1.0.tar.gz", false).await?;
    world.repositories.check(&located).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_whose_size_changes_while_the_server_runs_is_moved_aside() {
    let world = World::new().await;
    upkeep::ownership::claim(&world.upkeep).await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    // Larger than the objects in the memory cache.
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    })
    .take(3_000_000)
    .collect();
    let large = Tarball::new("alpha", "1.0").with("noise", &noise);
    world.try_add("team", std::slice::from_ref(&large), OnExisting::Fail).await.expect("added");
    let [object] = objects(&world.folder().join("data/packages")).try_into().expect("one object");
    for (round, size) in [1_000_000, 0, 4_000_000].into_iter().enumerate() {
        assert!(open(&world).await.is_ok() && check(&world).await.is_ok());
        let file = std::fs::File::options().write(true).open(&object).expect("stored");
        file.set_len(size).expect("another size");
        let (first, second) = if round == 1 {
            (open(&world).await.err(), check(&world).await.err())
        } else {
            (check(&world).await.err(), open(&world).await.err())
        };
        for refused in [first, second] {
            assert!(matches!(refused, Some(RepoError::Damaged { .. })), "{size} {refused:?}");
        }
        assert!(!object.exists());
        assert_eq!(damaged(&world).await, 1);
        let warnings = world.state.storage.condition().warnings();
        assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-damage"]);
        let again = world.try_add("team", std::slice::from_ref(&large), OnExisting::Replace).await;
        again.expect("added");
        assert_eq!(world.state.storage.condition().warnings(), []);
    }
}

/// A lost object whose directory is a file, so that it cannot be stored again until the file is removed.
async fn a_replaced_package_is_reported_only_once_it_is_stored(engine: Engine) {
    let world = World::on(stores(engine, ObjectStore::Disk).await).await;
    upkeep::ownership::claim(&world.upkeep).await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    let package = Tarball::new("alpha", "1.0").with("README.md", "# alpha\n");
    world.try_add("team", std::slice::from_ref(&package), OnExisting::Fail).await.expect("added");
    for object in objects(&world.folder().join("data/packages")) {
        let dir = object.parent().expect("a directory");
        std::fs::remove_dir_all(dir).expect("removed");
        std::fs::write(dir, "").expect("written");
        for existing in [OnExisting::Replace, OnExisting::Succeed] {
            let refused = world.try_add("team", std::slice::from_ref(&package), existing).await;
            assert!(matches!(refused, Err(RepoError::Storage(_))), "{object:?}: {refused:?}");
        }
        std::fs::remove_file(dir).expect("removed");
        let again = world.try_add("team", std::slice::from_ref(&package), OnExisting::Replace).await;
        assert_eq!(again.expect("added"), [AddStatus::Existing]);
        assert!(object.is_file(), "{object:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_package_is_reported_only_once_it_is_stored_on_sqlite() {
    a_replaced_package_is_reported_only_once_it_is_stored(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_package_is_reported_only_once_it_is_stored_on_postgres() {
    a_replaced_package_is_reported_only_once_it_is_stored(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intact_file_that_replaces_a_damaged_one_is_served() {
    let (world, object) = stored().await;
    let backup = std::fs::read(&object).expect("a backup");
    flip(&object);
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    let refused = open(&world).await.err();
    assert!(matches!(refused, Some(RepoError::Damaged { .. })), "{refused:?}");
    // A copy that is damaged as well is moved aside again.
    std::fs::write(&object, &backup).expect("copied");
    flip(&object);
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(open(&world).await.is_err() && !object.exists());
    std::fs::write(&object, &backup).expect("copied");
    let world = world.restarted().await;
    assert!(open(&world).await.is_ok());
    upkeep::ownership::claim(&world.upkeep).await;
    assert_eq!(world.state.storage.condition().warnings(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nightly_comparison_finds_damage_of_verified_objects() {
    let (world, object) = stored().await;
    assert!(open(&world).await.is_ok());
    let quick = ScrubLimits { rate: u64::MAX, longest: Duration::from_secs(60) };
    assert_eq!(
        upkeep::scrub::scrub(&world.upkeep, quick).await.expect("compared"),
        ScrubResult { sound: 1, ..ScrubResult::default() }
    );
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(open(&world).await.is_ok(), "verified");
    flip(&object);
    // Small objects are in memory; the restart empties it.
    let world = world.restarted().await;
    upkeep::ownership::claim(&world.upkeep).await;
    let found = upkeep::scrub::scrub(&world.upkeep, quick).await.expect("compared");
    assert_eq!(found, ScrubResult { damaged: 1, ..ScrubResult::default() });
    let refused = open(&world).await.err();
    assert!(matches!(refused, Some(RepoError::Damaged { .. })), "{refused:?}");
    assert!(!object.exists());
    // An object that a row names and storage lacks is counted as missing.
    let found = upkeep::scrub::scrub(&world.upkeep, quick).await.expect("compared");
    assert_eq!(found, ScrubResult { missing: 1, ..ScrubResult::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_of_a_closed_day_is_rendered_again() {
    let (world, _) = stored().await;
    world.noon("2024-03-02");
    let documents = [Document::PackagesGz, Document::PackagesRds];
    let mut intact = Vec::new();
    for document in documents.clone() {
        intact.push(index(&world, "all", "2024-03-01", document).await.bytes);
    }
    let stored = objects(&world.folder().join("data/persistent"));
    assert_eq!(stored.len(), 2);
    let empty = |object: &PathBuf| std::fs::write(object, b"").expect("written");
    let mut world = world;
    for damage in [flip as fn(&PathBuf), empty] {
        stored.iter().for_each(damage);
        world = world.restarted().await;
        upkeep::ownership::claim(&world.upkeep).await;
        for (document, intact) in documents.clone().into_iter().zip(&intact) {
            assert!(index(&world, "all", "2024-03-01", document).await.bytes == *intact);
        }
        assert_eq!(objects(&world.folder().join("data/persistent")), stored);
        assert_eq!(world.state.storage.condition().warnings(), []);
    }
}
