//! `[Logging]`: a reload of each property.

use std::io::{Read, Write};

use super::property_logging::{audit_rows, has_request};
use super::property_server::text;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;

#[test]
pub(super) fn system_log_moves_to_its_new_destinations_between_two_lines() {
    let server = Server::start();
    server.hup_applies(
        "[Logging]\nSystemLog = {dir}/logs/one.log",
        &["Logging.SystemLog is 'STDERR, {dir}/logs/one.log' now, was 'STDERR'"],
    );
    let first_log = server.dir().join("logs/one.log");
    until("the new file has the end of the reload", || text(&first_log).contains("configuration reloaded"));
    assert!(!text(&first_log).contains("is ready after"), "earlier lines are not in the new file");
    let gcfg = text(&server.config_file()).replace("logs/one.log", "logs/two.log");
    let output = server.hup_with(&gcfg).join("\n");
    assert!(output.contains("configuration reloaded; 1 applied"), "{output}");
    let second_log = server.dir().join("logs/two.log");
    until("the second file has the second reload", || text(&second_log).contains("configuration reloaded"));
    assert_eq!(text(&first_log).matches("configuration reloaded").count(), 1);
    // Every line after the change is in exactly one of the files, once.
    for line in output.lines().filter(|line| line.contains("Logging.SystemLog is")) {
        let change = line.split_once("Logging.").expect("the change").1;
        assert_eq!((text(&first_log) + &text(&second_log)).matches(change).count(), 1, "{change}");
    }
}

#[test]
pub(super) fn system_log_level_decides_which_of_the_next_lines_are_written() {
    let server = Server::start();
    // A client that disconnects inside a request is logged at DEBUG.
    let disconnect = || {
        let mut stream = http::connect(server.host());
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("the connection is open");
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let debug_count = || server.log_lines().iter().filter(|line| line.contains("DEBUG")).count();
    disconnect();
    assert_eq!(debug_count(), 0);
    server.hup_applies(
        "[Logging]\nSystemLogLevel = DEBUG",
        &["Logging.SystemLogLevel is 'DEBUG' now, was 'INFO'"],
    );
    let before = debug_count();
    disconnect();
    until("the line is written", || debug_count() > before);
    let before = server.log_lines().len();
    std::fs::write(
        server.config_file(),
        text(&server.config_file())
            + "[Logging]\nSystemLogLevel = ERROR\n[Server]\nContentTypeSniffing = 1\n",
    )
    .expect("written");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    until("the reload is applied", || server.get("/__ping__").header("x-content-type-options").is_none());
    disconnect();
    let output = server.log_lines().split_off(before);
    let unrelated_lines =
        |line: &String| !line.contains("' now, was '") && !line.contains("configuration reloaded");
    assert!(output.iter().all(unrelated_lines), "{output:#?}");
}

#[test]
pub(super) fn system_log_format_changes_between_two_lines() {
    let server = Server::start();
    let output = server.hup("[Logging]\nSystemLogFormat = JSON");
    let last_line = output.last().expect("a line");
    let json: serde_json::Value =
        serde_json::from_str(last_line).unwrap_or_else(|e| panic!("{e}: {last_line}"));
    assert_eq!(json["msg"], "configuration reloaded; 1 applied");
    let output = server.hup("[Logging]\nSystemLogFormat = TEXT");
    assert!(
        output.last().is_some_and(|line| line.ends_with(" INFO configuration reloaded; 1 applied")),
        "{output:?}"
    );
}

#[test]
pub(super) fn audit_log_moves_without_losing_a_row() {
    let server = Server::start();
    let (one, two) = (server.dir().join("logs/one.log"), server.dir().join("logs/two.log"));
    let output = server.hup("[Logging]\nAuditLog = {dir}/logs/one.log").join("\n");
    assert!(output.contains("configuration reloaded; 1 applied"), "{output}");
    until("the file is followed", || {
        server.rspm_stdout("create source --name=first --succeed-on-existing");
        server.rspm_stdout("edit source --name=first --new-name=second");
        server.rspm_stdout("edit source --name=second --new-name=first");
        !audit_rows(&one).is_empty()
    });
    let gcfg = text(&server.config_file()).replace("logs/one.log", "logs/two.log");
    server.hup_with(&gcfg);
    server.rspm_stdout("create source --name=last");
    until("the row is in the second file", || text(&two).contains("\"object\":\"last\""));
    let rows = [audit_rows(&one), audit_rows(&two)].concat();
    assert!(rows.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{rows:?}");
}

#[test]
pub(super) fn debug_log_replaces_the_active_regions() {
    let server = Server::start();
    server.rspm_stdout("config debug logger activate git");
    server.hup_applies("[Debug]\nLog = router", &["Debug.Log is 'router' now, was ''"]);
    let active = server.json("config debug logger show");
    assert_eq!(active.as_array().map(Vec::len), Some(1), "{active}");
    assert_eq!(active[0]["name"], "router");
    until("the request is logged", || {
        server.get("/__api__/status?router");
        has_request(&server, "status?router")
    });
    let refusal = server.hup_refused("[Debug]\nLog = rooter");
    assert!(refusal.contains("router"), "{refusal}");
}
