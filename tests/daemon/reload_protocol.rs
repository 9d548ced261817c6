//! Notifications to systemd about a reload, concurrent signals, and unusable notify sockets.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::manager::Manager;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

#[test]
fn start_and_end_of_a_reload_are_announced_and_the_start_has_its_time_in_one_datagram() {
    let mut manager = Manager::new("");
    manager.start();
    let before = manager.notification_count();
    manager.signal(Signal::SIGHUP);
    let message = manager.wait_for_notification(before, "RELOADING=1");
    let micros = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(micros.is_some_and(|number| number.parse::<u64>().is_ok_and(|n| n > 0)), "{message}");
    let ready = manager.wait_for_notification(before, "READY=1");
    assert!(ready.contains("STATUS=Online: "), "{ready}");
    manager.stop();
}

#[test]
fn an_invalid_file_changes_nothing_and_the_end_of_the_reload_is_announced() {
    let mut manager = Manager::new("");
    manager.start();
    let valid_gcfg = fs::read_to_string(manager.server.config_file()).expect("readable");
    let before = manager.notification_count();
    fs::write(manager.server.config_file(), format!("{valid_gcfg}\n[CRAN]\nSyncSchedule = never\n"))
        .expect("written");
    let error = manager.server.refused("hup --wait");
    assert!(error.contains("never") && error.ends_with("Nothing was changed."), "{error}");
    manager.wait_for_notification(before, "RELOADING=1");
    manager.wait_for_notification(before, "READY=1");
    let log = manager.log();
    assert!(log.contains("the configuration was not reloaded: "), "{log}");
    let reason = |line: &str| line.contains("SyncSchedule = \"never\"") && !line.contains("not reloaded");
    assert!(
        log.lines().any(reason) && !log.contains("\\n"),
        "each line of the error is a line of the log: {log}"
    );
    assert_eq!(http::get(&format!("http://{}/__ping__", manager.target().http)).status, 200);
    fs::write(manager.server.config_file(), valid_gcfg).expect("written");
    assert!(manager.server.rspm_stdout("hup").contains("nothing reloadable changed"));
    manager.stop();
}

#[test]
fn hup_prints_what_changed_what_was_ignored_and_what_needs_a_restart() {
    let server = Builder::default()
        .gcfg("[Logging]\nSystemLogLevel = INFO\n[Proxy]\nURL = http://me:s3cret@127.0.0.1:9")
        .start();
    let text = fs::read_to_string(server.config_file()).expect("readable");
    let text = text.replace("SystemLogLevel = INFO", "SystemLogLevel = DEBUG");
    let text = text.replace("URL = http://me:s3cret@127.0.0.1:9", "");
    let text = text.replace("Listen = 127.0.0.1:0", "Listen = 127.0.0.1:1");
    fs::write(server.config_file(), text).expect("written");
    let output = server.rspm_stdout("hup");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "The configuration was reloaded; 1 property changed:", "{output}");
    assert_eq!(lines[1], "  Logging.SystemLogLevel: INFO → DEBUG", "{output}");
    assert!(
        lines[2].starts_with("No longer set") && lines[3].contains("Proxy.URL: http://***@127.0.0.1:9"),
        "{output}"
    );
    assert!(lines[4].starts_with("Listen addresses"), "{output}");
    assert_eq!(lines[5], "  HTTP.Listen: 127.0.0.1:0 → 127.0.0.1:1", "{output}");
    assert!(!output.contains("s3cret"), "{output}");
    let json = server.json("hup");
    assert_eq!(
        json["applied"].as_array().map(Vec::len),
        Some(0),
        "the second reload changes nothing: {json}"
    );
    server.wait_for_log("Logging.SystemLogLevel is 'DEBUG' now, was 'INFO'");
}

#[test]
fn a_hundred_concurrent_hups_cause_few_reloads() {
    let mut manager = Manager::new("");
    manager.start();
    let before = manager.notification_count();
    for _ in 0..100 {
        manager.signal(Signal::SIGHUP);
    }
    manager.wait_for_notification(before, "RELOADING=1");
    // The command is sent after the signals, so it is answered after them.
    assert!(manager.server.rspm_stdout("hup").contains("nothing reloadable changed"));
    let reloads = manager.log().matches("configuration reloaded").count();
    assert!((2..50).contains(&reloads), "{reloads}");
    assert_eq!(http::get(&format!("http://{}/__ping__", manager.target().http)).status, 200);
    manager.stop();
}

#[test]
fn usr1_reopens_logs_and_reloads_nothing() {
    let server = Server::start();
    server.signal(Signal::SIGUSR1);
    server.wait_for_log("log files reopened");
    server.rspm_stdout("status");
    assert!(!server.log_lines().iter().any(|line| line.contains("reloaded")));
}

#[test]
fn the_log_level_can_be_set_until_the_next_start() {
    let mut server = Server::start();
    assert_eq!(
        server.rspm_stdout("config log --level=error"),
        "The level of the server log is ERROR until the next start.\n"
    );
    let before = server.log_lines().len();
    server.signal(Signal::SIGUSR1);
    assert!(server.rspm_stdout("status").starts_with("Online"));
    assert_eq!(server.log_lines().len(), before, "{:?}", server.log_lines());
    let error = server.refused("config log --level=loud");
    assert!(error.contains("DEBUG"), "{error}");
    server.restart();
    assert!(server.log_lines().len() > 1);
}

/// A database server that accepts connections and sends nothing, for a long start.
fn silent_database() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let gcfg = format!(
        "[Database]\nProvider = postgres\nConnectionTimeout = 5m\n[Postgres]\nURL = postgres://u@127.0.0.1:{port}/d"
    );
    (listener, gcfg)
}

#[test]
fn a_long_start_requests_time_from_systemd_then_answers_503_and_can_be_stopped() {
    let (_silent, gcfg) = silent_database();
    let server = Builder::default().gcfg(&gcfg).prepare();
    let notify = UnixDatagram::bind(server.dir().join("notify")).expect("a socket");
    notify.set_read_timeout(Some(Duration::from_secs(90))).expect("a timeout");
    let mut child = server
        .command(env!("CARGO_BIN_EXE_rstudio-pm"))
        .env("NOTIFY_SOCKET", server.dir().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut bytes = [0; 4096];
    let size = notify.recv(&mut bytes).expect("a message");
    let message = String::from_utf8_lossy(&bytes[..size]).into_owned();
    assert!(message.contains("EXTEND_TIMEOUT_USEC=30000000"), "{message}");
    assert!(message.contains("STATUS=Starting: "), "{message}");
    // Clients wait at first; later they get an answer.
    until("the admin socket exists", || server.admin_socket().exists());
    let status = server.rspm_stdout("status");
    let expected = "Starting: opening the database and migrating its schema";
    assert!(status.starts_with(expected), "{status}");
    let ping = http::admin(&server.admin_socket(), "GET", "/__ping__", b"");
    assert_eq!((ping.status, ping.header("retry-after")), (503, Some("5")));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a number"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
    notify.set_nonblocking(true).expect("a socket");
    while let Ok(size) = notify.recv(&mut bytes) {
        assert!(!String::from_utf8_lossy(&bytes[..size]).contains("READY=1"), "the server was never ready");
    }
}

#[test]
fn a_second_sigterm_ends_the_server_at_once() {
    let mut server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    // A running upload: the first stop waits for it.
    let _upload = server.begin_upload();
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping: 1 request in progress");
    std::thread::sleep(Duration::from_millis(800));
    server.signal(Signal::SIGTERM);
    // A stop that waited for the upload would exceed the timeout of `wait`, and would exit with code 0.
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn a_notify_socket_that_is_missing_invalid_or_never_read_has_no_effect() {
    let server = Builder::default().prepare();
    let full = UnixDatagram::bind(server.dir().join("full")).expect("a socket");
    let long = "x".repeat(300);
    for path in ["/nonexistent/notify", "@", "", "relative", "garbage\\x00", &long, &full_path(&server)] {
        let mut server = Builder::default().env("NOTIFY_SOCKET", path).start();
        for _ in 0..20 {
            server.rspm_stdout("hup");
        }
        assert_eq!(server.get("/__ping__").status, 200, "{path}");
        let warnings =
            server.log_lines().iter().filter(|line| line.contains("cannot notify systemd")).count();
        assert!(warnings <= 1, "{path}: {:?}", server.log_lines());
        assert_eq!(server.stop().code(), Some(0), "{path}");
    }
    drop(full);
}

fn full_path(server: &Server) -> String {
    server.dir().join("full").display().to_string()
}
