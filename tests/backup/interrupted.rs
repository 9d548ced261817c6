//! Backups and restores that are killed at any point: the server is unharmed, a backup is there completely or not at
//! all, and the database to restore to is blank or complete.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::machines::{blank, database, folder};
use super::servers::{PATHS, answers};
use crate::support::kills;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Points at which a program is killed.
fn points() -> u32 {
    kills::points(6)
}

fn server(provider: &str) -> Server {
    let server = Builder::default().gcfg(&database(provider)).start();
    server.local_repository("prod", &[Tarball::new("greeting", "1.0"), Tarball::new("other", "2.0")]);
    server.add("prod", &Tarball::new("greeting", "1.1"));
    for number in 0..40 {
        let text = format!("{number}").repeat(20_000);
        server.add("prod", &Tarball::new(&format!("p{number}"), "1.0").with("data/text", &text));
    }
    server
}

fn start(mut command: Command) -> std::process::Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn a_killed_server_leaves_whole_backups(provider: &str) {
    let mut server = server(provider);
    let before = answers(&server);
    // The folder is removed in each round.
    let create = format!("backup create --init --quiet --to {}", folder(&server).display());
    let start_time = Instant::now();
    server.rspm_stdout(&create);
    let duration = start_time.elapsed();
    let from = format!("--from {}", folder(&server).display());
    for point in 0..points() {
        std::fs::remove_dir_all(folder(&server)).expect("removed");
        let mut command = start(server.rspm_command(&create));
        std::thread::sleep(duration * point / points() + Duration::from_millis(2));
        server.kill();
        command.wait().expect("it ended");
        server.launch();
        assert_eq!(answers(&server), before, "{point}");
        if folder(&server).exists() {
            let list = server.json(&format!("backup list {from}"));
            if list.as_array().is_some_and(|all| !all.is_empty()) {
                assert_eq!(
                    server.json(&format!("backup verify --full {from}"))["undamaged"],
                    true,
                    "{point}"
                );
            }
        }
        // What the killed one left is used.
        server.rspm_stdout(&create);
        assert_eq!(server.json(&format!("backup verify --full {from}"))["undamaged"], true, "{point}");
    }
}

#[test]
fn a_server_on_sqlite_is_killed_during_a_backup() {
    a_killed_server_leaves_whole_backups("sqlite");
}

#[test]
fn a_server_on_postgresql_is_killed_during_a_backup() {
    a_killed_server_leaves_whole_backups("postgres");
}

fn a_killed_restore_is_repeated(provider: &str) {
    let server = server("sqlite");
    let before = answers(&server);
    server.rspm_stdout(&format!("backup create --quiet --to {}", folder(&server).display()));
    let restore = format!("backup restore --from {}", folder(&server).display());
    let start_time = Instant::now();
    blank(provider).rspm_stdout(&restore);
    let duration = start_time.elapsed();
    for point in 0..points() {
        let mut other = blank(provider);
        let mut command = start(other.rspm_command(&restore));
        std::thread::sleep(duration * point / points() + Duration::from_millis(2));
        command.kill().expect("it is our child");
        command.wait().expect("it ended");
        let again: RspmOutput = other.rspm(&restore);
        // The database was complete before the kill.
        let complete = again.code == 1 && again.err.contains("is not blank");
        assert!(again.code == 0 || complete, "{point}: {}", again.err);
        other.launch();
        assert_eq!(answers(&other), before, "{point}");
        assert_eq!(other.get(PATHS[0]).status, 200);
    }
}

#[test]
fn a_restore_with_sqlite_is_killed() {
    a_killed_restore_is_repeated("sqlite");
}

#[test]
fn a_restore_with_postgresql_is_killed() {
    a_killed_restore_is_repeated("postgres");
}
