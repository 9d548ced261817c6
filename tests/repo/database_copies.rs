//! A copy of the database that uses the same storage is detected; restored and moved directories are no such copies.

use std::path::Path;
use std::time::Duration;

use rstudio_pm::config::StorageClass;
use rstudio_pm::db::{DbError, storage_class};
use rstudio_pm::model::identity::Identity;
use rstudio_pm::serve::RepoError;
use rstudio_pm::storage::{Key, Marker, MarkerContent, Ownership, StorageError};
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::sweep::{SweepOptions, SweepResult};

use super::all_stores::{ObjectStore, fetched, stores};
use super::ownership::{count, serves_everything, sweep_now, with_packages};
use crate::support::backend::{Stores, World};
use crate::support::db::Engine;
use crate::support::s3;
use crate::support::storage::bytes;
use crate::support::tarball::Tarball;

const CLASS: StorageClass = StorageClass::Packages;

fn ownership(world: &World) -> Ownership {
    world.state.storage.condition().ownership(CLASS)
}

/// Whether this database owns all classes.
fn all_own(world: &World) -> bool {
    let condition = world.state.storage.condition();
    StorageClass::ALL.into_iter().all(|class| condition.ownership(class) == Ownership::Own)
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp").success());
}

/// The storage of `world` with the copy of its database.
fn with_database_copy(world: &World) -> Stores {
    let (gcfg, folder) = (&world.stores().gcfg, world.folder().display());
    Stores { gcfg: format!("[SQLite]\nDir = {folder}/copy\n{gcfg}") }
}

async fn add(world: &World, versions: std::ops::Range<u32>) {
    for number in versions {
        world.add("team", "alpha", &format!("2.{number}")).await;
    }
}

async fn refused(world: &World) -> bool {
    let added = world.upload(&Tarball::new("gamma", "1.0")).await;
    let is_refused = matches!(&added, Err(RepoError::Storage(StorageError::Refused { .. })));
    if let Err(error) = added {
        assert!(error.to_string().contains("rspm storage adopt --class=packages"), "{error}");
    }
    is_refused
}

async fn a_copy_of_the_database_in_use_is_detected_and_nothing_is_removed(store: ObjectStore) {
    let world = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let world = world.restarted_after(|folder| copy(&folder.join("data/db"), &folder.join("copy"))).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    add(&world, 0..9).await;
    let stored = count(&world).await;

    // The first server was started after the copy: the copy does not contain what that start wrote.
    let other = world.beside_on(with_database_copy(&world)).await;
    assert_eq!(
        upkeep::sweep::sweep(&other.upkeep, &sweep_now()).await.expect("a clean-up"),
        SweepResult::default()
    );
    assert_eq!(ownership(&other), Ownership::Contested);
    let confirmed = SweepOptions { confirmed: vec![CLASS], ..sweep_now() };
    assert_eq!(
        upkeep::sweep::sweep(&other.upkeep, &confirmed).await.expect("a clean-up"),
        SweepResult::default()
    );
    assert_eq!(count(&world).await, stored);
    let warnings = other.state.storage.condition().warnings();
    assert!(
        warnings.iter().any(|w| w.kind == "storage-owner" && w.message.contains("rspm storage adopt")),
        "{warnings:?}"
    );
    // The first one detects it, continues, and removes nothing upkeep::ownership::claim(&either.world.upkeep).await;
    assert_eq!(ownership(&world), Ownership::Contested);
    let (content, digest) = bytes(50, 1);
    let unknown = Key::Package(CLASS, digest);
    world.state.storage.put(&unknown, content.into()).await.expect("stored");
    assert_eq!(
        upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up"),
        SweepResult::default()
    );
    add(&world, 9..10).await;
    assert_eq!(count(&world).await, stored + 2);

    // After the first one adopts the class, the copy detects that it does not own the class.
    assert_eq!(upkeep::ownership::adopt(&world.upkeep, &StorageClass::ALL).await.expect("adopted").len(), 9);
    assert_eq!(upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up").objects, 1);
    assert_eq!(world.state.storage.condition().warnings(), []);
    assert_eq!(
        upkeep::sweep::sweep(&other.upkeep, &confirmed).await.expect("a clean-up"),
        SweepResult::default()
    );
    assert!(matches!(ownership(&other), Ownership::Foreign(_)), "{:?}", ownership(&other));
    assert!(refused(&other).await);
    assert!(fetched(&other, "latest", "alpha", "1.0").await.is_some(), "reads continue");
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(all_own(&world));
    serves_everything(&world).await;
}

async fn a_copy_that_was_used_first_is_detected_too(store: ObjectStore) {
    let world = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let world = world.restarted_after(|folder| copy(&folder.join("data/db"), &folder.join("copy"))).await;
    upkeep::ownership::claim(&world.upkeep).await;
    let other = world.beside_on(with_database_copy(&world)).await;
    upkeep::sweep::sweep(&other.upkeep, &SweepOptions { only_refillable: true, ..sweep_now() })
        .await
        .expect("a start");
    upkeep::ownership::claim(&world.upkeep).await;
    assert_eq!(ownership(&world), Ownership::Contested);
    upkeep::ownership::claim(&other.upkeep).await;
    assert_eq!(ownership(&other), Ownership::Contested);
    // Either of them may be upkeep::ownership::adopt(&kept.other.upkeep, &StorageClass::ALL).await.expect("adopted");
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(matches!(ownership(&world), Ownership::Foreign(_)) && refused(&world).await);
    upkeep::ownership::claim(&other.upkeep).await;
    assert!(all_own(&other));
}

async fn a_missing_class_is_not_considered_new(store: ObjectStore) {
    let world = with_packages(Engine::Sqlite, store).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let (original, packages) = (world.stores().clone(), world.folder().join("data/packages"));
    let away = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            if store == ObjectStore::Disk {
                std::fs::create_dir_all(folder.join("away")).expect("a folder");
                std::fs::rename(folder.join(from), folder.join(to)).expect("moved");
            }
        }
    };
    let mut world = world.restarted_after(away("data/packages", "away/packages")).await;
    if store == ObjectStore::S3 {
        let gcfg = original.gcfg.replace("Prefix = ", "Prefix = elsewhere/");
        assert_ne!(gcfg, original.gcfg);
        world = world.restarted_on(Stores { gcfg }).await;
    }
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    assert_eq!(ownership(&world), Ownership::Missing);
    assert_eq!(world.state.storage.marker(CLASS).await.expect("an answer"), Marker::None);
    assert!(refused(&world).await);
    let warnings = world.state.storage.condition().warnings();
    assert!(warnings.iter().any(|w| w.name.contains("packages") && w.message.contains("mounted")));

    // When the class is back, everything is as before.
    if store == ObjectStore::Disk {
        std::fs::remove_dir_all(&packages).expect("the mount point is empty");
    }
    let world =
        world.restarted_after(away("away/packages", "data/packages")).await.restarted_on(original).await;
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(all_own(&world));
    serves_everything(&world).await;
    add(&world, 0..1).await;
    assert_eq!(world.state.storage.condition().warnings(), []);
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
                    if !s3::elsewhere() {
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
    let world = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let world = world
        .restarted_after(|folder| std::fs::remove_dir_all(folder.join("data/packages")).expect("removed"))
        .await;
    upkeep::ownership::claim(&world.upkeep).await;
    assert_eq!(ownership(&world), Ownership::Missing);
    upkeep::ownership::adopt(&world.upkeep, &[CLASS]).await.expect("adopted");
    world.noon("2024-03-02");
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let warnings = world.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-lost"]);
    assert!(!refused(&world).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_location_for_a_class_without_rows_is_considered_new() {
    let world = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let gcfg = format!(
        "{}[FileStorage \"cran\"]\nLocation = {}/elsewhere\n",
        world.stores().gcfg,
        world.folder().display()
    );
    let world = world.restarted_on(Stores { gcfg }).await;
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(world.folder().join("elsewhere/owner/cran").exists());
    assert!(all_own(&world));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_everything_on_another_machine_and_the_original_need_no_adoption() {
    let world = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let elsewhere = World::new().await;
    let (from, world) = (world.folder().join("data"), world.restarted_after(|_| {}));
    let world = world.await;
    let copied = elsewhere
        .restarted_after(|folder| {
            std::fs::remove_dir_all(folder.join("data")).expect("removed");
            copy(&from, &folder.join("data"));
        })
        .await;
    for _ in 0..2 {
        for either in [&world, &copied] {
            upkeep::sweep::sweep(&either.upkeep, &sweep_now()).await.expect("a clean-up");
            assert!(all_own(either));
            assert_eq!(either.state.storage.condition().warnings(), []);
        }
    }
    serves_everything(&copied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_restored_together_and_older_storage_alone_need_no_adoption() {
    let world = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    let world = world.restarted_after(|folder| copy(&folder.join("data"), &folder.join("backup"))).await;
    for number in 0..3 {
        upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
        add(&world, number..number + 1).await;
    }
    // The storage of the backup with the newer database: its marker is one of the earlier ones.
    let world = world
        .restarted_after(|folder| {
            std::fs::rename(folder.join("data/packages"), folder.join("newer")).expect("moved");
            copy(&folder.join("backup/packages"), &folder.join("data/packages"));
        })
        .await;
    world.noon("2024-03-02");
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    assert!(all_own(&world));
    let warnings = world.state.storage.condition().warnings();
    assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), ["storage-lost"], "three packages");
    assert!(warnings[0].message.contains(": 3;"), "{warnings:?}");
    // The whole backup.
    let world = world
        .restarted_after(|folder| {
            std::fs::remove_dir_all(folder.join("data")).expect("removed");
            copy(&folder.join("backup"), &folder.join("data"));
        })
        .await;
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    assert!(all_own(&world));
    assert_eq!(world.state.storage.condition().warnings(), []);
    // Only the database of the backup: it has no rows for packages that were added later.
    let world = world
        .restarted_after(|folder| {
            std::fs::remove_dir_all(folder.join("data/packages")).expect("removed");
            std::fs::rename(folder.join("newer"), folder.join("data/packages")).expect("moved");
        })
        .await;
    assert_eq!(
        upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up"),
        SweepResult::default()
    );
    assert_eq!(ownership(&world), Ownership::Contested);
    assert!(!refused(&world).await);
    upkeep::ownership::adopt(&world.upkeep, &StorageClass::ALL).await.expect("adopted");
    assert_eq!(
        upkeep::sweep::sweep(&world.upkeep, &SweepOptions { age: Duration::ZERO, ..sweep_now() })
            .await
            .expect("a clean-up")
            .objects,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_renewal_and_a_marker_of_an_older_version_are_completed() {
    let world = with_packages(Engine::Sqlite, ObjectStore::Disk).await;
    // The row was written, the marker not.
    let renewal = world.state.db.write(|c| {
        let current = storage_class::get(c, "packages")?.expect("claimed");
        storage_class::renew(c, &current, Identity([7; 16]))
    });
    assert!(renewal.await.expect("written"));
    upkeep::ownership::claim(&world.upkeep).await;
    assert!(all_own(&world));
    let marker = world.state.storage.marker(CLASS).await.expect("a marker");
    assert!(
        matches!(marker, Marker::Of(MarkerContent { generation: Some(Identity([7, ..])), .. })),
        "{marker:?}"
    );
    // A marker of a version without generations.
    let Marker::Of(content) = marker else { panic!("{marker:?}") };
    let deletion = world.state.db.write(|c| c.execute("DELETE FROM storage_class", &[]));
    deletion.await.expect("deleted");
    for class in StorageClass::ALL {
        let old = MarkerContent { generation: None, ..content };
        world.state.storage.write_marker(class, &old, true).await.expect("written");
    }
    upkeep::sweep::sweep(&world.upkeep, &sweep_now()).await.expect("a clean-up");
    assert!(all_own(&world));
    let marker = world.state.storage.marker(CLASS).await.expect("a marker");
    assert!(matches!(marker, Marker::Of(MarkerContent { generation: Some(_), .. })), "{marker:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_of_one_database_that_start_and_clean_up_concurrently_agree() {
    let world = World::on(stores(Engine::Postgres, ObjectStore::Disk).await).await;
    let other = world.beside().await;
    for _ in 0..10 {
        let options = sweep_now();
        let (one, two) = tokio::join!(
            upkeep::sweep::sweep(&world.upkeep, &options),
            upkeep::sweep::sweep(&other.upkeep, &options)
        );
        for result in [one, two] {
            // They have the same name, so each may take the lease of the other.
            let lost = matches!(&result, Err(RepoError::Db(DbError::Refused(_))));
            assert!(lost || matches!(result, Ok(_) | Err(RepoError::Conflict(_))), "{result:?}");
        }
        tokio::join!(upkeep::ownership::claim(&world.upkeep), upkeep::ownership::claim(&other.upkeep));
        assert!(all_own(&world) && all_own(&other), "{:?}", other.state.storage.condition());
    }
}
