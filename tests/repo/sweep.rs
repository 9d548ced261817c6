//! The sweep: objects without references are removed, others stay.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rstudio_pm::edit::{self, OnExisting, RemoveScope};
use rstudio_pm::index::PageReads;
use rstudio_pm::sync::Sync;
use rstudio_pm::upkeep;
use rstudio_pm::upkeep::sweep::SweepOptions;

use super::listing;
use crate::support::advisories;
use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::rules;
use crate::support::tarball::Tarball;

/// Returns all objects in use below a directory, in order.
pub(super) fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_excluded = name.starts_with('.') || ["owner", "trash", "damaged"].contains(&name.as_str());
        match path.is_dir() {
            true if !is_excluded => files.extend(objects(&path)),
            false if !is_excluded => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

pub(super) fn make_old(files: &[PathBuf]) {
    let time = SystemTime::now() - Duration::from_secs(3 * 3600);
    for file in files {
        std::fs::File::options().write(true).open(file).expect("a file").set_modified(time).expect("a time");
    }
}

/// Checks that the sweep removes the older of two documents; returns the backend after a restart.
async fn check_sweep_of_documents(backend: Backend) -> Backend {
    let persistent = backend.folder().join("data/persistent");
    let all = objects(&persistent);
    assert_eq!(all.len(), 2);
    make_old(&all);
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep").objects,
        1
    );
    assert_eq!(objects(&persistent).len(), 1);
    backend.restart().await
}

/// Waits for `count` objects: an upload is answered before it is in storage.
async fn wait_for_objects(packages: &Path, count: usize) -> Vec<PathBuf> {
    for _ in 0..9000 {
        let objects_now = objects(packages);
        if objects_now.len() == count {
            return objects_now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {count} objects", objects(packages));
}

#[tokio::test]
async fn only_old_bytes_that_nothing_refers_to_are_removed() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    let packages = backend.folder().join("data/packages");
    let readme = Tarball::new("alpha", "1.0").with("README.md", "# alpha\n");
    backend.try_add("team", &[readme], OnExisting::Fail).await.expect("added");
    let required_objects = objects(&packages);
    assert_eq!(required_objects.len(), 2, "the archive and its README");
    backend.upload(&Tarball::new("beta", "1.0")).await.expect("an upload");
    let all = wait_for_objects(&packages, 3).await;
    make_old(&all);

    upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
    assert_eq!(objects(&packages), all, "an upload that waits to be added stays");

    let backend = backend.restart().await;
    let tarball = Tarball::new("gamma", "1.0").with("README.md", "# gamma\n");
    backend.upload(&tarball).await.expect("an upload");
    wait_for_objects(&packages, 5).await;
    let backend = backend.restart().await;
    let result = upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep");
    assert_eq!(result.objects, 1, "unknown after the restart, and old");
    assert_eq!(objects(&packages).len(), 4, "unknown after the restart, but new");
    assert!(required_objects.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn the_object_of_a_removed_package_stays_for_older_snapshots() {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    backend.add("team", "alpha", "1.0").await;
    backend.advance_to_noon("2024-03-02");
    assert_eq!(listing(&backend, "all", "2024-03-01").await, "alpha 1.0");
    edit::remove::remove(&backend.state, "team", "alpha", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    let objects_in_use = [
        objects(&backend.folder().join("data/packages")),
        objects(&backend.folder().join("data/persistent")),
    ];
    assert!(objects_in_use.iter().all(|files| !files.is_empty()));
    make_old(&objects_in_use.concat());
    assert_eq!(
        upkeep::sweep::sweep(&backend.upkeep, &SweepOptions::default()).await.expect("a sweep").objects,
        0
    );
    assert!(objects_in_use.concat().iter().all(|path| path.exists()));
}

#[tokio::test]
async fn replaced_rules_are_removed_and_those_in_force_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let gcfg = format!("[SystemRequirements]\nURL = file://{}", folder.path().display());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    for names in [&["zlib"][..], &["zlib", "gmp"][..]] {
        rules::folder(folder.path(), names);
        let result = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone())
            .start_requirements("test")
            .job()
            .wait_end()
            .await;
        assert!(result.expect("rules").contains("in use now"));
    }
    let backend = check_sweep_of_documents(backend).await;
    Sync::new(PageReads::new(backend.state.clone()), backend.state.clone()).load_rules().await;
    assert_eq!(backend.state.sysreqs.get().as_ref().map(|rules| rules.len()), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_advisories_are_removed_and_those_in_force_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let gcfg = format!("[Vulnerabilities]\nURL = file://{}", folder.path().display());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    for id in ["RSEC-1", "RSEC-2"] {
        advisories::folder(folder.path(), &[advisories::record(id, "CRAN", "a", "1.0")]);
        let result = Sync::new(PageReads::new(backend.state.clone()), backend.state.clone())
            .start_advisories("test")
            .job()
            .wait_end()
            .await;
        assert!(result.expect("advisories").contains("in use now"));
    }
    let backend = check_sweep_of_documents(backend).await;
    Sync::new(PageReads::new(backend.state.clone()), backend.state.clone()).load_advisories().await;
    assert_eq!(backend.state.advisories.get().as_ref().map(|index| index.len()), Some(2));
}

#[tokio::test]
async fn the_allowance_of_a_day_is_recorded_before_the_first_object_is_removed() {
    let backend = Backend::new().await;
    // Creates the rows of the classes, in which the removals of a day are recorded.
    upkeep::ownership::claim(&backend.upkeep).await;
    let packages = backend.folder().join("data/packages");
    for version in ["1.0", "2.0", "3.0"] {
        backend.upload(&Tarball::new("alpha", version)).await.expect("an upload");
    }
    make_old(&wait_for_objects(&packages, 3).await);
    // The uploads are unknown after a restart.
    let backend = backend.restart().await;
    upkeep::ownership::claim(&backend.upkeep).await;
    let removal_count = async || {
        let now = (backend.state.clock)();
        let removals = backend
            .state
            .db
            .read(move |c| rstudio_pm::db::storage_class::recent_removals(c, "packages", now));
        removals.await.expect("read")
    };
    // No object can be removed meanwhile.
    let guard = backend.fetches.blob_lock.read().await;
    let sweep = tokio::spawn({
        let upkeep = backend.upkeep.clone();
        async move { upkeep::sweep::sweep(&upkeep, &SweepOptions::default()).await }
    });
    crate::support::sync_backend::until("the allowance is recorded", async || removal_count().await == 3)
        .await;
    assert_eq!(objects(&packages).len(), 3);
    drop(guard);
    assert_eq!(sweep.await.expect("no panic").expect("a sweep").objects, 3);
    assert_eq!((objects(&packages).len(), removal_count().await), (0, 3));
}
