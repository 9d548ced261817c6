//! The clean-up: what nothing refers to goes, what anything refers to stays.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rstudio_pm::repo::edit::{OnExisting, RemoveScope};
use rstudio_pm::repo::sweep::SweepOptions;
use rstudio_pm::sync::Sync;

use super::told;
use crate::support::advisories;
use crate::support::backend::{Stores, World, actor};
use crate::support::rules;
use crate::support::tarball::Tarball;

/// Every object in service below a folder.
pub(super) fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let beside = name.starts_with('.') || ["owner", "trash", "damaged"].contains(&name.as_str());
        match path.is_dir() {
            true if !beside => found.extend(objects(&path)),
            false if !beside => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

pub(super) fn make_old(files: &[PathBuf]) {
    let old = SystemTime::now() - Duration::from_secs(3 * 3600);
    for file in files {
        std::fs::File::options().write(true).open(file).expect("a file").set_modified(old).expect("a time");
    }
}

/// Of two documents that were in force one after the other, the clean-up leaves the second; then as after a restart.
async fn without_the_replaced(world: World) -> World {
    let persistent = world.folder().join("data/persistent");
    let all = objects(&persistent);
    assert_eq!(all.len(), 2);
    make_old(&all);
    assert_eq!(world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up").objects, 1);
    assert_eq!(objects(&persistent).len(), 1);
    world.restarted().await
}

/// The objects once there are so many: an upload is answered before it is in storage.
async fn stored(packages: &Path, count: usize) -> Vec<PathBuf> {
    for _ in 0..1000 {
        let found = objects(packages);
        if found.len() == count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {count} objects", objects(packages));
}

#[tokio::test]
async fn only_old_bytes_that_nothing_refers_to_are_removed() {
    let world = World::new().await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    let packages = world.folder().join("data/packages");
    let readme = Tarball::new("alpha", "1.0").with("README.md", "# alpha\n");
    world.try_add("team", &[readme], OnExisting::Fail).await.expect("added");
    let wanted = objects(&packages);
    assert_eq!(wanted.len(), 2, "the archive and its README");
    world.upload(&Tarball::new("beta", "1.0")).await.expect("an upload");
    let all = stored(&packages, 3).await;
    make_old(&all);

    world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up");
    assert_eq!(objects(&packages), all, "an upload that waits to be added is wanted");

    let world = world.restarted().await;
    let fresh = Tarball::new("gamma", "1.0").with("README.md", "# gamma\n");
    world.upload(&fresh).await.expect("an upload");
    stored(&packages, 5).await;
    let world = world.restarted().await;
    let swept = world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up");
    assert_eq!(swept.objects, 1, "forgotten with the restart, and old");
    assert_eq!(objects(&packages).len(), 4, "forgotten with the restart, but new");
    assert!(wanted.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn a_removed_package_keeps_its_bytes_for_older_snapshots() {
    let world = World::new().await;
    world.local("team").await;
    world.repository("all", &["team"]).await;
    world.add("team", "alpha", "1.0").await;
    world.noon("2024-03-02");
    assert_eq!(told(&world, "all", "2024-03-01").await, "alpha 1.0");
    world.repo.remove("team", "alpha", RemoveScope::All, "", &actor()).await.expect("removed");
    let kept =
        [objects(&world.folder().join("data/packages")), objects(&world.folder().join("data/persistent"))];
    assert!(kept.iter().all(|files| !files.is_empty()));
    make_old(&kept.concat());
    assert_eq!(world.repo.sweep(&SweepOptions::default()).await.expect("a clean-up").objects, 0);
    assert!(kept.concat().iter().all(|path| path.exists()));
}

#[tokio::test]
async fn rules_that_were_replaced_are_removed_and_those_in_force_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let gcfg = format!("[SystemRequirements]\nURL = file://{}", folder.path().display());
    let world = World::on(Stores { gcfg }).await;
    for names in [&["zlib"][..], &["zlib", "gmp"][..]] {
        rules::folder(folder.path(), names);
        let looked = Sync::new(world.state.clone()).start_requirements("test").job().wait_end().await;
        assert!(looked.expect("rules").contains("are in force now"));
    }
    let world = without_the_replaced(world).await;
    Sync::new(world.state.clone()).load_rules().await;
    assert_eq!(world.state.rules.get().as_ref().map(|rules| rules.len()), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn advisories_that_were_replaced_are_removed_and_those_in_force_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let gcfg = format!("[Vulnerabilities]\nURL = file://{}", folder.path().display());
    let world = World::on(Stores { gcfg }).await;
    for id in ["RSEC-1", "RSEC-2"] {
        advisories::folder(folder.path(), &[advisories::record(id, "CRAN", "a", "1.0")]);
        let looked = Sync::new(world.state.clone()).start_advisories("test").job().wait_end().await;
        assert!(looked.expect("advisories").contains("are in force now"));
    }
    let world = without_the_replaced(world).await;
    Sync::new(world.state.clone()).load_advisories().await;
    assert_eq!(world.state.advisories.get().as_ref().map(|index| index.len()), Some(2));
}
