//! Faults that only directories have: modes, owners, free space.

use crate::support::rerun;
use crate::support::storage::{bytes, on_disk, read};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::storage::{Key, Storage, StorageError};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

fn cran(digest: Sha256) -> Key {
    Key::Package(StorageClass::Cran, digest)
}

fn walk(at: &Path) -> Vec<PathBuf> {
    let mut paths = vec![at.to_owned()];
    if at.is_dir() {
        paths.extend(std::fs::read_dir(at).unwrap().flat_map(|entry| walk(&entry.unwrap().path())));
    }
    paths
}

#[tokio::test]
async fn only_the_owner_can_read_stored_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data/var");
    let storage = Storage::open(&on_disk(&root)).await.unwrap();
    let (content, digest) = bytes(10, 1);
    storage.put(&cran(digest), content.into()).await.unwrap();
    let spool = storage.spool(StorageClass::Cran).await.unwrap();
    let modes: BTreeSet<(bool, u32)> = walk(&folder.path().join("data"))
        .iter()
        .map(|path| (path.is_dir(), path.metadata().unwrap().permissions().mode() & 0o7777))
        .collect();
    assert_eq!(modes, BTreeSet::from([(true, 0o700), (false, 0o600)]));
    drop(spool);
}

#[tokio::test]
async fn a_probe_creates_no_directory() {
    let folder = tempfile::tempdir().unwrap();
    let probed = Storage::probe(&on_disk(&folder.path().join("var")), |_| true).await;
    assert!(probed.iter().all(|(_, result)| result.is_ok()), "{probed:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn removed_directories_are_created_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&on_disk(folder.path())).await.unwrap();
    let (content, digest) = bytes(10, 1);
    storage.put(&cran(digest), content.clone().into()).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("cran/cran")).unwrap();
    storage.put(&cran(digest), content.clone().into()).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("cran/.spool")).unwrap();
    storage.put(&cran(Sha256([1; 32])), content.clone().into()).await.unwrap();
    // Only the parent of this object's directory exists.
    std::fs::remove_dir_all(folder.path().join("cran/cran")).unwrap();
    storage.put(&cran(Sha256([2; 32])), content.clone().into()).await.unwrap();
    storage.put(&cran(digest), content.clone().into()).await.unwrap();
    assert_eq!(read(storage.get(&cran(digest), None).await.unwrap()).await.unwrap(), content);
}

#[tokio::test]
async fn a_full_disk_is_reported_and_leaves_no_partial_files() {
    let Some(full) = rerun::small_disk() else { return };
    let storage = Storage::open(&on_disk(&full)).await.unwrap();
    let (content, digest) = bytes(3 << 20, 1);
    let put = storage.put(&cran(digest), content.clone().into()).await.unwrap_err();
    assert!(matches!(&put, StorageError::Full(path) if path.contains("cran")), "{put:?}");

    let mut spool = storage.spool(StorageClass::Cran).await.unwrap();
    let written = spool.write_all(&content).unwrap_err();
    let error = StorageError::io("write", spool.path(), written);
    assert!(matches!(error, StorageError::Full(_)), "{error:?}");
    drop(spool);

    assert_eq!(storage.size(&cran(digest)).await.unwrap(), None);
    assert_eq!(storage.list(StorageClass::Cran, None, 10).await.unwrap(), []);
    assert_eq!(std::fs::read_dir(full.join("cran/.spool")).unwrap().count(), 0);
    let (small, digest) = bytes(1000, 2);
    storage.put(&cran(digest), small.into()).await.unwrap();

    std::fs::write(full.join("filler"), vec![0; 1 << 20]).unwrap_err();
    // An open storage can be read; writes fail until there is space.
    for removed in [None, Some("cran/.spool")] {
        if let Some(path) = removed {
            std::fs::remove_dir(full.join(path)).unwrap();
            std::fs::write(full.join("filler2"), vec![0; 1 << 20]).unwrap_err();
        }
        let storage = Storage::open(&on_disk(&full)).await.unwrap();
        assert!(read(storage.get(&cran(digest), None).await.unwrap()).await.is_ok());
        let put = storage.put(&cran(Sha256([1; 32])), vec![1; 5000].into()).await.unwrap_err();
        assert!(matches!(put, StorageError::Full(_)), "{put:?}");
        let warnings = storage.condition().warnings();
        assert!(warnings.iter().any(|w| w.kind == "storage" && w.name.contains("cran")), "{warnings:?}");
        for (class, probed) in Storage::probe(&on_disk(&full), |_| true).await {
            let error = probed.unwrap_err();
            let text = error.to_string();
            assert!(error.is_only_full() && text.contains("df -h"), "{class:?}: {text}");
        }
    }
    std::fs::remove_file(full.join("filler")).unwrap();
    let storage = Storage::open(&on_disk(&full)).await.unwrap();
    storage.put(&cran(Sha256([1; 32])), vec![1; 5000].into()).await.unwrap();
    assert_eq!(storage.condition().warnings(), []);
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("var");
    std::fs::create_dir_all(root.join("cran")).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let prepare = |command: &mut std::process::Command| {
        command.env("RSPM_TEST_ROOT", &root);
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534).env("TMPDIR", "/tmp");
        } else {
            // The owner cannot write either.
            let read_only = std::fs::Permissions::from_mode(0o555);
            std::fs::set_permissions(root.join("cran"), read_only.clone()).unwrap();
            std::fs::set_permissions(&root, read_only).unwrap();
        }
    };
    if rerun::with_command(prepare) {
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        return;
    }
    let root = PathBuf::from(std::env::var_os("RSPM_TEST_ROOT").unwrap());
    let uid = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(uid).unwrap().unwrap().name;

    let refusal = Storage::open(&on_disk(&root)).await.err().unwrap();
    let StorageError::Unusable(locations) = &refusal else { panic!("{refusal:?}") };
    assert_eq!(locations.len(), 9, "every location is reported");
    let cran = &locations[StorageClass::Cran as usize];
    let path = root.join("cran").display().to_string();
    assert_eq!(cran.classes, "'cran'");
    assert_eq!(*cran.user, format!("user {name} (uid {uid})"));
    assert!(cran.problem.contains("Permission denied"), "{cran}");
    assert_eq!(cran.remedy, format!("run: sudo chown -R {name} {path} && sudo chmod 0700 {path}"));
    let pypi = &locations[StorageClass::Pypi as usize];
    let path = root.join("pypi").display().to_string();
    assert_eq!(pypi.remedy, format!("run: sudo install -d -o {name} -m 0700 {path}"));

    let probed = Storage::probe(&on_disk(&root), |_| true).await;
    for (class, result) in probed {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("'{}'", class.as_str())) && error.contains("sudo"), "{error}");
    }
}

#[tokio::test]
async fn classes_that_share_a_directory_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = on_disk(folder.path());
    config.locations[StorageClass::Cran as usize] = config.locations[StorageClass::Packages as usize].clone();
    let storage = Storage::open(&config).await.unwrap();
    let digest = Sha256([4; 32]);
    storage.put(&cran(digest), "cran".into()).await.unwrap();
    storage.put(&Key::Package(StorageClass::Packages, digest), "local".into()).await.unwrap();
    storage.delete(&cran(digest)).await.unwrap();
    let left = storage.list(StorageClass::Packages, None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(storage.list(StorageClass::Cran, None, 10).await.unwrap(), []);
}
