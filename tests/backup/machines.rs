//! A backup of a working server, restored on another machine with either provider.

use std::path::{Path, PathBuf};

use super::servers::{PATHS, answers};
use crate::support::postgres;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// `[Database]` of a provider, with a blank database.
pub(crate) fn database(provider: &str) -> String {
    let url = postgres::server().schema();
    format!("[Database]\nProvider = {provider}\n[Postgres]\nURL = \"{url}\"\n")
}

/// A working server with a few packages.
pub(super) fn server(provider: &str) -> Server {
    let server = Builder::default().gcfg(&database(provider)).start();
    repositories(&server);
    server
}

/// The repository `prod` with three packages and a README.
pub(super) fn repositories(server: &Server) {
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1").with("README.md", "# Greetings\n"));
}

/// A server on another machine that was never started.
pub(crate) fn blank(provider: &str) -> Server {
    Builder::default().gcfg(&database(provider)).prepare()
}

/// The folder of a server's backups.
pub(crate) fn folder(server: &Server) -> PathBuf {
    server.dir().join("backups")
}

/// Makes a backup; returns what `rspm` prints.
pub(crate) fn back_up(server: &Server) -> String {
    server.rspm_stdout(&format!("backup create --to {}", folder(server).display()))
}

/// Copies a folder, as an administrator does to another machine.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

/// The manifests in the folder of a server, the oldest first.
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

fn restored_elsewhere(from: &str, to: &str) {
    let server = server(from);
    let before = answers(&server);
    assert!(before.iter().all(|(status, ..)| *status == 200), "{before:?}");
    let said = back_up(&server);
    let manifest = manifests(&server)[0]["manifest"].clone();
    let (transaction, count) = (&manifest["transaction"], &manifest["object_count"]);
    // Three packages and a README, and stored indexes.
    assert!(count.as_u64() >= Some(4), "{manifest}");
    assert!(said.contains(&format!("transaction {transaction}, ")), "{said}");
    let copy = folder(&server).join(format!(
        "config/{}.gcfg",
        manifest["configuration"]["part"]["sha256"].as_str().expect("a digest")
    ));
    assert_eq!(manifest["configuration"]["path"], server.config_file().display().to_string());
    assert!(std::fs::read(copy).expect("a copy") == std::fs::read(server.config_file()).expect("readable"));
    // What is published after the backup is not in it.
    server.add("prod", &Tarball::new("later", "1.0"));
    let mut other = blank(to);
    copy_folder(&folder(&server), &folder(&other));
    let from = format!("--from {}", folder(&other).display());
    let verified = other.json(&format!("backup verify --full {from}"));
    assert_eq!((&verified["undamaged"], &verified["read"]), (&true.into(), count), "{verified}");
    let tested = other.json(&format!("backup test {from}"));
    assert_eq!(&tested["files"], count, "{tested}");
    assert!(tested["documents"].as_u64() >= Some(4), "{tested}");
    let restored = other.json(&format!("backup restore {from}"));
    assert_eq!((&restored["copied"], &restored["transaction"]), (count, transaction), "{restored}");
    other.launch();
    assert_eq!(answers(&other), before);
    let storage = other.rspm_stdout("storage list");
    assert!(!storage.contains("contested") && !storage.contains("missing"), "{storage}");
    assert_eq!(other.get("/prod/latest/src/contrib/later_1.0.tar.gz").status, 404);
    other.add("prod", &Tarball::new("greeting", "1.2"));
    assert!(other.get(PATHS[0]).text().contains("Version: 1.2"));
    // It is a server like any other, with a history of its own.
    let error = other.refused(&format!("backup create --to {}", folder(&other).display()));
    assert!(error.contains("another copy of it") && error.contains("--adopt"), "{error}");
    other.rspm_stdout(&format!("backup create --adopt --to {}", folder(&other).display()));
    let own = manifests(&other)[1]["manifest"].clone();
    assert_eq!(own["database"], manifest["database"]);
    assert_ne!(own["history"], manifest["history"]);
}

#[test]
fn from_sqlite_to_sqlite() {
    restored_elsewhere("sqlite", "sqlite");
}

#[test]
fn from_sqlite_to_postgresql() {
    restored_elsewhere("sqlite", "postgres");
}

#[test]
fn from_postgresql_to_sqlite() {
    restored_elsewhere("postgres", "sqlite");
}

#[test]
fn from_postgresql_to_postgresql() {
    restored_elsewhere("postgres", "postgres");
}

/// The documents' own way: stop the server, copy its directories.
#[test]
fn stopped_and_copied_directories_continue_elsewhere() {
    let mut server = Server::start();
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1"));
    let before = answers(&server);
    server.stop();
    let mut other = Builder::default().prepare();
    copy_folder(&server.dir().join("data"), &other.dir().join("data"));
    other.launch();
    assert_eq!(answers(&other), before);
    other.restart();
    other.add("prod", &Tarball::new("greeting", "1.2"));
    server.launch();
    assert_eq!(answers(&server), before, "the copied server is unchanged");
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
    let verified = server.json(&format!("backup verify --full --at {at} {from}"));
    assert_eq!(verified["files"], 4, "{verified}");
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
fn pruned_backups_leave_what_others_need() {
    let server = server("sqlite");
    back_up(&server);
    server.rspm_stdout("remove package --name=other@all --source=prod");
    back_up(&server);
    let from = format!("--from {}", folder(&server).display());
    let dry = server.json(&format!("backup prune --keep-daily 1 --dry-run {from}"));
    assert_eq!(
        (dry["removed"].as_array().map(Vec::len), dry["kept"].as_array().map(Vec::len)),
        (Some(1), Some(1))
    );
    assert_eq!(server.json(&format!("backup list {from}")).as_array().map(Vec::len), Some(2));
    let pruned = server.json(&format!("backup prune --keep-daily 1 {from}"));
    assert_eq!(pruned["files"], dry["files"]);
    assert!(pruned["files"].as_u64() >= Some(1), "the dump of the first backup: {pruned}");
    assert_eq!(server.json(&format!("backup list {from}")).as_array().map(Vec::len), Some(1));
    assert_eq!(server.json(&format!("backup verify --full {from}"))["undamaged"], true);
}

#[test]
fn a_damaged_database_file_is_replaced_by_force() {
    let mut server = server("sqlite");
    let before = answers(&server);
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
        let restored = server.json(&format!("backup restore --force {from}"));
        let aside = std::path::PathBuf::from(restored["aside"].as_str().expect("a directory"));
        assert!(std::fs::read(aside.join("rstudio-pm.db")).expect("kept") == content);
        // The next directory has another time in its name.
        std::fs::rename(&aside, server.dir().join(format!("aside-{}", content.len()))).expect("moved");
    }
    server.launch();
    assert_eq!(answers(&server), before);
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
        let listed = other.json("storage list");
        listed["classes"].as_array().expect("a list").iter().all(|class| class["owner"] == "own")
    });
    assert_eq!(file(&other, "second").body, file(&server, "second").body);
}

#[test]
fn a_restore_that_fails_leaves_the_previous_database_in_place() {
    let mut server = server("sqlite");
    back_up(&server);
    server.add("prod", &Tarball::new("later", "1.0"));
    let before = server.get("/prod/latest/src/contrib/PACKAGES").body;
    server.stop();
    // The new file cannot be created.
    let obstacle = server.dir().join("data/db/migrating-rstudio-pm.db");
    std::fs::create_dir(&obstacle).expect("created");
    let restore = format!("backup restore --force --from {}", folder(&server).display());
    let error = server.refused(&restore);
    assert!(error.contains("migrating-rstudio-pm.db"), "{error}");
    server.launch();
    assert!(server.get("/prod/latest/src/contrib/PACKAGES").body == before);
    server.stop();
    std::fs::remove_dir(&obstacle).expect("removed");
    server.rspm_stdout(&restore);
    server.launch();
    assert_eq!(server.get("/prod/latest/src/contrib/later_1.0.tar.gz").status, 404);
}
