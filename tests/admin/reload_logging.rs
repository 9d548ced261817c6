//! `[Logging]`: each property changed while the server runs.

use std::io::{Read, Write};

use super::property_server::text;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;

#[test]
pub(super) fn system_log_goes_to_its_new_places_from_one_line_to_the_next() {
    let server = Server::start();
    server.hup_applies(
        "[Logging]\nSystemLog = {dir}/logs/one.log",
        &["Logging.SystemLog is 'STDERR, {dir}/logs/one.log' now, was 'STDERR'"],
    );
    let one = server.dir().join("logs/one.log");
    until("the new file has the end of the reload", || text(&one).contains("configuration reloaded"));
    assert!(!text(&one).contains("is ready after"), "what came before is where it was");
    let gcfg = text(&server.config_file()).replace("logs/one.log", "logs/two.log");
    let said = server.hup_with(&gcfg).join("\n");
    assert!(said.contains("configuration reloaded; 1 applied"), "{said}");
    let two = server.dir().join("logs/two.log");
    until("the second file has the second reload", || text(&two).contains("configuration reloaded"));
    assert_eq!(text(&one).matches("configuration reloaded").count(), 1);
    // Every line after the change of place is in one of the files, and once.
    for line in said.lines().filter(|line| line.contains("Logging.SystemLog is")) {
        let words = line.split_once("Logging.").expect("found").1;
        assert_eq!((text(&one) + &text(&two)).matches(words).count(), 1, "{words}");
    }
}

#[test]
pub(super) fn system_log_level_says_which_lines_are_written_from_then_on() {
    let server = Server::start();
    // A client that goes away inside a request is worth a line for those who look closely.
    let leave = || {
        let mut wire = http::connect(server.host());
        wire.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("sent");
        wire.shutdown(std::net::Shutdown::Write).expect("open until now");
        let _ = wire.read_to_end(&mut Vec::new());
    };
    let debug = || server.log_lines().iter().filter(|line| line.contains("DEBUG")).count();
    leave();
    assert_eq!(debug(), 0);
    server.hup_applies(
        "[Logging]\nSystemLogLevel = DEBUG",
        &["Logging.SystemLogLevel is 'DEBUG' now, was 'INFO'"],
    );
    let before = debug();
    leave();
    until("the line is written", || debug() > before);
    let known = server.log_lines().len();
    std::fs::write(
        server.config_file(),
        text(&server.config_file())
            + "[Logging]\nSystemLogLevel = ERROR\n[Server]\nContentTypeSniffing = 1\n",
    )
    .expect("written");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    until("it is applied", || server.get("/__ping__").header("x-content-type-options").is_none());
    leave();
    let said = server.log_lines().split_off(known);
    let quiet = |line: &String| !line.contains("' now, was '") && !line.contains("configuration reloaded");
    assert!(said.iter().all(quiet), "{said:#?}");
}

#[test]
pub(super) fn system_log_format_changes_from_one_line_to_the_next() {
    let server = Server::start();
    let said = server.hup("[Logging]\nSystemLogFormat = JSON");
    let last = said.last().expect("a line");
    let json: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}"));
    assert_eq!(json["msg"], "configuration reloaded; 1 applied");
    let said = server.hup("[Logging]\nSystemLogFormat = TEXT");
    assert!(
        said.last().is_some_and(|line| line.ends_with(" INFO configuration reloaded; 1 applied")),
        "{said:?}"
    );
}
