//! `[HTTPS]`: a reload of each reloadable property.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::property_listen::start;
use crate::support::http;
use crate::support::tls::Pair;

/// Opens a connection as a client that trusts `pair`.
fn connect(pair: &Pair, host: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.der()).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, TcpStream::connect(host).expect("it listens"))
}

fn send_request(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> http::Answer {
    stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    http::try_read(stream, "GET").expect("an answer")
}

fn is_served(pair: &Pair, host: &str) -> bool {
    pair.get(host, &[&TLS13], "/__ping__").is_ok_and(|answer| answer.status == 200)
}

#[test]
pub(super) fn certificate_is_used_for_new_connections() {
    let (server, first, host) = start("");
    let mut connection = connect(&first, &host);
    assert_eq!(send_request(&mut connection).status, 200);
    let second = Pair::new();
    std::fs::create_dir(server.dir().join("new")).expect("a directory");
    second.write(&server.dir().join("new"));
    server.hup_applies(
        "[HTTPS]\nCertificate = {dir}/new/server.crt\nKey = {dir}/new/server.key",
        &["HTTPS.Certificate is '{dir}/new/server.crt' now", "HTTPS.Key is '{dir}/new/server.key' now"],
    );
    assert!(is_served(&second, &host) && !is_served(&first, &host));
    assert_eq!(send_request(&mut connection).status, 200, "open connections continue");
}

#[test]
fn a_certificate_that_was_renewed_in_place_is_read_again() {
    let (server, first, host) = start("");
    let second = Pair::new();
    second.write(server.dir());
    server.hup_applies("", &["HTTPS.Certificate is '{dir}/server.crt, SHA-256 "]);
    server.hup_applies("", &[]);
    assert!(is_served(&second, &host) && !is_served(&first, &host));
}

#[test]
pub(super) fn key_is_read_from_another_file() {
    let (server, first, host) = start("");
    let second = Pair::new();
    // The old file still contains the old key, which does not match the new certificate.
    std::fs::write(server.dir().join("server.crt"), &second.certificate).expect("written");
    std::fs::write(server.dir().join("private.pem"), &second.key).expect("written");
    server.hup_applies(
        "[HTTPS]\nKey = {dir}/private.pem",
        &[
            "HTTPS.Key is '{dir}/private.pem' now, was '{dir}/server.key'",
            "HTTPS.Certificate is '{dir}/server.crt, SHA-256 ",
        ],
    );
    assert!(is_served(&second, &host) && !is_served(&first, &host));
}

#[test]
pub(super) fn permanent_sends_the_header() {
    let (server, pair, host) = start("");
    let header = || {
        let answer = pair.get(&host, &[&TLS13], "/__ping__").expect("an answer");
        answer.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(header(), None);
    server.hup_applies("[HTTPS]\nPermanent = true", &["HTTPS.Permanent is 'true' now, was 'false'"]);
    assert_eq!(header().as_deref(), Some("max-age=2592000"));
}

#[test]
pub(super) fn minimum_tls_refuses_older_clients_on_new_connections() {
    let (server, pair, host) = start("");
    assert!(pair.get(&host, &[&TLS12], "/__ping__").is_ok());
    server.hup_applies("[HTTPS]\nMinimumTLS = 1.3", &["HTTPS.MinimumTLS is '1.3' now, was '1.2'"]);
    assert!(pair.get(&host, &[&TLS12], "/__ping__").is_err());
    assert!(is_served(&pair, &host));
}

#[test]
fn a_reload_with_an_invalid_certificate_changes_nothing() {
    let expired_pair = Pair::expired();
    let other_pair = Pair::new();
    for (certificate, key, reason) in [
        ("hello", expired_pair.key.as_str(), "contains no '-----BEGIN CERTIFICATE-----'"),
        (expired_pair.certificate.as_str(), expired_pair.key.as_str(), "has expired"),
        (
            other_pair.certificate.as_str(),
            expired_pair.key.as_str(),
            "does not belong to the first certificate",
        ),
    ] {
        let (server, pair, host) = start("");
        std::fs::write(server.dir().join("bad.crt"), certificate).expect("written");
        std::fs::write(server.dir().join("bad.key"), key).expect("written");
        let output = server.hup_refused(
            "[HTTPS]\nCertificate = {dir}/bad.crt\nKey = {dir}/bad.key\nPermanent = true\n\
             [Server]\nContentTypeSniffing = true\nAccessLog = {dir}/other.log",
        );
        assert!(output.contains(reason) && output.contains("Nothing was changed."), "{reason}: {output}");
        let answer = pair.get(&host, &[&TLS13], "/__ping__").expect("the old certificate serves");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("strict-transport-security"), None);
    }
}
