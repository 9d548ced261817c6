//! The clock of a server that was off for weeks is accepted if NTP synchronizes it; otherwise an administrator accepts
//! it by one command.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::fixtures::until;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A search path with a `timedatectl` that reports this state of the clock.
fn path_with_timedatectl(folder: &Path, state: &str) -> String {
    let program = folder.join("timedatectl");
    let script =
        format!("#!/bin/sh\n[ \"$*\" = 'show --property=NTPSynchronized --value' ] && echo {state}\n");
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    format!("{}:{}", folder.display(), std::env::var("PATH").expect("set"))
}

/// A stopped server with one package in a local source, whose database has no entry newer than `days` days.
fn after_an_outage(days: i64, path: &str) -> Server {
    let mut server = Builder::default().env("PATH", path).start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    until("the storage is claimed", || server.dir().join("data/packages/owner/packages").exists());
    server.stop();
    let database =
        rusqlite::Connection::open(server.dir().join("data/db/rstudio-pm.db")).expect("a database");
    let pause = days * 86_400_000_000;
    for (table, column) in
        [("clock", "at"), ("tx", "at"), ("tx", "started_at"), ("step", "at"), ("repo_step", "at")]
    {
        let row_count = database.execute(&format!("UPDATE {table} SET {column} = {column} - {pause}"), []);
        assert!(row_count.expect("an update") > 0, "{table}");
    }
    drop(database);
    server
}

fn add(server: &Server) -> RspmOutput {
    let package = Tarball::new("alpha", "2.0");
    let file: PathBuf = server.dir().join(package.file());
    std::fs::write(&file, package.bytes()).expect("written");
    server.rspm(&format!("add --source=team --path={}", file.display()))
}

fn check(server: &Server, path: &str) -> RspmOutput {
    let mut command = server.rspm_command("check-config");
    command.env("PATH", path).output().expect("rspm runs").into()
}

#[test]
fn after_five_weeks_a_synchronized_clock_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_timedatectl(folder.path(), "yes");
    let mut server = after_an_outage(35, &path);
    let check_output = check(&server, &path);
    assert!(
        check_output.out.contains("[PASS] Database") && !check_output.out.contains("clock"),
        "{check_output:?}"
    );
    server.launch();
    server.wait_for_log("accepted, because the clock is synchronized by NTP");
    let add_output = add(&server);
    assert_eq!(add_output.code, 0, "{add_output:?}");
}

#[test]
fn after_five_weeks_an_unsynchronized_clock_needs_the_command_that_the_error_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_timedatectl(folder.path(), "no");
    let mut server = after_an_outage(35, &path);
    server.launch();
    let refusal = add(&server);
    assert_eq!(refusal.code, 1, "{refusal:?}");
    assert!(refusal.err.contains("over a month after the last publish"), "{refusal:?}");
    assert!(server.rspm_stdout("status").contains("over a month after the last publish"));
    assert_eq!(server.get("/team/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    let (_, command) = refusal.err.trim_end().split_once("run: rspm ").expect("a command");
    let repair_output = server.rspm_stdout(command.lines().next().expect("a line"));
    assert!(repair_output.contains("the clock is accepted"), "{repair_output}");
    let add_output = add(&server);
    assert_eq!(add_output.code, 0, "{add_output:?}");
}

#[test]
fn after_years_even_a_synchronized_clock_needs_the_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_timedatectl(folder.path(), "yes");
    let mut server = after_an_outage(3 * 366, &path);
    server.launch();
    let refusal = add(&server);
    assert!(refusal.code == 1 && refusal.err.contains("run: rspm repair clock --today="), "{refusal:?}");
}

#[test]
fn check_config_reports_both_a_wrong_clock_and_storage_of_another_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_timedatectl(folder.path(), "no");
    let server = after_an_outage(35, &path);
    let marker = server.dir().join("data/packages/owner/packages");
    std::fs::write(&marker, format!("{}\n", "ab".repeat(16))).expect("written");
    let check_output = check(&server, &path);
    assert_eq!(check_output.code, 1, "{check_output:?}");
    assert!(check_output.out.contains("over a month after the last publish"), "{check_output:?}");
    assert!(
        check_output.out.contains("storage class 'packages' belongs to another database"),
        "{check_output:?}"
    );
}
