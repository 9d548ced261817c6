//! HTTPS: versions, HTTP/2 by ALPN, HSTS, the redirect, and unusable certificates.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::support::http::{self, Answer};
use crate::support::server::{Builder, Server};

const HTTPS: &str = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";

fn certify(dir: &Path) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("server.crt"), pair.cert.pem()).expect("written");
    std::fs::write(dir.join("server.key"), pair.signing_key.serialize_pem()).expect("written");
    pair.cert.der().clone()
}

fn start(further_lines: &str) -> (Server, CertificateDer<'static>) {
    let mut server = Builder::default().gcfg(HTTPS).gcfg(further_lines).prepare();
    let certificate = certify(server.dir());
    server.launch();
    (server, certificate)
}

/// `127.0.0.1:PORT` of the HTTPS listener.
fn https(server: &Server) -> String {
    let url = server.urls().iter().find(|url| url.starts_with("https://")).expect("an HTTPS listener");
    url["https://".len()..].to_owned()
}

fn client(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn get(host: &str, config: ClientConfig, path: &str) -> std::io::Result<Answer> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, TcpStream::connect(host)?);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    http::try_read(&mut stream, "GET")
}

#[test]
fn tls_1_2_and_1_3_are_accepted_and_hsts_is_sent_when_permanent() {
    let (server, certificate) = start("Permanent = true");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let answer = get(&https(&server), client(&certificate, &[version]), "/__ping__").expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=2592000"));
    }
    let plain = server.get("/__ping__");
    assert_eq!(
        plain.header("strict-transport-security"),
        None,
        "plain HTTP is still served, without the header"
    );
}

#[test]
fn minimum_tls_1_3_refuses_1_2() {
    let (server, certificate) = start("MinimumTLS = 1.3");
    let host = https(&server);
    assert!(get(&host, client(&certificate, &[&rustls::version::TLS12]), "/__ping__").is_err());
    let answer =
        get(&host, client(&certificate, &[&rustls::version::TLS13]), "/__ping__").expect("an answer");
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, None));
}

#[test]
fn older_minimum_versions_act_as_1_2_with_a_warning() {
    for old in ["1.0", "1.1"] {
        let (server, certificate) = start(&format!("MinimumTLS = {old}"));
        assert!(
            server.log_lines().iter().any(|line| line.contains("MinimumTLS")),
            "{:?}",
            server.log_lines()
        );
        let answer = get(&https(&server), client(&certificate, &[&rustls::version::TLS12]), "/__ping__");
        assert_eq!(answer.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn http_2_is_chosen_by_alpn_and_ends_with_goaway() {
    let (mut server, certificate) = start("");
    let mut config = client(&certificate, &[&rustls::version::TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = tokio::net::TcpStream::connect(https(&server)).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let tls =
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake");
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.expect("h2");
    let connection = tokio::spawn(connection);
    let request_for = |path: &str| {
        let uri = format!("https://localhost{path}");
        ::http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).expect("a request")
    };
    // Many concurrent streams on one connection.
    let answers = (0..50).map(|_| sender.send_request(request_for("/__ping__"))).collect::<Vec<_>>();
    for answer in answers {
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "{}");
    }
    for (path, status) in [("/%00", 400), ("/a/..%2f..%2fetc/passwd", 400), ("/nobody/latest/x", 404)] {
        let answer = sender.send_request(request_for(path)).await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
    }
    // The response to HEAD has the headers of the one to GET and no body, which clients refuse as a protocol error.
    for (path, status) in
        [("/__ping__", 200), ("/", 200), ("/__api__/status", 200), ("/unknown/latest/x", 404), ("/%00", 400)]
    {
        let mut lengths = Vec::new();
        for method in [::http::Method::GET, ::http::Method::HEAD] {
            let mut request = request_for(path);
            *request.method_mut() = method.clone();
            let answer = sender.send_request(request).await.expect("an answer");
            assert_eq!(answer.status(), status, "{method} {path}");
            lengths.push(answer.headers()["content-length"].clone());
            let body = answer.into_body().collect().await;
            let body = body.unwrap_or_else(|error| panic!("{method} {path}: {error}")).to_bytes();
            assert_eq!(body.is_empty(), method == ::http::Method::HEAD, "{method} {path}");
        }
        assert_eq!(lengths[0], lengths[1], "{path}");
    }
    let status = tokio::task::spawn_blocking(move || server.stop()).await.expect("no panic");
    assert_eq!(status.code(), Some(0));
    connection.await.expect("no panic").expect("the connection ended by GOAWAY, not by an error");
}

#[test]
fn the_redirect_listener_redirects_to_https_and_injects_nothing() {
    let (server, _) = start("[HTTPRedirect]\nListen = 127.0.0.1:0");
    let redirect = server.urls().last().expect("the redirect listener").clone();
    let answer = http::get(&format!("{redirect}/cran/latest?x=1"));
    assert_eq!(answer.status, 301);
    let location = answer.header("location").expect("a location");
    // HTTPS.Listen has port 0 here, the only case of a port that clients cannot know.
    assert!(
        location.starts_with("https://127.0.0.1") && location.ends_with("/cran/latest?x=1"),
        "{location}"
    );
    assert_eq!(http::request("POST", &format!("{redirect}/x"), &[], b"a=1").status, 308);
    let host = redirect.trim_start_matches("http://");
    for request in [
        "GET /%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET //evil.example/%2e%2e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example/x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@evil.example\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
    ] {
        let answer = http::raw(host, request.as_bytes());
        assert_eq!(answer.header("x-evil"), None, "{request}");
        match answer.header("location") {
            Some(location) => assert!(
                location.starts_with("https://h:") || location.starts_with("https://h/"),
                "{request}: {location}"
            ),
            None => assert_eq!(answer.status, 400, "{request}"),
        }
    }
}

#[test]
fn an_unusable_certificate_ends_the_start_with_the_reason() {
    let server = Builder::default().gcfg(HTTPS).prepare();
    certify(server.dir());
    let other = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(server.dir().join("server.key"), other.serialize_pem()).expect("written");
    let output =
        Command::new(env!("CARGO_BIN_EXE_rstudio-pm")).arg("--config").arg(server.config_file()).output();
    let output = output.expect("rstudio-pm runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("HTTPS listener") && text.contains("does not belong to"), "{text}");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_do_not_affect_others() {
    let (server, certificate) = start("");
    let config = || {
        let mut config = client(&certificate, &[&rustls::version::TLS13]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        tokio_rustls::TlsConnector::from(Arc::new(config))
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let mut reset_count = 0;
    // The server may end such a connection; the attacker connects again.
    for _ in 0..20 {
        let tcp = tokio::net::TcpStream::connect(https(&server)).await.expect("connected");
        let tls = config().connect(name.clone(), tcp).await.expect("a handshake");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.expect("h2");
        let connection = tokio::spawn(connection);
        for _ in 0..500 {
            let request =
                ::http::Request::get("https://localhost/__api__/status").body(Empty::<bytes::Bytes>::new());
            let answer = sender.send_request(request.expect("a request"));
            // Sent, and reset before an answer can arrive.
            if tokio::time::timeout(std::time::Duration::from_micros(50), answer).await.is_err() {
                reset_count += 1;
            }
            if sender.is_closed() {
                break;
            }
        }
        connection.abort();
    }
    assert!(reset_count > 100, "{reset_count} streams were reset");
    let answer = tokio::task::spawn_blocking(move || {
        let answer = get(&https(&server), client(&certificate, &[&rustls::version::TLS13]), "/__ping__");
        (answer.expect("an answer").status, server.get("/__ping__").status)
    });
    assert_eq!(answer.await.expect("no panic"), (200, 200));
}
