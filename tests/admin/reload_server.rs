//! `[Server]`: a reload of each reloadable property.

use std::sync::atomic::{AtomicBool, Ordering};

use super::property_server::{
    AGENT, FORWARDED, OTHER_ADDRESS, address_through_a_proxy, all_have_agent, open_connection_count,
    server_on_other_address, server_with_a_shadowed_name, server_with_recorded_mirror,
    status_of_the_shadowed_file, stop_with_delay, text,
};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::rerun;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

#[test]
pub(super) fn address_changes_the_prefix() {
    let server = Server::start();
    assert_eq!(server.get("/rspm/__ping__").status, 404);
    server.hup_applies(
        "[Server]\nAddress = https://pm.example.org/rspm",
        &["Server.Address is 'https://pm.example.org/rspm' now, was ''"],
    );
    assert_eq!(server.get("/rspm/__ping__").status, 200);
    server.repository("r", "cran");
    let url = server.call("GET", "/repos/r", &serde_json::Value::Null)["url"].clone();
    assert_eq!(url, "https://pm.example.org/rspm/r/latest");
}

#[test]
pub(super) fn contact_applies_to_the_next_requests() {
    let (server, mirror, _folder) = server_with_recorded_mirror("");
    server.sync().expect("a mirror");
    let before = mirror.heads();
    assert!(all_have_agent(&before, AGENT), "{before:?}");
    server.hup_applies(
        "[Server]\nContact = packages@example.org",
        &["Server.Contact is 'packages@example.org' now, was ''"],
    );
    server.sync().expect("a mirror");
    let heads = mirror.heads();
    let after = &heads[before.len()..];
    assert!(all_have_agent(after, &format!("{AGENT} (packages@example.org)")), "{after:?}");
}

#[test]
pub(super) fn trusted_proxy_applies_to_the_next_requests() {
    let server = Builder::default().gcfg("[Server]\nTrustedProxy = 192.0.2.0/24").start();
    server.repository("r", "cran");
    assert_eq!(address_through_a_proxy(&server, &FORWARDED), server.url(""));
    server.hup_applies(
        "[Server]\nTrustedProxy = 127.0.0.1",
        &["Server.TrustedProxy is '192.0.2.0/24, 127.0.0.1' now"],
    );
    assert_eq!(address_through_a_proxy(&server, &FORWARDED), "https://pm.example.org");
}

#[test]
pub(super) fn connections_per_address_limits_the_next_connections() {
    if rerun::with_addresses(&[OTHER_ADDRESS]) {
        return;
    }
    let server = server_on_other_address("ConnectionsPerAddress = 4");
    assert_eq!(open_connection_count(&server), 4);
    until("the connections above the limit are closed", || open_connection_count(&server) == 4);
    server.hup_applies(
        "[Server]\nConnectionsPerAddress = 7",
        &["Server.ConnectionsPerAddress is '7' now, was '4'"],
    );
    until("the limit is in force", || open_connection_count(&server) == 7);
}

/// Moves a log five times while a client sends requests; `path` of a request and `mark` in its line contain its
/// number. Each request is logged once.
fn move_log(
    server: &Server,
    property: &str,
    first: &str,
    path: impl Fn(usize) -> String + Sync,
    mark: impl Fn(usize) -> String,
) {
    let stop = AtomicBool::new(false);
    let request_count = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut request_count = 0;
            while !stop.load(Ordering::Acquire) {
                server.get(&path(request_count));
                request_count += 1;
            }
            request_count
        });
        for n in 0..5 {
            server.hup_applies(
                &format!("[Server]\n{property} = {{dir}}/moved/{n}.log"),
                &[&format!("Server.{property} is '{{dir}}/moved/{n}.log' now")],
            );
        }
        stop.store(true, Ordering::Release);
        client.join().expect("every request is answered")
    });
    let dir = server.dir();
    let logs = || {
        let first = text(&dir.join(first));
        (0..5).fold(first, |log, n| log + &text(&dir.join(format!("moved/{n}.log"))))
    };
    until("the last line is written", || logs().contains(&mark(request_count - 1)));
    let text_of_logs = logs();
    for n in 0..request_count {
        assert_eq!(text_of_logs.matches(&mark(n)).count(), 1, "request {n} of {request_count}");
    }
}

#[test]
pub(super) fn access_log_moves_without_losing_a_line() {
    let path = |n| format!("/__ping__?n={n}.");
    move_log(&Server::start(), "AccessLog", "access.log", path, |n| format!("?n={n}. "));
}

#[test]
pub(super) fn service_log_moves_without_losing_a_line() {
    let server = Builder::default().gcfg("[Server]\nServiceLog = {dir}/service.log").start();
    server.local_repository("team", &[]);
    let path = |n| format!("/team/latest/src/contrib/alpha_{n}.tar.gz");
    move_log(&server, "ServiceLog", "service.log", path, |n| format!("\"version\":\"{n}\""));
}

#[test]
pub(super) fn access_log_format_changes_between_two_lines() {
    let server = Server::start();
    let request = || http::request("GET", &server.url("/__ping__"), &[("User-Agent", "the-agent")], b"");
    request();
    server.hup_applies(
        "[Server]\nAccessLogFormat = common",
        &["Server.AccessLogFormat is 'common' now, was 'combined'"],
    );
    request();
    let file = server.dir().join("access.log");
    until("both requests are in the log", || text(&file).matches('\n').count() == 2);
    let log = text(&file);
    let has_agent: Vec<bool> = log.lines().map(|line| line.ends_with("\"the-agent\"")).collect();
    assert_eq!(has_agent, [true, false], "{log}");
}

#[test]
pub(super) fn package_rewrite_compression_level_changes_the_next_package() {
    let code =
        (0..4000).fold(String::new(), |code, n| code + &format!("f{n} <- function(x) x + {}\n", n * n));
    let server = Server::start();
    let size = |name: &str| server.store("local", &Tarball::new(name, "1.0").with("R/code.R", &code));
    let default_size = size("alpha");
    server.hup_applies(
        "[Server]\nPackageRewriteCompressionLevel = 1",
        &["Server.PackageRewriteCompressionLevel is '1' now, was '6'"],
    );
    let fast_size = size("beta");
    assert!(fast_size > default_size, "{fast_size} {default_size}");
}

#[test]
pub(super) fn package_rewrite_buffer_size_changes_the_next_package() {
    let server = Server::start();
    let calls = |name: &str| super::property_server::writes_of_an_add(&server, name);
    let calls_of_alpha = calls("alpha");
    server.hup_applies(
        "[Server]\nPackageRewriteBufferSize = 1MB",
        &["Server.PackageRewriteBufferSize is '1MB' now, was '32KB'"],
    );
    let calls_of_beta = calls("beta");
    assert!(calls_of_alpha > calls_of_beta + 40, "{calls_of_alpha} and {calls_of_beta} writes");
}

#[test]
pub(super) fn content_type_sniffing_removes_the_header() {
    let server = Server::start();
    assert_eq!(server.get("/__ping__").header("x-content-type-options"), Some("nosniff"));
    server.hup_applies(
        "[Server]\nContentTypeSniffing = yes",
        &["Server.ContentTypeSniffing is 'yes' now, was 'false'"],
    );
    assert_eq!(server.get("/__ping__").header("x-content-type-options"), None);
}

#[test]
fn an_access_log_that_cannot_be_opened_changes_nothing() {
    let server = Server::start();
    std::fs::write(server.dir().join("file"), "").expect("written");
    let output = server.hup_refused("[Server]\nContentTypeSniffing = yes\nAccessLog = {dir}/file/access.log");
    assert!(output.contains("cannot open the log file") && output.contains("/file/access.log"), "{output}");
    assert_eq!(server.get("/__ping__?old").header("x-content-type-options"), Some("nosniff"));
    until("the old log is still written", || {
        text(&server.dir().join("access.log")).contains("/__ping__?old")
    });
}

#[test]
pub(super) fn drain_delay_applies_to_the_next_stop() {
    let server = Server::start();
    server.hup_applies("[Server]\nDrainDelay = 8s", &["Server.DrainDelay is '8s' now, was '0s'"]);
    stop_with_delay(server);
}

#[test]
pub(super) fn automatic_name_guard_applies_to_the_next_requests() {
    let server = server_with_a_shadowed_name("");
    assert_eq!(status_of_the_shadowed_file(&server), 403);
    server.hup_applies(
        "[Server]\nAutomaticNameGuard = no",
        &["Server.AutomaticNameGuard is 'no' now, was 'true'"],
    );
    assert_eq!(status_of_the_shadowed_file(&server), 200);
}
