//! `[HTTP]`, `[HTTPS]`, `[HTTPRedirect]`: one test per property, which sets it and checks its effect.

use rustls::version::{TLS12, TLS13};

use crate::support::http;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

const HTTPS: &str = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";

/// Starts a server with HTTPS; returns it, its certificate and key, and `127.0.0.1:PORT` of the listener.
pub(super) fn start(further_lines: &str) -> (Server, Pair, String) {
    let mut server = Builder::default().gcfg(HTTPS).gcfg(further_lines).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let host = server.urls().iter().find_map(|url| url.strip_prefix("https://")).expect("HTTPS").to_owned();
    (server, pair, host)
}

#[test]
pub(super) fn http_listen_is_the_address_that_answers() {
    let port = free_port();
    let server = Builder::default().gcfg(&format!("[HTTP]\nListen = 127.0.0.1:{port}")).start();
    assert_eq!(server.urls(), [format!("http://127.0.0.1:{port}")]);
    assert_eq!(http::get(&format!("http://127.0.0.1:{port}/__ping__")).status, 200);
}

#[test]
pub(super) fn an_empty_http_listen_beside_https_opens_no_plain_listener() {
    let (server, pair, host) = start("[HTTP]\nListen =");
    assert_eq!(server.urls().len(), 1, "{:?}", server.urls());
    assert_eq!(pair.get(&host, &[&TLS13], "/__ping__").expect("an answer").status, 200);
}

#[test]
pub(super) fn https_listen_is_the_address_with_tls() {
    let port = free_port();
    let (server, pair, host) = start(&format!("[HTTPS]\nListen = 127.0.0.1:{port}"));
    assert_eq!(host, format!("127.0.0.1:{port}"));
    assert_eq!(pair.get(&host, &[&TLS13], "/__ping__").expect("an answer").status, 200);
    assert_eq!(server.get("/__ping__").status, 200, "the plain listener still answers");
}

#[test]
pub(super) fn certificate_is_presented_to_clients() {
    let (server, first, host) = start("");
    assert!(first.get(&host, &[&TLS13], "/__ping__").is_ok());
    drop(server);
    let lines = "[HTTPS]\nCertificate = {dir}/new/server.crt\nKey = {dir}/new/server.key";
    let mut server = Builder::default().gcfg(HTTPS).gcfg(lines).prepare();
    std::fs::create_dir(server.dir().join("new")).expect("a directory");
    let second = Pair::new();
    second.write(&server.dir().join("new"));
    server.launch();
    let host = server.urls()[1].strip_prefix("https://").expect("HTTPS").to_owned();
    assert!(second.get(&host, &[&TLS13], "/__ping__").is_ok());
    assert!(
        first.get(&host, &[&TLS13], "/__ping__").is_err(),
        "a client that trusts another certificate is not served"
    );
}

#[test]
pub(super) fn key_is_read_from_that_file() {
    let mut server = Builder::default().gcfg(HTTPS).gcfg("[HTTPS]\nKey = {dir}/private.pem").prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    std::fs::rename(server.dir().join("server.key"), server.dir().join("private.pem")).expect("moved");
    server.launch();
    let host = server.urls()[1].strip_prefix("https://").expect("HTTPS").to_owned();
    assert_eq!(pair.get(&host, &[&TLS13], "/__ping__").expect("an answer").status, 200);
}

#[test]
pub(super) fn permanent_sends_strict_transport_security_over_tls_only() {
    let header = |further_lines: &str| {
        let (server, pair, host) = start(further_lines);
        assert_eq!(server.get("/__ping__").header("strict-transport-security"), None);
        let answer = pair.get(&host, &[&TLS13], "/__ping__").expect("an answer");
        answer.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(header("Permanent = false"), None);
    assert_eq!(header("Permanent = true").as_deref(), Some("max-age=2592000"));
}

#[test]
pub(super) fn minimum_tls_refuses_older_clients() {
    for (minimum, old_client) in [("1.0", true), ("1.1", true), ("1.2", true), ("1.3", false)] {
        let (server, pair, host) = start(&format!("MinimumTLS = {minimum}"));
        assert_eq!(pair.get(&host, &[&TLS12], "/__ping__").is_ok(), old_client, "{minimum}");
        assert_eq!(pair.get(&host, &[&TLS13], "/__ping__").expect("an answer").status, 200, "{minimum}");
        let has_warning =
            server.log_lines().iter().any(|line| line.contains("the oldest version accepted is 1.2"));
        assert_eq!(has_warning, minimum < "1.2", "{minimum}");
    }
}

#[test]
pub(super) fn http_redirect_listen_sends_every_request_to_https() {
    let port = free_port();
    let (server, _, _) = start(&format!("Listen = 127.0.0.1:{port}\n[HTTPRedirect]\nListen = 127.0.0.1:0"));
    let redirect = server.urls().last().expect("a redirect");
    let answer = http::get(&format!("{redirect}/r/latest/src/contrib/PACKAGES.gz?x=1"));
    let location = format!("https://127.0.0.1:{port}/r/latest/src/contrib/PACKAGES.gz?x=1");
    assert!((300..400).contains(&answer.status), "{answer:?}");
    assert_eq!(answer.header("location"), Some(location.as_str()));
}
