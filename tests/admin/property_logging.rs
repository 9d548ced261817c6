//! `[Logging]`: one test per property, which sets it and checks lines and destinations of the log.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::property_server::text;
use crate::support::fixtures::until;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};

/// A server whose output is in the files `out` and `err` of its directory, and which is killed on drop.
struct RunningServer {
    server: Server,
    child: Child,
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server with `lines` as the only lines of `[Logging]`, and waits until the server answers.
fn run(lines: &str) -> RunningServer {
    let server = Builder::default().prepare();
    let gcfg = text(&server.config_file());
    let lines = lines.replace("{dir}", &server.dir().display().to_string());
    std::fs::write(server.config_file(), gcfg.replace("SystemLog = STDERR", &lines)).expect("written");
    let file = |name: &str| Stdio::from(std::fs::File::create(server.dir().join(name)).expect("a file"));
    let mut command: Command = server.command(env!("CARGO_BIN_EXE_rstudio-pm"));
    let child =
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().expect("it runs");
    let running = RunningServer { server, child };
    until("the server answers", || running.server.dir().join("run/rstudio-pm.pid").exists());
    running
}

impl RunningServer {
    fn read(&self, name: &str) -> String {
        text(&self.server.dir().join(name))
    }
}

#[test]
pub(super) fn system_log_is_written_to_each_destination() {
    for (lines, destinations) in [
        ("SystemLog = STDOUT", vec!["out"]),
        ("SystemLog = STDERR", vec!["err"]),
        ("SystemLog = {dir}/logs/one.log", vec!["logs/one.log"]),
        (
            "SystemLog = STDOUT\nSystemLog = {dir}/one.log\nSystemLog = {dir}/two.log",
            vec!["out", "one.log", "two.log"],
        ),
    ] {
        let running = run(lines);
        for file in &destinations {
            until(lines, || running.read(file).contains("is ready after"));
        }
        for other in ["out", "err"].iter().filter(|name| !destinations.contains(name)) {
            assert_eq!(running.read(other), "", "{lines}: {other}");
        }
    }
}

#[test]
pub(super) fn system_log_level_decides_which_lines_are_written() {
    let lines_at = |level: &str| {
        let port = free_port();
        let lines = format!("SystemLog = {{dir}}/log\nSystemLogLevel = {level}\n[Sever]\n");
        let running = run(&format!("{lines}[HTTP]\nListen = 127.0.0.1:{port}\n"));
        let file = running.server.dir().join("run/rstudio-pm.pid");
        // A client that disconnects inside a request is logged at DEBUG.
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("open until now");
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(running.child.id().try_into().expect("a process id")),
            nix::sys::signal::Signal::SIGTERM,
        );
        until("the server is stopped", || !file.exists());
        let log = running.read("log");
        ["DEBUG", "INFO", "WARN"].map(|level| log.lines().any(|line| line.contains(level)))
    };
    assert_eq!(lines_at("ERROR"), [false, false, false]);
    assert_eq!(lines_at("warn"), [false, false, true]);
    assert_eq!(lines_at("INFO"), [false, true, true]);
    assert_eq!(lines_at("DEBUG"), [true, true, true]);
    assert_eq!(lines_at("TRACE"), [true, true, true]);
}

#[test]
pub(super) fn system_log_format_is_text_or_json() {
    let running = run("SystemLog = {dir}/log\nSystemLogFormat = JSON");
    until("the server is ready", || running.read("log").contains("is ready after"));
    for line in running.read("log").lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(json["msg"].is_string() && json["level"].is_string() && json["time"].is_string(), "{line}");
    }
    let running = run("SystemLog = {dir}/log\nSystemLogFormat = TEXT");
    until("the server is ready", || running.read("log").contains("is ready after"));
    assert!(running.read("log").lines().all(|line| !line.starts_with('{')));
}

/// The numbers and actions of the rows in a copy of the audit trail.
pub(super) fn audit_rows(path: &std::path::Path) -> Vec<(i64, String)> {
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        (row["id"].as_i64().expect("a number"), row["action"].as_str().expect("a text").to_owned())
    };
    text(path).lines().map(row).collect()
}

#[test]
pub(super) fn audit_log_is_a_copy_of_the_audit_trail() {
    let mut server = Builder::default().gcfg("[Logging]\nAuditLog = {dir}/logs/audit.log").start();
    let file = server.dir().join("logs/audit.log");
    until("the file is followed", || {
        server.rspm_stdout("create source --name=first --succeed-on-existing");
        server.rspm_stdout("edit source --name=first --new-name=second");
        server.rspm_stdout("edit source --name=second --new-name=first");
        !audit_rows(&file).is_empty()
    });
    server.rspm_stdout("create source --name=third");
    until("the row is in the file", || text(&file).contains("\"object\":\"third\""));
    // A restart neither repeats nor omits rows.
    server.restart();
    server.rspm_stdout("create source --name=fourth");
    until("the row is in the file", || text(&file).contains("\"object\":\"fourth\""));
    let rows = audit_rows(&file);
    let numbers: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rows:?}");
    let exported = server.rspm_stdout("audit export");
    for line in text(&file).lines() {
        assert!(exported.lines().any(|other| other == line), "{line}\n{exported}");
    }
}

/// True if the log has a debug line of a request for this path.
pub(super) fn has_request(server: &Server, path: &str) -> bool {
    server.log_lines().iter().any(|line| line.contains("DEBUG") && line.contains(path))
}

#[test]
pub(super) fn debug_log_writes_the_debug_events_of_its_regions() {
    let server = Builder::default().gcfg("[Debug]\nLog = Router\nLog = sync").start();
    until("the request is logged", || {
        server.get("/__api__/status?router");
        has_request(&server, "status?router")
    });
    let server = Builder::default().gcfg("[Debug]\nLog = sync").start();
    server.get("/__api__/status?router");
    server.rspm_stdout("config debug logger activate router");
    until("a later request is logged", || {
        server.get("/__api__/status?later");
        has_request(&server, "status?later")
    });
    assert!(!has_request(&server, "status?router"));
}
