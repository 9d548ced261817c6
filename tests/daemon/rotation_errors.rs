//! Log files that cannot be written: the error is reported, the server keeps running, and lost lines are counted.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::fixtures::until;
use crate::support::rerun;
use crate::support::server::{Builder, Server};

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Sends this many requests.
fn send_requests(server: &Server, count: usize) {
    let filler = "x".repeat(2000);
    for _ in 0..count {
        assert_eq!(server.get(&format!("/__ping__?{filler}")).status, 200);
    }
}

#[test]
fn on_a_full_disk_requests_are_answered_and_lost_lines_are_counted_once_there_is_space() {
    let Some(disk) = rerun::small_disk() else { return };
    let (access, log) = (disk.join("access.log"), disk.join("server.log"));
    let lines =
        format!("[Server]\nAccessLog = {}\n[Logging]\nSystemLog = {}\n", access.display(), log.display());
    let server = Builder::default().gcfg(&lines).start();
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).expect_err("the disk is full");
    send_requests(&server, 40);
    server.wait_for_log(&format!("could not write to the log file {}", access.display()));
    // The server log, on the same disk, delays no request either.
    for _ in 0..50 {
        assert_eq!(server.admin("POST", "/nothing", &serde_json::Value::Null).status, 404);
    }
    send_requests(&server, 5);
    std::fs::remove_file(&filler).expect("removed");
    send_requests(&server, 1);
    server.wait_for_log(&format!("writing to the log file {} again; ", access.display()));
    until("it is logged", || text(&access).lines().last().is_some_and(|line| line.contains(" 200 2 ")));
    let log_text = server.log_lines().join("\n");
    assert_eq!(
        log_text.matches(&format!("could not write to the log file {}", access.display())).count(),
        1,
        "{log_text}"
    );
    for line in text(&access).lines() {
        let is_complete = line.starts_with("127.0.0.1 - - [") && line.ends_with("\" 200 2 \"-\" \"-\"");
        assert!(is_complete, "broken: {line:?}");
    }
    for line in text(&log).lines() {
        assert!(line.starts_with("20") && line.matches(" INFO ").count() <= 1, "broken: {line:?}");
    }
}

/// Starts a server with an unusable access log and returns its error message.
fn error_with(make: impl FnOnce(&Path)) -> String {
    let server = Builder::default().gcfg("[Server]\nAccessLog = {dir}/logs/access.log\n").prepare();
    std::fs::create_dir(server.dir().join("logs")).expect("created");
    make(&server.dir().join("logs/access.log"));
    let mut server = server;
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    let lines = server.log_lines();
    let error = lines.iter().find(|line| line.contains("ERROR") && line.contains("logs/access.log"));
    error.unwrap_or_else(|| panic!("no error is logged: {lines:#?}")).clone()
}

#[test]
fn a_log_that_is_not_a_file_is_reported_and_the_server_keeps_running() {
    let error = error_with(|path| std::fs::create_dir(path).expect("created"));
    assert!(error.contains("directory"), "{error}");
    let error = error_with(|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("made"));
    assert!(error.to_lowercase().contains("fifo"), "{error}");
    let error = error_with(|path| symlink("/dev/null/elsewhere", path).expect("a link"));
    assert!(error.contains("Not a directory") || error.contains("link"), "{error}");
}

#[test]
fn a_missing_directory_is_reported_and_reopening_the_logs_recovers() {
    let Some(disk) = rerun::small_disk() else { return };
    let lines = format!("[Server]\nAccessLog = {}\n", disk.join("logs/access.log").display());
    std::fs::create_dir(disk.join("logs")).expect("created");
    let server = Builder::default().gcfg(&lines).start();
    std::fs::rename(disk.join("logs"), disk.join("gone")).expect("renamed");
    let output = server.rspm("logs reopen");
    assert!(output.code == 1 && output.err.contains("install -d -m 0750"), "{}", output.err);
    send_requests(&server, 1);
    until("the old file is written to", || text(&disk.join("gone/access.log")).contains("__ping__"));
    std::fs::create_dir(disk.join("logs")).expect("created");
    server.rspm_stdout("logs reopen");
    send_requests(&server, 1);
    until("the new file is written to", || text(&disk.join("logs/access.log")).contains("__ping__"));
    assert_eq!(std::fs::metadata(disk.join("logs/access.log")).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_read_only_file_system_is_reported_with_the_commands_that_make_it_writable() {
    let Some(disk) = rerun::with_mount("-t tmpfs -o ro") else { return };
    let lines = format!("[Server]\nAccessLog = {}\n", disk.join("access.log").display());
    let server = Builder::default().gcfg(&lines).start();
    let log = server.log_lines().join("\n");
    assert!(log.contains("systemctl restart rstudio-pm"), "{log}");
    assert_eq!(server.get("/__ping__").status, 200);
}
