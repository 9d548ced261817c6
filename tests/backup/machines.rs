//! A backup of a working server, restored on another machine with either provider.

use std::path::{Path, PathBuf};

use super::servers::{PATHS, answers};
use crate::support::postgres;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Returns the configuration sections of a provider with a blank database.
pub(crate) fn database(provider: &str) -> String {
    let url = postgres::server().schema();
    format!("[Database]\nProvider = {provider}\n[Postgres]\nURL = \"{url}\"\n")
}

/// Starts a server with a few packages.
pub(super) fn server(provider: &str) -> Server {
    let server = Builder::default().gcfg(&database(provider)).start();
    repositories(&server);
    server
}

/// Creates the repository `prod` with three package versions and a README.
pub(super) fn repositories(server: &Server) {
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1").with("README.md", "# Greetings\n"));
}

/// Returns a server on another machine that was never started.
pub(crate) fn blank(provider: &str) -> Server {
    Builder::default().gcfg(&database(provider)).prepare()
}

/// Returns the backup folder of a server.
pub(crate) fn folder(server: &Server) -> PathBuf {
    server.dir().join("backups")
}

/// Makes a backup; returns the output of `rspm`.
pub(crate) fn back_up(server: &Server) -> String {
    server.rspm_stdout(&format!("backup create --to {}", folder(server).display()))
}

/// Copies a folder, as an administrator does to another machine.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

/// Returns the manifests in the backup folder of a server, the oldest first.
pub(super) fn manifests(server: &Server) -> Vec<serde_json::Value> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(server).join("manifests"))
        .expect("a directory")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    let parse =
        |path: &PathBuf| serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    paths.iter().map(parse).collect()
}

fn check_restore(from: &str, to: &str) {
    let server = server(from);
    let expected = answers(&server);
    assert!(expected.iter().all(|(status, ..)| *status == 200), "{expected:?}");
    // A reload replaces the configuration in memory; the backup has the file nevertheless.
    server.rspm_stdout("hup");
    let text = back_up(&server);
    let manifest = manifests(&server)[0]["manifest"].clone();
    let (transaction, count) = (&manifest["transaction"], &manifest["object_count"]);
    // Three packages and a README, and stored indexes.
    assert!(count.as_u64() >= Some(4), "{manifest}");
    assert!(text.contains(&format!("transaction {transaction}, ")), "{text}");
    let copy = folder(&server).join(format!(
        "config/{}.gcfg",
        manifest["configuration"]["part"]["sha256"].as_str().expect("a digest")
    ));
    assert_eq!(manifest["configuration"]["path"], server.config_file().display().to_string());
    assert!(std::fs::read(copy).expect("a copy") == std::fs::read(server.config_file()).expect("readable"));
    // A package that is published after the backup is not in it.
    server.add("prod", &Tarball::new("later", "1.0"));
    let mut other = blank(to);
    copy_folder(&folder(&server), &folder(&other));
    let from = format!("--from {}", folder(&other).display());
    let verification = other.json(&format!("backup verify --full {from}"));
    assert_eq!((&verification["undamaged"], &verification["read"]), (&true.into(), count), "{verification}");
    let test = other.json(&format!("backup test {from}"));
    assert_eq!(&test["files"], count, "{test}");
    assert!(test["documents"].as_u64() >= Some(4), "{test}");
    let restore = other.json(&format!("backup restore {from}"));
    assert_eq!((&restore["copied"], &restore["transaction"]), (count, transaction), "{restore}");
    other.launch();
    assert_eq!(answers(&other), expected);
    let storage = other.rspm_stdout("storage list");
    assert!(!storage.contains("contested") && !storage.contains("missing"), "{storage}");
    assert_eq!(other.get("/prod/latest/src/contrib/later_1.0.tar.gz").status, 404);
    other.add("prod", &Tarball::new("greeting", "1.2"));
    assert!(other.get(PATHS[0]).text().contains("Version: 1.2"));
    // The new server has its own history.
    let error = other.refused(&format!("backup create --to {}", folder(&other).display()));
    assert!(error.contains("another copy of it") && error.contains("--adopt"), "{error}");
    other.rspm_stdout(&format!("backup create --adopt --to {}", folder(&other).display()));
    let new_manifest = manifests(&other)[1]["manifest"].clone();
    assert_eq!(new_manifest["database"], manifest["database"]);
    assert_ne!(new_manifest["history"], manifest["history"]);
}

#[test]
fn a_backup_of_sqlite_is_restored_to_sqlite() {
    check_restore("sqlite", "sqlite");
}

#[test]
fn a_backup_of_sqlite_is_restored_to_postgresql() {
    check_restore("sqlite", "postgres");
}

#[test]
fn a_backup_of_postgresql_is_restored_to_sqlite() {
    check_restore("postgres", "sqlite");
}

#[test]
fn a_backup_of_postgresql_is_restored_to_postgresql() {
    check_restore("postgres", "postgres");
}

/// The documented procedure: stop the server, copy its directories.
#[test]
fn copied_directories_of_a_stopped_server_work_on_another_machine() {
    let mut server = Server::start();
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1"));
    let expected = answers(&server);
    server.stop();
    let mut other = Builder::default().prepare();
    copy_folder(&server.dir().join("data"), &other.dir().join("data"));
    other.launch();
    assert_eq!(answers(&other), expected);
    other.restart();
    other.add("prod", &Tarball::new("greeting", "1.2"));
    server.launch();
    assert_eq!(answers(&server), expected, "the copied server is unchanged");
}

#[test]
fn the_second_backup_copies_only_new_files() {
    let server = server("sqlite");
    let first = back_up(&server);
    assert!(first.contains("4 files") && first.contains("of which 4 were copied"), "{first}");
    server.add("prod", &Tarball::new("later", "1.0"));
    let second = back_up(&server);
    assert!(second.contains("5 files") && second.contains("of which 1 were copied"), "{second}");
    let from = format!("--from {}", folder(&server).display());
    let list = server.json(&format!("backup list {from}"));
    let transactions: Vec<_> =
        list.as_array().expect("a list").iter().map(|b| b["transaction"].clone()).collect();
    let newest = transactions[0].as_i64().expect("a number");
    assert_eq!(transactions, [newest, newest + 1]);
    // The state of the first backup.
    let at = list[0]["time"].as_str().expect("a time");
    let verification = server.json(&format!("backup verify --full --at {at} {from}"));
    assert_eq!(verification["files"], 4, "{verification}");
    let parts: u64 = (1..=4)
        .map(|part| {
            server.json(&format!("backup verify --subset {part}/4 {from}"))["read"]
                .as_u64()
                .expect("a number")
        })
        .sum();
    assert_eq!(parts, 5, "all parts are all files");
    let metric = server.series("ppm_backup_last_success_timestamp_seconds").expect("a series");
    assert!(metric > 1_700_000_000.0, "{metric}");
}

#[test]
fn pruning_keeps_the_files_of_other_backups() {
    let server = server("sqlite");
    back_up(&server);
    server.rspm_stdout("remove package --name=other@all --source=prod");
    back_up(&server);
    let from = format!("--from {}", folder(&server).display());
    let dry_run = server.json(&format!("backup prune --keep-daily 1 --dry-run {from}"));
    assert_eq!(
        (dry_run["removed"].as_array().map(Vec::len), dry_run["kept"].as_array().map(Vec::len)),
        (Some(1), Some(1))
    );
    assert_eq!(server.json(&format!("backup list {from}")).as_array().map(Vec::len), Some(2));
    let pruning = server.json(&format!("backup prune --keep-daily 1 {from}"));
    assert_eq!(pruning["files"], dry_run["files"]);
    assert!(pruning["files"].as_u64() >= Some(1), "the dump of the first backup: {pruning}");
    assert_eq!(server.json(&format!("backup list {from}")).as_array().map(Vec::len), Some(1));
    assert_eq!(server.json(&format!("backup verify --full {from}"))["undamaged"], true);
}

#[test]
fn a_damaged_database_file_is_replaced_by_force() {
    let mut server = server("sqlite");
    let expected = answers(&server);
    back_up(&server);
    server.stop();
    let file = server.dir().join("data/db/rstudio-pm.db");
    for content in
        [b"not a database at all, but a text that is longer than its header".repeat(200), vec![0; 8192]]
    {
        std::fs::write(&file, &content).expect("written");
        let from = format!("--from {}", folder(&server).display());
        let error = server.refused(&format!("backup restore {from}"));
        assert!(error.contains("restore with --force"), "{error}");
        let restore = server.json(&format!("backup restore --force {from}"));
        let old_directory = PathBuf::from(restore["aside"].as_str().expect("a directory"));
        assert!(std::fs::read(old_directory.join("rstudio-pm.db")).expect("kept") == content);
        // The next directory has another time in its name.
        std::fs::rename(&old_directory, server.dir().join(format!("aside-{}", content.len())))
            .expect("moved");
    }
    server.launch();
    assert_eq!(answers(&server), expected);
}

#[test]
fn a_restore_makes_the_database_the_owner_of_empty_storage() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = crate::support::mirror_dir::MirrorDir::new(directory.path().join("mirror"));
    for package in ["first", "second", "third"] {
        mirror.simple(package, "1.0", "2024-02-01");
    }
    mirror.write();
    let gcfg = format!("[CRAN]\nURL = {}\nSyncSchedule = 0 0 30 2 *\n", mirror.url());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("sync --type=cran --quiet");
    server.rspm_stdout("create repo --name=mirrored");
    server.rspm_stdout("subscribe --repo=mirrored --source=cran");
    let file = |server: &Server, package: &str| {
        server.get(&format!("/mirrored/latest/src/contrib/{package}_1.0.tar.gz"))
    };
    for package in ["first", "second", "third"] {
        assert_eq!(file(&server, package).status, 200);
    }
    back_up(&server);
    let mut other = Builder::default().gcfg(&gcfg).prepare();
    other.rspm_stdout(&format!("backup restore --from {}", folder(&server).display()));
    other.launch();
    crate::support::fixtures::until("the storage is compared", || {
        let storage = other.json("storage list");
        storage["classes"].as_array().expect("a list").iter().all(|class| class["owner"] == "own")
    });
    assert_eq!(file(&other, "second").body, file(&server, "second").body);
}

#[test]
fn a_restore_that_fails_leaves_the_previous_database_in_place() {
    let mut server = server("sqlite");
    back_up(&server);
    server.add("prod", &Tarball::new("later", "1.0"));
    let old_index = server.get("/prod/latest/src/contrib/PACKAGES").body;
    server.stop();
    // The new file cannot be created.
    let obstacle = server.dir().join("data/db/migrating-rstudio-pm.db");
    std::fs::create_dir(&obstacle).expect("created");
    let restore = format!("backup restore --force --from {}", folder(&server).display());
    let error = server.refused(&restore);
    assert!(error.contains("migrating-rstudio-pm.db"), "{error}");
    server.launch();
    assert!(server.get("/prod/latest/src/contrib/PACKAGES").body == old_index);
    server.stop();
    std::fs::remove_dir(&obstacle).expect("removed");
    server.rspm_stdout(&restore);
    server.launch();
    assert_eq!(server.get("/prod/latest/src/contrib/later_1.0.tar.gz").status, 404);
}
