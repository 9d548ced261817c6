//! Restores that are refused before anything is written.

use std::path::Path;

use super::machines::{back_up, copy_folder, folder, repositories, server};
use crate::support::rerun;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The files below a directory, with their sizes.
fn files(directory: &Path) -> Vec<String> {
    let output = std::process::Command::new("find").arg(directory).args(["-printf", "%P %s\n"]).output();
    let output = String::from_utf8(output.expect("find runs").stdout).expect("UTF-8");
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.contains(".lock"));
    lines.sort_unstable();
    lines
}

/// A server with a new encryption key that was never started.
fn with_key() -> Server {
    let server = Builder::default().gcfg("[Server]\nEncryptionKeyPath = {dir}/key").prepare();
    let generated = server.rspm(&format!("encrypt generate --file-out={}/key", server.dir().display()));
    assert_eq!(generated.code, 0, "{}", generated.err);
    server
}

#[test]
fn a_restore_with_a_different_encryption_key_is_refused() {
    let mut server = with_key();
    server.launch();
    repositories(&server);
    back_up(&server);
    let mut other = with_key();
    copy_folder(&folder(&server), &folder(&other));
    let before = files(&other.dir().join("data"));
    let restore = format!("backup restore --from {}", folder(&other).display());
    let refusal = other.rspm(&restore);
    assert_eq!(refusal.code, 1, "{}", refusal.out);
    for part in ["is not that of the backup", "rspm encrypt rotate --key-lost"] {
        assert!(refusal.err.contains(part), "{}", refusal.err);
    }
    assert_eq!(files(&other.dir().join("data")), before);
    std::fs::copy(server.dir().join("key"), other.dir().join("key")).expect("copied");
    other.rspm_stdout(&restore);
    other.launch();
    assert_eq!(other.get("/prod/latest/src/contrib/greeting_1.0.tar.gz").status, 200);
}

#[test]
fn a_restore_to_a_disk_without_space_is_refused() {
    let Some(disk) = rerun::small_disk() else { return };
    let server = server("sqlite");
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from(state >> 60).expect("four bits"))
    };
    let text: String = (0..6 << 20).map(|_| random()).collect();
    server.add("prod", &Tarball::new("large", "1.0").with("inst/text.txt", &text));
    back_up(&server);
    let gcfg = format!("[FileStorage \"packages\"]\nLocation = {}", disk.join("packages").display());
    let other = Builder::default().gcfg(&gcfg).prepare();
    let places = [other.dir().join("data"), disk.clone()];
    let before = places.each_ref().map(|place| files(place));
    let refusal = other.rspm(&format!("backup restore --from {}", folder(&server).display()));
    assert_eq!(refusal.code, 1, "{}", refusal.out);
    let part = format!("the file system of {} has 1 MB free, and the backup needs ", disk.display());
    assert!(refusal.err.contains(&part), "{}", refusal.err);
    assert_eq!(places.each_ref().map(|place| files(place)), before);
}

#[test]
fn a_restore_to_a_disk_without_space_for_an_empty_database_is_refused() {
    let Some(disk) = rerun::small_disk() else { return };
    let server = server("sqlite");
    back_up(&server);
    let place = disk.join("database");
    let other = Builder::default().gcfg(&format!("[SQLite]\nDir = {}", place.display())).prepare();
    let before = files(&other.dir().join("data"));
    let refusal = other.rspm(&format!("backup restore --from {}", folder(&server).display()));
    assert_eq!(refusal.code, 1, "{}", refusal.out);
    assert!(refusal.err.contains(" MB free, and the backup needs "), "{}", refusal.err);
    assert!(!place.exists() && files(&other.dir().join("data")) == before, "nothing was written");
}
