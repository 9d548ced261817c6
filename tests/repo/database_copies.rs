//! A copy of the database that uses the same storage is detected; restored and moved directories are no such copies.

use std::path::Path;
use std::time::Duration;

use rstudio_pm::db::{DbError, storage_class};
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::serve::RepoError;
use rstudio_pm::storage::{Key, Marker, MarkerContent, Ownership, StorageError};
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::sweep::{SweepOptions, SweepResult};

use super::all_stores::{ObjectStore, package_bytes, stores};
use super::ownership::{assert_all_served, count, sweep_now, with_packages};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::db::Engine;
use crate::support::s3;
use crate::support::storage::bytes;
use crate::support::tarball::Tarball;

const CLASS: StorageClass = StorageClass::Packages;

fn ownership(backend: &Backend) -> Ownership {
    backend.state.storage.condition().ownership(CLASS)
}

/// Returns whether this database owns all classes.
fn owns_all_classes(backend: &Backend) -> bool {
    let condition = backend.state.storage.condition();
    StorageClass::ALL.into_iter().all(|class| condition.ownership(class) == Ownership::Own)
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp").success());
}

/// Returns the configuration of the storage of `backend` with the copy of its database.
fn config_of_copy(backend: &Backend) -> StoresConfig {
    let (gcfg, folder) = (&backend.stores().gcfg, backend.folder().display());
    StoresConfig { gcfg: format!("[SQLite]\nDir = {folder}/copy\n{gcfg}") }
}

async fn add(backend: &Backend, versions: std::ops::Range<u32>) {
    for number in versions {
        backend.add("team", "alpha", &format!("2.{number}")).await;
    }
}

/// Returns whether an upload is refused because the server may not write to the class.
async fn is_upload_refused(backend: &Backend) -> bool {
    let result = backend.upload(&Tarball::new("gamma", "1.0")).await;
    let is_refused = matches!(&result, Err(RepoError::Storage(StorageError::Refused { .. })));
    if let Err(error) = result {
        assert!(error.to_string().contains("rspm storage adopt --class=packages"), "{error}");
    }
    is_refused
}

async fn a_copy_of_the_database_in_use_is_detected_and_nothing_is_removed(store: ObjectStore) {
    let backend = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let backend = backend.restart_after(|folder| copy(&folder.join("data/db"), &folder.join("copy"))).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    add(&backend, 0..9).await;
    let object_count = count(&backend).await;

    // The first server was started after the copy: the copy does not contain what that start wrote.
    let other = backend.open_second_with_stores(config_of_copy(&backend)).await;
    assert_eq!(
        upkeep::sweep::sweep(&other.upkeep, &sweep_now()).await.expect("a sweep"),
        SweepResult::default()
    );
    assert_eq!(ownership(&other), Ownership::Contested);
    let options = SweepOptions { confirmed: vec![CLASS], ..sweep_now() };
    assert_eq!(upkeep::sweep::sweep(&other.upkeep, &options).await.expect("a sweep"), SweepResult::default());
    assert_eq!(count(&backend).await, object_count);
    let warnings = other.state.storage.condition().warnings();
    assert!(
        warnings.iter().any(|w| w.kind == "storage-owner" && w.command == "rspm storage adopt"),
        "{warnings:?}"
    );
    // The first server detects the copy, continues to serve and to store, and removes nothing either.
    upkeep::ownership::claim(&backend.upkeep).await;
    assert_eq!(ownership(&backend), Ownership::Contested);
    let (content, digest) = bytes(50, 1);
    let unknown_key = Key::Package(CLASS, digest);
    backend.state.storage.put(&unknown_key, content.into()).await.expect("stored");
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep"),
        SweepResult::default()
    );
    add(&backend, 9..10).await;
    assert_eq!(count(&backend).await, object_count + 2);

    // After the first server adopts the class, the copy detects that it does not own the class.
    assert_eq!(
        upkeep::ownership::adopt(&backend.upkeep, &StorageClass::ALL).await.expect("adopted").len(),
        9
    );
    assert_eq!(upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep").objects, 1);
    assert_eq!(backend.state.storage.condition().warnings(), []);
    assert_eq!(upkeep::sweep::sweep(&other.upkeep, &options).await.expect("a sweep"), SweepResult::default());
    assert!(matches!(ownership(&other), Ownership::Foreign(_)), "{:?}", ownership(&other));
    assert!(is_upload_refused(&other).await);
    assert!(package_bytes(&other, "latest", "alpha", "1.0").await.is_some(), "reads continue");
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(owns_all_classes(&backend));
    assert_all_served(&backend).await;
}

async fn a_copy_that_was_used_first_is_detected_too(store: ObjectStore) {
    let backend = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let backend = backend.restart_after(|folder| copy(&folder.join("data/db"), &folder.join("copy"))).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let other = backend.open_second_with_stores(config_of_copy(&backend)).await;
    upkeep::sweep::sweep(&other.upkeep, &SweepOptions { only_refillable: true, ..sweep_now() })
        .await
        .expect("a start");
    upkeep::ownership::claim(&backend.upkeep).await;
    assert_eq!(ownership(&backend), Ownership::Contested);
    upkeep::ownership::claim(&other.upkeep).await;
    assert_eq!(ownership(&other), Ownership::Contested);
    // Either database may become the owner.
    upkeep::ownership::adopt(&other.upkeep, &StorageClass::ALL).await.expect("adopted");
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(matches!(ownership(&backend), Ownership::Foreign(_)) && is_upload_refused(&backend).await);
    upkeep::ownership::claim(&other.upkeep).await;
    assert!(owns_all_classes(&other));
}

async fn a_missing_class_is_not_considered_new(store: ObjectStore) {
    let backend = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let (original_config, packages) = (backend.stores().clone(), backend.folder().join("data/packages"));
    let move_folder = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            if store == ObjectStore::Disk {
                std::fs::create_dir_all(folder.join("away")).expect("a folder");
                std::fs::rename(folder.join(from), folder.join(to)).expect("moved");
            }
        }
    };
    let mut backend = backend.restart_after(move_folder("data/packages", "away/packages")).await;
    if store == ObjectStore::S3 {
        let gcfg = original_config.gcfg.replace("Prefix = ", "Prefix = elsewhere/");
        assert_ne!(gcfg, original_config.gcfg);
        backend = backend.restart_with_stores(StoresConfig { gcfg }).await;
    }
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    assert!(ownership(&backend).is_missing());
    assert_eq!(backend.state.storage.marker(CLASS).await.expect("an answer"), Marker::None);
    assert!(is_upload_refused(&backend).await);
    let warnings = backend.state.storage.condition().warnings();
    assert!(warnings.iter().any(|w| w.name.contains("packages") && w.message.contains("mounted")));

    // When the class is back, everything is as before.
    if store == ObjectStore::Disk {
        std::fs::remove_dir_all(&packages).expect("the mount point is empty");
    }
    let backend = backend
        .restart_after(move_folder("away/packages", "data/packages"))
        .await
        .restart_with_stores(original_config)
        .await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(owns_all_classes(&backend));
    assert_all_served(&backend).await;
    add(&backend, 0..1).await;
    assert_eq!(backend.state.storage.condition().warnings(), []);
}

macro_rules! on_disk_and_s3 {
    ($($scenario:ident)*) => {
        $(
            mod $scenario {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_disk() {
                    super::$scenario(ObjectStore::Disk).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_s3() {
                    if !s3::rerun_with_credentials() {
                        super::$scenario(ObjectStore::S3).await;
                    }
                }
            }
        )*
    };
}

on_disk_and_s3! {
    a_copy_of_the_database_in_use_is_detected_and_nothing_is_removed
    a_copy_that_was_used_first_is_detected_too
    a_missing_class_is_not_considered_new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_class_is_adopted_and_its_lost_objects_are_reported() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let backend = backend
        .restart_after(|folder| std::fs::remove_dir_all(folder.join("data/packages")).expect("removed"))
        .await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(ownership(&backend).is_missing());
    upkeep::ownership::adopt(&backend.upkeep, &[CLASS]).await.expect("adopted");
    backend.advance_to_noon("2024-03-02");
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let warnings = backend.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-lost"]);
    assert!(!is_upload_refused(&backend).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_location_for_a_class_without_rows_is_considered_new() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let gcfg = format!(
        "{}[FileStorage \"cran\"]\nLocation = {}/elsewhere\n",
        backend.stores().gcfg,
        backend.folder().display()
    );
    let backend = backend.restart_with_stores(StoresConfig { gcfg }).await;
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(backend.folder().join("elsewhere/owner/cran").exists());
    assert!(owns_all_classes(&backend));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_everything_on_another_machine_and_the_original_need_no_adoption() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let other_machine = Backend::new().await;
    let (from, backend) = (backend.folder().join("data"), backend.restart_after(|_| {}));
    let backend = backend.await;
    let copy_backend = other_machine
        .restart_after(|folder| {
            std::fs::remove_dir_all(folder.join("data")).expect("removed");
            copy(&from, &folder.join("data"));
        })
        .await;
    for _ in 0..2 {
        for backend_of_pair in [&backend, &copy_backend] {
            upkeep::sweep::sweep(&backend_of_pair.upkeep, &sweep_now()).await.expect("a sweep");
            assert!(owns_all_classes(backend_of_pair));
            assert_eq!(backend_of_pair.state.storage.condition().warnings(), []);
        }
    }
    assert_all_served(&copy_backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_restored_together_and_older_storage_alone_need_no_adoption() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    let backend = backend.restart_after(|folder| copy(&folder.join("data"), &folder.join("backup"))).await;
    for number in 0..3 {
        upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
        add(&backend, number..number + 1).await;
    }
    // The storage of the backup with the newer database: its marker is one of the earlier ones.
    let backend = backend
        .restart_after(|folder| {
            std::fs::rename(folder.join("data/packages"), folder.join("newer")).expect("moved");
            copy(&folder.join("backup/packages"), &folder.join("data/packages"));
        })
        .await;
    backend.advance_to_noon("2024-03-02");
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    assert!(owns_all_classes(&backend));
    let warnings = backend.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-lost"], "three packages");
    assert!(warnings[0].message.contains(": 3;"), "{warnings:?}");
    // The whole backup.
    let backend = backend
        .restart_after(|folder| {
            std::fs::remove_dir_all(folder.join("data")).expect("removed");
            copy(&folder.join("backup"), &folder.join("data"));
        })
        .await;
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    assert!(owns_all_classes(&backend));
    assert_eq!(backend.state.storage.condition().warnings(), []);
    // Only the database of the backup: it has no rows for packages that were added later.
    let backend = backend
        .restart_after(|folder| {
            std::fs::remove_dir_all(folder.join("data/packages")).expect("removed");
            std::fs::rename(folder.join("newer"), folder.join("data/packages")).expect("moved");
        })
        .await;
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep"),
        SweepResult::default()
    );
    assert_eq!(ownership(&backend), Ownership::Contested);
    assert!(!is_upload_refused(&backend).await);
    upkeep::ownership::adopt(&backend.upkeep, &StorageClass::ALL).await.expect("adopted");
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions { age: Duration::ZERO, ..sweep_now() })
            .await
            .expect("a sweep")
            .objects,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_renewal_and_a_marker_of_an_older_version_are_completed() {
    let backend = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    // The row was written, the marker not.
    let renewal = backend.state.db.write(|c| {
        let current = storage_class::get(c, "packages")?.expect("claimed");
        storage_class::renew(c, &current, Identity([7; 16]))
    });
    assert!(renewal.await.expect("written"));
    upkeep::ownership::claim(&backend.upkeep).await;
    assert!(owns_all_classes(&backend));
    let marker = backend.state.storage.marker(CLASS).await.expect("a marker");
    assert!(
        matches!(marker, Marker::Readable(MarkerContent { generation: Some(Identity([7, ..])), .. })),
        "{marker:?}"
    );
    // A marker of a version without generations.
    let Marker::Readable(content) = marker else { panic!("{marker:?}") };
    let deletion = backend.state.db.write(|c| c.execute("DELETE FROM storage_class", &[]));
    deletion.await.expect("deleted");
    for class in StorageClass::ALL {
        let old_content = MarkerContent { generation: None, ..content };
        backend.state.storage.write_marker(class, &old_content, true).await.expect("written");
    }
    upkeep::sweep::sweep(&backend.upkeep, &sweep_now()).await.expect("a sweep");
    assert!(owns_all_classes(&backend));
    let marker = backend.state.storage.marker(CLASS).await.expect("a marker");
    assert!(matches!(marker, Marker::Readable(MarkerContent { generation: Some(_), .. })), "{marker:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_of_one_database_that_start_and_clean_up_concurrently_agree() {
    let backend = Backend::with_stores(stores(Engine::Postgres, ObjectStore::Disk).await).await;
    let other = backend.open_second().await;
    for _ in 0..10 {
        let options = sweep_now();
        let (first_result, second_result) = tokio::join!(
            upkeep::sweep::sweep(&backend.upkeep, &options),
            upkeep::sweep::sweep(&other.upkeep, &options)
        );
        for result in [first_result, second_result] {
            // The servers have the same name, so each may take the lease of the other.
            let is_lease_lost = matches!(&result, Err(RepoError::Db(DbError::Refused(_))));
            assert!(is_lease_lost || matches!(result, Ok(_) | Err(RepoError::Conflict(_))), "{result:?}");
        }
        tokio::join!(upkeep::ownership::claim(&backend.upkeep), upkeep::ownership::claim(&other.upkeep));
        assert!(
            owns_all_classes(&backend) && owns_all_classes(&other),
            "{:?}",
            other.state.storage.condition()
        );
    }
}
