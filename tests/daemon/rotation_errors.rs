//! Logs that cannot be written: it is said where it is heard, the server goes on, and what was lost is counted.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::fixtures::until;
use crate::support::rerun;
use crate::support::server::{Builder, Server};

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Answers this many requests.
fn ask(server: &Server, count: usize) {
    let filler = "x".repeat(2000);
    for _ in 0..count {
        assert_eq!(server.get(&format!("/__ping__?{filler}")).status, 200);
    }
}

#[test]
fn on_a_full_disk_requests_are_answered_and_lines_are_counted_when_there_is_room_again() {
    let Some(disk) = rerun::small_disk() else { return };
    let (access, log) = (disk.join("access.log"), disk.join("server.log"));
    let lines =
        format!("[Server]\nAccessLog = {}\n[Logging]\nSystemLog = {}\n", access.display(), log.display());
    let server = Builder::default().gcfg(&lines).start();
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).expect_err("the disk is full");
    ask(&server, 40);
    server.wait_for_log(&format!("could not write to the log file {}", access.display()));
    // The server log, on the same disk, stops nobody either.
    for _ in 0..50 {
        assert_eq!(server.admin("POST", "/nothing", &serde_json::Value::Null).status, 404);
    }
    ask(&server, 5);
    std::fs::remove_file(&filler).expect("removed");
    ask(&server, 1);
    server.wait_for_log(&format!("writing to the log file {} again; ", access.display()));
    until("it is logged", || text(&access).lines().last().is_some_and(|line| line.contains(" 200 2 ")));
    let said = server.log_lines().join("\n");
    assert_eq!(
        said.matches(&format!("could not write to the log file {}", access.display())).count(),
        1,
        "{said}"
    );
    for line in text(&access).lines() {
        let whole = line.starts_with("127.0.0.1 - - [") && line.ends_with("\" 200 2 \"-\" \"-\"");
        assert!(whole, "broken: {line:?}");
    }
    for line in text(&log).lines() {
        assert!(line.starts_with("20") && line.matches(" INFO ").count() <= 1, "broken: {line:?}");
    }
}

/// Starts a server with this access log, which cannot be used, and returns what it says of it.
fn refused(make: impl FnOnce(&Path)) -> String {
    let server = Builder::default().gcfg("[Server]\nAccessLog = {dir}/logs/access.log\n").prepare();
    std::fs::create_dir(server.dir().join("logs")).expect("created");
    make(&server.dir().join("logs/access.log"));
    let mut server = server;
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    let lines = server.log_lines();
    let said = lines.iter().find(|line| line.contains("ERROR") && line.contains("logs/access.log"));
    said.unwrap_or_else(|| panic!("nothing is said: {lines:#?}")).clone()
}

#[test]
fn a_log_that_is_no_file_is_said_and_the_server_goes_on() {
    let said = refused(|path| std::fs::create_dir(path).expect("created"));
    assert!(said.contains("directory"), "{said}");
    let said = refused(|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("made"));
    assert!(said.to_lowercase().contains("fifo"), "{said}");
    let said = refused(|path| symlink("/dev/null/elsewhere", path).expect("a link"));
    assert!(said.contains("Not a directory") || said.contains("link"), "{said}");
}

#[test]
fn a_directory_that_is_missing_or_not_writable_is_said_and_mended_by_a_reopening() {
    let Some(disk) = rerun::small_disk() else { return };
    let lines = format!("[Server]\nAccessLog = {}\n", disk.join("logs/access.log").display());
    std::fs::create_dir(disk.join("logs")).expect("created");
    let server = Builder::default().gcfg(&lines).start();
    std::fs::rename(disk.join("logs"), disk.join("gone")).expect("renamed");
    let ran = server.rspm("logs reopen");
    assert!(ran.code == 1 && ran.err.contains("install -d -m 0750"), "{}", ran.err);
    ask(&server, 1);
    until("the old file is written to", || text(&disk.join("gone/access.log")).contains("__ping__"));
    std::fs::create_dir(disk.join("logs")).expect("created");
    server.told("logs reopen");
    ask(&server, 1);
    until("the new file is written to", || text(&disk.join("logs/access.log")).contains("__ping__"));
    assert_eq!(std::fs::metadata(disk.join("logs/access.log")).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_read_only_file_system_is_said_with_the_commands_that_open_it() {
    let Some(disk) = rerun::mounted("-t tmpfs -o ro") else { return };
    let lines = format!("[Server]\nAccessLog = {}\n", disk.join("access.log").display());
    let server = Builder::default().gcfg(&lines).start();
    let said = server.log_lines().join("\n");
    assert!(said.contains("systemctl daemon-reload && systemctl restart rstudio-pm"), "{said}");
    assert_eq!(server.get("/__ping__").status, 200);
}
