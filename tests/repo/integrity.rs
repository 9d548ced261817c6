//! Stored objects are compared with their digests, and damaged ones are never served.

use std::path::PathBuf;

use rstudio_pm::edit::{AddStatus, OnExisting};
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::located::OpenFile;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};
use rstudio_pm::storage::{Area, Ownership, StorageError};
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::scrub::{Fault, RepairOutcome, ScrubOptions};
use sha2::{Digest, Sha256};

use super::all_stores::{ObjectStore, package_bytes, stores};
use super::sweep::objects;
use super::{index, point, scrub};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db::Engine;
use crate::support::faulty_s3::{Fault as BucketFault, FaultyProxy};
use crate::support::s3;
use crate::support::tarball::Tarball;

/// Starts a backend that serves a local package; returns it with the object of the package.
async fn backend_with_package() -> (Backend, PathBuf) {
    let backend = Backend::new().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    let [object] = objects(&backend.folder().join("data/packages")).try_into().expect("one object");
    (backend, object)
}

/// Flips one bit; the size does not change.
fn flip(object: &PathBuf) {
    let mut bytes = std::fs::read(object).expect("stored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).expect("written");
}

async fn open(backend: &Backend) -> Result<OpenFile, RepoError> {
    let point = point(backend, "all", "latest").await;
    let location =
        serve::file::locate(&backend.repositories, &point, "alpha", "1.0", "alpha_1.0.tar.gz", false).await?;
    serve::file::open(&backend.repositories, &location, None).await
}

/// Returns the number of objects that were moved to the directory `damaged`.
async fn damaged_count(backend: &Backend) -> usize {
    let listing = backend.state.storage.list_in(Area::Damaged, StorageClass::Packages, None, 10).await;
    listing.expect("a listing").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_local_package_is_not_served_and_is_moved_to_damaged() {
    let (backend, object) = backend_with_package().await;
    flip(&object);
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    for _ in 0..2 {
        let refusal = open(&backend).await.err();
        assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{refusal:?}");
    }
    assert!(!object.exists());
    assert_eq!(damaged_count(&backend).await, 1);
    // The damage is still known after a restart.
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let refusal = open(&backend).await.err();
    assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{refusal:?}");
    let warnings = backend.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-damage"]);
    // Adding the same package again repairs it.
    let second_add = backend.try_add("team", &[Tarball::new("alpha", "1.0")], OnExisting::Replace).await;
    second_add.expect("added");
    assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some());
    assert_eq!(backend.state.storage.condition().warnings(), []);
}

/// Checks the file of the package, as a HEAD request does.
async fn check(backend: &Backend) -> Result<(), RepoError> {
    let point = point(backend, "all", "latest").await;
    let location =
        serve::file::locate(&backend.repositories, &point, "alpha", "1.0", "alpha_1.0.tar.gz", false).await?;
    serve::file::check(&backend.repositories, &location).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_whose_size_changes_while_the_server_runs_is_moved_to_damaged() {
    let backend = Backend::new().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    // Larger than the objects in the memory cache.
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    })
    .take(3_000_000)
    .collect();
    let large = Tarball::new("alpha", "1.0").with("noise", &noise);
    backend.try_add("team", std::slice::from_ref(&large), OnExisting::Fail).await.expect("added");
    let [object] = objects(&backend.folder().join("data/packages")).try_into().expect("one object");
    for (round, size) in [1_000_000, 0, 4_000_000].into_iter().enumerate() {
        assert!(open(&backend).await.is_ok() && check(&backend).await.is_ok());
        let file = std::fs::File::options().write(true).open(&object).expect("stored");
        file.set_len(size).expect("another size");
        let (first, second) = if round == 1 {
            (open(&backend).await.err(), check(&backend).await.err())
        } else {
            (check(&backend).await.err(), open(&backend).await.err())
        };
        for refusal in [first, second] {
            assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{size} {refusal:?}");
        }
        assert!(!object.exists());
        assert_eq!(damaged_count(&backend).await, 1);
        let warnings = backend.state.storage.condition().warnings();
        assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-damage"]);
        let second_add = backend.try_add("team", std::slice::from_ref(&large), OnExisting::Replace).await;
        second_add.expect("added");
        assert_eq!(backend.state.storage.condition().warnings(), []);
    }
}

/// Each object is lost, and its directory is a file, so that it cannot be stored again until the file is removed.
async fn a_replaced_package_is_reported_only_once_it_is_stored(engine: Engine) {
    let backend = Backend::with_stores(stores(engine, ObjectStore::Disk).await).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    let package = Tarball::new("alpha", "1.0").with("README.md", "# alpha\n");
    backend.try_add("team", std::slice::from_ref(&package), OnExisting::Fail).await.expect("added");
    for object in objects(&backend.folder().join("data/packages")) {
        let dir = object.parent().expect("a directory");
        std::fs::remove_dir_all(dir).expect("removed");
        std::fs::write(dir, "").expect("written");
        for existing in [OnExisting::Replace, OnExisting::Succeed] {
            let refusal = backend.try_add("team", std::slice::from_ref(&package), existing).await;
            assert!(matches!(refusal, Err(RepoError::Storage(_))), "{object:?}: {refusal:?}");
        }
        std::fs::remove_file(dir).expect("removed");
        let second_add = backend.try_add("team", std::slice::from_ref(&package), OnExisting::Replace).await;
        assert_eq!(second_add.expect("added"), [AddStatus::Existing]);
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
    let (backend, object) = backend_with_package().await;
    let bytes = std::fs::read(&object).expect("a backup");
    flip(&object);
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let refusal = open(&backend).await.err();
    assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{refusal:?}");
    // A copy that is damaged as well is moved to the directory `damaged` again.
    std::fs::write(&object, &bytes).expect("copied");
    flip(&object);
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(open(&backend).await.is_err() && !object.exists());
    std::fs::write(&object, &bytes).expect("copied");
    let backend = backend.restart().await;
    assert!(open(&backend).await.is_ok());
    upkeep::ownership::claim(&backend.upkeep).await;
    assert_eq!(backend.state.storage.condition().warnings(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scrub_finds_damage_of_verified_objects() {
    let (backend, object) = backend_with_package().await;
    assert!(open(&backend).await.is_ok());
    let result = scrub::run(&backend, ScrubOptions::full()).await;
    assert_eq!((result.objects, result.bad), (1, 0));
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(open(&backend).await.is_ok(), "verified");
    // Small objects are in memory; the scrub reads the disk.
    flip(&object);
    let result = scrub::run(&backend, ScrubOptions::full()).await;
    let finding = [(Fault::Damaged, RepairOutcome::Lost, "alpha".to_owned())];
    assert_eq!((result.objects, scrub::findings(&result)), (1, finding.to_vec()));
    let refusal = open(&backend).await.err();
    assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{refusal:?}");
    assert!(!object.exists());
    // It is reported until it is stored again.
    let second_result = scrub::run(&backend, ScrubOptions::full()).await;
    assert_eq!(scrub::findings(&second_result), finding);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_of_a_closed_day_is_rendered_again() {
    let (backend, _) = backend_with_package().await;
    backend.advance_to_noon("2024-03-02");
    let documents = [RDocument::Packages(IndexFormat::Gz), RDocument::Packages(IndexFormat::Rds)];
    let mut expected = Vec::new();
    for document in documents.clone() {
        expected.push(index(&backend, "all", "2024-03-01", document).await.bytes);
    }
    let index_objects = objects(&backend.folder().join("data/persistent"));
    assert_eq!(index_objects.len(), 2);
    let empty = |object: &PathBuf| std::fs::write(object, b"").expect("written");
    let mut backend = backend;
    for damage in [flip as fn(&PathBuf), empty] {
        index_objects.iter().for_each(damage);
        backend = backend.restart().await;
        upkeep::ownership::claim(&backend.upkeep).await;
        for (document, expected) in documents.clone().into_iter().zip(&expected) {
            assert!(index(&backend, "all", "2024-03-01", document).await.bytes == *expected);
        }
        assert_eq!(objects(&backend.folder().join("data/persistent")), index_objects);
        assert_eq!(backend.state.storage.condition().warnings(), []);
    }
}

/// Restarts a backend, so that nothing is in memory.
async fn restarted(backend: Backend) -> Backend {
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_answer_of_a_bucket_moves_nothing_and_an_undamaged_object_comes_back() {
    if s3::rerun_with_credentials() {
        return;
    }
    let (backend, proxy) = backend_of_bucket().await;
    let is_read =
        |head: &str| head.starts_with("GET") && head.contains("/packages/") && !head.contains("list-type");
    let mut backend = backend;
    for size in [0, 1, 100] {
        // One answer: the second read is right.
        backend = restarted(backend).await;
        proxy.next(1, BucketFault::Truncate(size), is_read);
        assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some(), "{size}");
        assert_eq!(damaged_count(&backend).await, 0, "{size}");
        // All answers: the size of the object contradicts them.
        backend = restarted(backend).await;
        proxy.next(usize::MAX, BucketFault::Truncate(size), is_read);
        let refusal = open(&backend).await.err();
        assert!(
            matches!(refusal, Some(RepoError::Storage(StorageError::UnstableRead(_)))),
            "{size}: {refusal:?}"
        );
        let result = scrub::run(&backend, ScrubOptions { repair: true, ..ScrubOptions::full() }).await;
        let finding = [(Fault::Unreadable, RepairOutcome::Obtainable, "alpha".to_owned())];
        assert_eq!(scrub::findings(&result), finding, "{size}");
        assert_eq!(damaged_count(&backend).await, 0, "{size}");
        proxy.clear_faults();
        assert!(open(&backend).await.is_ok(), "{size}");
    }
    // An object that lies in `damaged` with the right bytes.
    let [object] = backend
        .state
        .storage
        .list(StorageClass::Packages, None, 10)
        .await
        .expect("a listing")
        .try_into()
        .expect("one object");
    assert!(backend.state.storage.move_to_damaged(&object.key).await.expect("moved"));
    let backend = restarted(backend).await;
    assert!(matches!(open(&backend).await.err(), Some(RepoError::Damaged { .. })));
    let result = scrub::run(&backend, ScrubOptions::full()).await;
    let finding = [(Fault::Missing, RepairOutcome::Repaired, "alpha".to_owned())];
    assert_eq!(scrub::findings(&result), finding);
    assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some());
    assert_eq!(damaged_count(&backend).await, 0);
    assert_eq!(backend.state.storage.condition().warnings(), []);
}

/// A backend whose objects are in a bucket behind a proxy.
async fn backend_of_bucket() -> (Backend, FaultyProxy) {
    let server = tokio::task::spawn_blocking(s3::server).await.expect("no panic");
    let proxy = FaultyProxy::start(server).await;
    let address = proxy.address;
    let lines = tokio::task::spawn_blocking(move || s3::lines(&s3::bucket(address))).await.expect("no panic");
    let backend =
        Backend::with_stores(StoresConfig { gcfg: format!("[Storage]\nDefault = s3\n{lines}") }).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    (backend, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_a_bucket_sent_wrong_for_a_while_is_served_after_a_scrub_that_reads_it_well() {
    if s3::rerun_with_credentials() {
        return;
    }
    let (backend, proxy) = backend_of_bucket().await;
    let backend = backend.restart().await;
    // The owner markers are wrong, too: nothing is moved.
    proxy.next(usize::MAX, BucketFault::Flip, |head| head.starts_with("GET") && !head.contains("list-type"));
    upkeep::ownership::claim(&backend.upkeep).await;
    let ownership = || backend.state.storage.condition().ownership(StorageClass::Packages);
    assert_eq!(ownership(), Ownership::Unreadable);
    for _ in 0..2 {
        let refusal = open(&backend).await.err();
        assert!(matches!(refusal, Some(RepoError::Damaged { .. })), "{refusal:?}");
    }
    proxy.clear_faults();
    upkeep::ownership::claim(&backend.upkeep).await;
    assert_eq!((ownership(), damaged_count(&backend).await), (Ownership::Own, 0));
    let result = scrub::run(&backend, ScrubOptions::full()).await;
    assert_eq!((result.objects, result.bad, result.repaired), (1, 0, 0), "{result:?}");
    assert!(open(&backend).await.is_ok() && check(&backend).await.is_ok());
    assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_of_a_bucket_do_not_stay_in_memory() {
    if s3::rerun_with_credentials() {
        return;
    }
    let (backend, proxy) = backend_of_bucket().await;
    let backend = restarted(backend).await;
    let listed = backend.state.storage.list(StorageClass::Packages, None, 10).await.expect("a listing");
    let key = listed[0].key;
    proxy.next(1, BucketFault::Flip, |head| head.starts_with("GET") && head.contains("/packages/"));
    let wrong = backend.state.storage.read(&key).await.expect("bytes");
    let right = backend.state.storage.read(&key).await.expect("bytes");
    let is_right = |bytes: &[u8]| Sha256::digest(bytes).as_slice() == key.digest().0;
    assert_eq!((is_right(&wrong), is_right(&right)), (false, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_moves_back_what_lies_undamaged_in_the_directory_of_damaged_objects() {
    let (backend, _) = backend_with_package().await;
    let listed = backend.state.storage.list(StorageClass::Packages, None, 10).await.expect("a listing");
    assert!(backend.state.storage.move_to_damaged(&listed[0].key).await.expect("moved"));
    upkeep::sweep::sweep(&backend.upkeep, &super::ownership::sweep_now()).await.expect("a sweep");
    assert!(package_bytes(&backend, "latest", "alpha", "1.0").await.is_some());
    assert_eq!(damaged_count(&backend).await, 0);
}
