//! Backups and restores that are killed at any point: the server is undamaged, a backup is complete or absent, and
//! the target database of a restore is blank or complete.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::machines::{blank, database, folder};
use super::servers::{PATHS, answers};
use crate::support::kills;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Returns the number of times at which a program is killed.
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

fn check_killed_backup(provider: &str) {
    let mut server = server(provider);
    let expected = answers(&server);
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
        assert_eq!(answers(&server), expected, "{point}");
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
        // The next backup uses the files of the killed one.
        server.rspm_stdout(&create);
        assert_eq!(server.json(&format!("backup verify --full {from}"))["undamaged"], true, "{point}");
    }
}

#[test]
fn a_server_on_sqlite_is_killed_during_a_backup() {
    check_killed_backup("sqlite");
}

#[test]
fn a_server_on_postgresql_is_killed_during_a_backup() {
    check_killed_backup("postgres");
}

fn check_killed_restore(provider: &str) {
    let server = server("sqlite");
    let expected = answers(&server);
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
        let output: RspmOutput = other.rspm(&restore);
        // The database was complete before the kill.
        let complete = output.code == 1 && output.err.contains("is not blank");
        assert!(output.code == 0 || complete, "{point}: {}", output.err);
        other.launch();
        assert_eq!(answers(&other), expected, "{point}");
        assert_eq!(other.get(PATHS[0]).status, 200);
    }
}

#[test]
fn a_restore_with_sqlite_is_killed() {
    check_killed_restore("sqlite");
}

#[test]
fn a_restore_with_postgresql_is_killed() {
    check_killed_restore("postgres");
}
