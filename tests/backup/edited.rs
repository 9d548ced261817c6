//! Damaged backups and unsuitable restore targets are refused before anything is written.

use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use rstudio_pm::backup::manifest::Manifest;

use super::machines::{back_up, blank, copy_folder, folder, manifests, server};
use crate::support::server::Server;

/// Returns the paths of the files below a subdirectory of the backup folder, in order.
fn files(server: &Server, name: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("readable").path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&folder(server).join(name), &mut files);
    files.sort();
    files
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

fn edit_manifest(server: &Server, from: &str, to: &str) {
    let [path] = &files(server, "manifests")[..] else { panic!("one manifest") };
    let text = std::fs::read_to_string(path).expect("readable");
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

/// Returns the paths and sizes of all files in the data directory of a server, except lock files.
fn data_files(server: &Server) -> Vec<String> {
    let output = std::process::Command::new("find")
        .arg(server.dir().join("data"))
        .args(["-printf", "%P %s\n"])
        .output();
    let output = String::from_utf8(output.expect("find runs").stdout).expect("UTF-8");
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.contains(".lock"));
    lines
}

type Damage = fn(&Server);

const DAMAGES: [(&str, Damage, &str); 13] = [
    ("configuration", |s| flip(&files(s, "config")[0]), "SHA-256"),
    (
        "dump",
        |s| flip(&files(s, "db").into_iter().find(|f| f.extension().unwrap() == "dump").unwrap()),
        "SHA-256",
    ),
    (
        "list",
        |s| flip(&files(s, "db").into_iter().find(|f| f.extension().unwrap() == "objects").unwrap()),
        "SHA-256",
    ),
    ("blob", |s| flip(&files(s, "blobs")[0]), "SHA-256"),
    ("short blob", |s| std::fs::write(&files(s, "blobs")[0], "x").unwrap(), "1 bytes instead of"),
    ("missing blob", |s| std::fs::remove_file(&files(s, "blobs")[0]).unwrap(), "is missing"),
    ("missing dump", |s| files(s, "db").iter().for_each(|f| std::fs::remove_file(f).unwrap()), "is missing"),
    (
        "link",
        |s| {
            let blob = &files(s, "blobs")[0];
            std::fs::rename(blob, s.dir().join("elsewhere")).unwrap();
            symlink(s.dir().join("elsewhere"), blob).unwrap();
        },
        "is a symbolic link",
    ),
    (
        "linked directory",
        |s| {
            let blob = files(s, "blobs")[0].clone();
            let directory = blob.parent().unwrap();
            std::fs::rename(directory, s.dir().join("elsewhere")).unwrap();
            symlink(s.dir().join("elsewhere"), directory).unwrap();
        },
        "is a symbolic link",
    ),
    ("owner", |s| chown(&files(s, "blobs")[0], Some(12_345), None).unwrap(), "belongs to user 12345"),
    ("transaction", |s| edit_manifest(s, "\"transaction\": ", "\"transaction\": 1"), "was changed"),
    ("path", |s| edit_manifest(s, "\"sha256\": \"", "\"sha256\": \"../../"), "is not a manifest"),
    ("format", |s| edit_manifest(s, "\"format\": 1", "\"format\": 2"), "this version reads format 1"),
];

#[test]
fn a_changed_backup_is_found_and_not_restored() {
    let server = server("sqlite");
    back_up(&server);
    for (name, damage, expected) in DAMAGES {
        let other = blank("sqlite");
        copy_folder(&folder(&server), &folder(&other));
        let from = format!("--from {}", folder(&other).display());
        assert_eq!(other.rspm(&format!("backup verify --full {from}")).code, 0, "{name}");
        damage(&other);
        let old_files = data_files(&other);
        let verification = other.rspm(&format!("backup verify --full {from}"));
        let text = verification.out + &verification.err;
        assert_eq!(verification.code, 1, "{name}: {text}");
        assert!(text.contains(expected), "{name}: {text}");
        let restore = other.rspm(&format!("backup restore {from}"));
        assert_eq!(restore.code, 1, "{name}: {}", restore.out);
        assert!(restore.err.contains(expected), "{name}: {}", restore.err);
        assert_eq!(data_files(&other), old_files, "{name}");
    }
}

#[test]
fn a_replaced_manifest_is_detected_by_the_next_one() {
    let server = server("sqlite");
    back_up(&server);
    back_up(&server);
    let (paths, manifests) = (files(&server, "manifests"), manifests(&server));
    assert_eq!(manifests[1]["manifest"]["previous"]["sha256"], manifests[0]["sha256"]);
    // A complete manifest with a valid digest, in the documented format.
    let other = super::machines::server("sqlite");
    back_up(&other);
    let mut manifest: Manifest =
        serde_json::from_value(super::machines::manifests(&other)[0]["manifest"].clone())
            .expect("a manifest");
    manifest.created = manifests[0]["manifest"]["created"].as_str().expect("a time").parse().expect("a time");
    let document = serde_json::json!({ "manifest": manifest, "sha256": manifest.sha256().to_string() });
    std::fs::write(&paths[0], document.to_string()).expect("written");
    let verify = format!("backup verify --from {}", folder(&server).display());
    let error = server.refused(&verify);
    assert!(error.contains("of several databases"), "{error}");
    let newest = manifests[1]["manifest"]["created"].as_str().expect("a time");
    let output = server.rspm(&format!("{verify} --at {newest}"));
    assert_eq!(output.code, 1, "{}", output.out);
    assert!(output.out.contains("states another digest of it"), "{}", output.out);
}

#[test]
fn targets_that_are_in_use_are_refused() {
    let mut server = server("sqlite");
    back_up(&server);
    let from = format!("--from {}", folder(&server).display());
    let refusal = server.rspm(&format!("backup restore {from}"));
    assert!(refusal.code == 1 && refusal.err.contains("the server is running"), "{}", refusal.err);
    server.stop();
    let refusal = server.rspm(&format!("backup restore {from}"));
    assert!(refusal.code == 1 && refusal.err.contains("--force"), "{}", refusal.err);
    let result = server.json(&format!("backup restore --force {from}"));
    assert_eq!((&result["copied"], &result["present"]), (&0.into(), &4.into()), "{result}");
    let old_directory = PathBuf::from(result["aside"].as_str().expect("a path"));
    assert!(old_directory.join("rstudio-pm.db").exists());
    server.launch();
    let storage = server.rspm_stdout("storage list");
    assert!(!storage.contains("missing"), "{storage}");
}

#[test]
fn only_folders_for_backups_are_written_to() {
    let server = server("sqlite");
    for (to, expected) in [
        (server.dir().join("data/packages/x"), "the server has its data in"),
        (server.dir().to_owned(), "the server has its data in"),
        (PathBuf::from("/nowhere/at/all"), "could not open /nowhere/at"),
    ] {
        let refusal = server.rspm(&format!("backup create --to {}", to.display()));
        assert!(refusal.code == 1 && refusal.err.contains(expected), "{}: {}", to.display(), refusal.err);
    }
    let refusal = server.rspm("backup create");
    assert!(refusal.err.contains("Server.BackupPaths"), "{}", refusal.err);
}
