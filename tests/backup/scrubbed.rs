//! Backups and scrubs of the same server: objects that are stored again from a backup, and objects that a scrub moves to
//! the directory `damaged` before or during a backup.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::machines::{folder, repositories};
use super::servers::PATHS;
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const BACKUP_PATHS: &str = "[Server]\nBackupPaths = {dir}/backups\nBackupPaths = {dir}/second\n";

fn server() -> Server {
    let server = Builder::default().gcfg(BACKUP_PATHS).start();
    repositories(&server);
    until("the storage is claimed", || {
        let storage = server.json("storage list");
        storage["classes"].as_array().expect("a list").iter().all(|class| class["owner"] == "own")
    });
    server
}

/// Returns the paths of the objects in a storage directory, in the order of their digests.
fn objects(server: &Server, directory: &str) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("readable").path()).collect()
    };
    let directories = list(&server.dir().join("data").join(directory));
    let mut objects: Vec<PathBuf> = directories.iter().flat_map(|directory| list(directory)).collect();
    objects.sort();
    objects
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// Executes a scrub; returns its result and exit code.
fn scrub(server: &Server, flags: &str) -> (Value, i32) {
    let output = server.rspm(&format!("scrub {flags} -o json"));
    (serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {output:?}")), output.code)
}

#[test]
fn a_scrub_restores_objects_from_a_backup() {
    let server = server();
    server.rspm_stdout("backup create");
    let expected = server.get(PATHS[4]).body;
    let from = format!("--repair --from={}", folder(&server).display());
    let package = objects(&server, "packages/packages").remove(0);
    let readme = objects(&server, "packages/readmes").remove(0);
    let bytes = std::fs::read(&package).expect("readable");
    for flags in ["", "--quick "] {
        std::fs::write(&package, "short").expect("written");
        std::fs::remove_file(&readme).expect("removed");
        let (result, code) = scrub(&server, &format!("{flags}{from}"));
        assert_eq!((&result["repaired"], &result["bad"], code), (&2.into(), &0.into(), 0), "{result}");
        assert!(std::fs::read(&package).expect("stored again") == bytes && readme.exists());
    }
    assert!(server.get(PATHS[4]).body == expected);

    // The blob in the backup is damaged, too.
    let name = package.file_name().expect("a digest").to_str().expect("digits").to_owned();
    let blob = folder(&server).join(format!("blobs/{}/{}/{name}", &name[..2], &name[2..4]));
    flip(&blob);
    flip(&package);
    let (result, code) = scrub(&server, &from);
    assert_eq!((&result["bad"], code), (&1.into(), 1), "{result}");
    let detail = result["findings"][0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("the backup: ") && detail.contains("has the SHA-256"), "{detail}");
    assert!(!package.exists(), "it was moved to the directory damaged");
    flip(&blob);
    assert_eq!(scrub(&server, &from).1, 0);
    assert!(std::fs::read(&package).expect("stored again") == bytes);

    let refusal = server.rspm(&format!("scrub --repair --from={}/third", server.dir().display()));
    assert!(refusal.code == 1 && refusal.err.contains("Server.BackupPaths allows"), "{refusal:?}");
    assert_eq!(server.rspm("scrub --from=/backups").code, 2, "nothing would be repaired");
}

#[test]
fn a_damaged_object_is_missing_in_a_backup_unless_an_earlier_backup_has_it() {
    let server = server();
    server.rspm_stdout("backup create");
    let package = objects(&server, "packages/packages").remove(0);
    flip(&package);
    assert_eq!(scrub(&server, "").1, 1);
    let second = format!("backup create --to {}/second", server.dir().display());
    let output = server.rspm(&second);
    assert!(output.code == 1 && output.err.contains("was moved to the directory 'damaged'"), "{output:?}");
    let list = server.json(&format!("backup list --from {}/second", server.dir().display()));
    assert_eq!(list[0]["missing"], 1, "{list}");
    let text = server.rspm_stdout("backup create");
    assert!(text.contains("of which 0 were copied"), "{text}");
    assert_eq!(server.json("backup verify --full")["undamaged"], true);
    assert_eq!(scrub(&server, &format!("--repair --from={}", folder(&server).display())).1, 0);
    server.rspm_stdout(&second);
}

#[test]
fn an_object_that_is_repaired_while_a_backup_is_made_is_in_it() {
    let server = server();
    let mut state = 1_u32;
    for number in 0..16 {
        // Bytes that do not compress.
        let noise: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + (state >> 26) as u8)
        })
        .take(150_000)
        .collect();
        server.add("prod", &Tarball::new(&format!("p{number}"), "1.0").with("data/noise", &noise));
    }
    server.rspm_stdout("backup create");
    let job =
        server.json(&format!("backup create --rate=100kB --no-wait --to {}/second", server.dir().display()));
    let last = objects(&server, "packages/packages").pop().expect("an object");
    flip(&last);
    let (result, code) = scrub(&server, &format!("--repair --from={}", folder(&server).display()));
    assert_eq!((&result["repaired"], code), (&1.into(), 0), "{result}");
    let job_state = || server.admin("GET", &format!("/jobs/{}", job["id"]), &Value::Null).json();
    until("the backup has ended", || job_state()["status"] != "running");
    let verification = server.json(&format!("backup verify --full --from {}/second", server.dir().display()));
    assert_eq!((&verification["undamaged"], &verification["missing"]), (&true.into(), &Value::Array(vec![])));
}

#[test]
fn files_that_were_lost_with_their_directories_are_stored_again_from_a_backup() {
    let mut server = server();
    let expected: Vec<Vec<u8>> = PATHS.iter().map(|path| server.get(path).body).collect();
    server.rspm_stdout("backup create");
    server.stop();
    for class in ["packages", "persistent", "cran", "binaries", "metrics"] {
        let directory = server.dir().join("data").join(class);
        if directory.exists() {
            std::fs::remove_dir_all(directory).expect("removed");
        }
    }
    server.launch();
    until("the loss is known", || {
        let storage = server.json("storage list");
        storage["classes"].as_array().expect("a list").iter().any(|class| class["owner"] == "missing")
    });
    assert_eq!(server.get(PATHS[4]).status, 503);
    server.rspm_stdout("storage adopt");
    let (result, code) = scrub(&server, &format!("--quick --repair --from={}", folder(&server).display()));
    assert_eq!((&result["bad"], code), (&0.into(), 0), "{result}");
    assert!(result["repaired"].as_u64() >= Some(4), "{result}");
    for (path, body) in PATHS.iter().zip(&expected) {
        assert!(server.get(path).body == *body, "{path}");
    }
    let (result, _) = scrub(&server, "");
    assert_eq!((&result["bad"], &result["repaired"]), (&0.into(), &0.into()), "{result}");
}
