//! HTTP/2 over TLS, and TLS handshakes, relative to nginx with the same certificate, interleaved, the median of five
//! rounds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::nginx::{Nginx, fetch, free_port};
use super::report::{Report, median};
use super::server::Server;
use super::serving::small_mirror;

const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
const INDEX: &str = "/bench/latest/src/contrib/PACKAGES.gz";

/// Requests: description, path, and target.
const LOADS: [(&str, &str, &str); 3] = [
    ("small PACKAGES.gz", INDEX, "≥ 0.9"),
    ("64 kB tarball", "/bench/latest/src/contrib/kb64_1.0.0.tar.gz", "≥ 1.0"),
    ("3 MB tarball", "/bench/latest/src/contrib/mb3_1.0.0.tar.gz", "≥ 1.0"),
];

pub(crate) fn run(report: &mut Report) {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    write_certificate(folder.path());
    let (port, root) = (free_port(), folder.path().display());
    let https = format!(
        "[HTTPS]\nListen = 127.0.0.1:{port}\nCertificate = {root}/server.crt\nKey = {root}/server.key\n[CRAN]\nURL = {}",
        small_mirror()
    );
    let server = Server::start_in(Arc::clone(&folder), &https);
    server.create_repository(&[("kb64", 64 << 10), ("mb3", 3 << 20)]);
    let nginx = Nginx::with_tls(folder.path());
    let (server_host, nginx_host) = (format!("127.0.0.1:{port}"), nginx.tls_host());
    for (number, (label, path, target)) in LOADS.into_iter().enumerate() {
        let copy = server.path().join("copy");
        fetch(&server.url(path), &copy);
        let bytes = std::fs::read(&copy).expect("just fetched");
        let name = format!("file{number}");
        nginx.serve(&name, &bytes);
        let measure_server = || h2load(&format!("https://{server_host}{path}"));
        let measure_nginx = || h2load(&format!("https://{nginx_host}/{name}"));
        let label = format!("HTTP/2 in TLS: {label} ({} bytes), 16 connections of 8 streams", bytes.len());
        compare(report, label, measure_server, measure_nginx, target);
    }
    nginx.serve("small", b"{}");
    let roots = roots(folder.path());
    for (name, is_resumed) in [("full", false), ("resumed", true)] {
        let measure_server = || handshake_rate(&server_host, "/__ping__", &roots, is_resumed);
        let measure_nginx = || handshake_rate(&nginx_host, "/small", &roots, is_resumed);
        compare(report, format!("TLS handshakes, {name}, 2 clients"), measure_server, measure_nginx, "≥ 0.9");
    }
}

/// Measures the server and nginx in turn, and adds a row with the median of the ratios.
fn compare(
    report: &mut Report,
    name: String,
    measure_server: impl Fn() -> f64,
    measure_nginx: impl Fn() -> f64,
    target: &'static str,
) {
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            // The order alternates.
            if round % 2 == 0 {
                let server_rate = measure_server();
                (server_rate, measure_nginx())
            } else {
                let nginx_rate = measure_nginx();
                (measure_server(), nginx_rate)
            }
        })
        .collect();
    let ratio = median(rounds.iter().map(|(server_rate, nginx_rate)| server_rate / nginx_rate).collect());
    let median_of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
    let (server_rate, nginx_rate) = (median_of(|r| r.0), median_of(|r| r.1));
    report.row(
        name,
        format!("{server_rate:.0}/s"),
        format!("nginx {nginx_rate:.0}/s"),
        format!("{ratio:.2}"),
        target,
    );
}

/// Writes `server.crt` and `server.key` for ECDSA with P-256.
pub(crate) fn write_certificate(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("server.crt"), pair.cert.pem()).expect("written");
    std::fs::write(folder.join("server.key"), pair.signing_key.serialize_pem()).expect("written");
}

/// Measures requests per second with h2load; panics if a request fails.
fn h2load(url: &str) -> f64 {
    let output = Command::new("h2load")
        .args(["-t1", "-c16", "-m8", &format!("-D{SECONDS}"), url])
        .output()
        .expect("h2load is installed: make bench");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(" 0 failed, 0 errored, 0 timeout"), "{url}:\n{text}");
    assert!(text.contains(" 0 3xx, 0 4xx, 0 5xx"), "{url}:\n{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("finished in "));
    line.and_then(|line| line.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok())
        .unwrap_or_else(|| panic!("h2load printed no request rate:\n{text}"))
}

/// The certificate of [`write_certificate`] as the only trusted one.
pub(crate) fn roots(folder: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(folder.join("server.crt")).expect("written");
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("a root");
    roots
}

/// Measures connections per second, each with a handshake and a small request, with two concurrent clients.
fn handshake_rate(address: &str, path: &str, roots: &RootCertStore, is_resumed: bool) -> f64 {
    let start = Instant::now();
    let counts = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| connect_repeatedly(address, path, roots.clone(), is_resumed)))
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum::<u32>()
    });
    f64::from(counts) / start.elapsed().as_secs_f64()
}

/// Connects repeatedly for [`SECONDS`]; returns the number of connections.
fn connect_repeatedly(address: &str, path: &str, roots: RootCertStore, is_resumed: bool) -> u32 {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = if is_resumed { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    let config = Arc::new(config);
    let deadline = Instant::now() + Duration::from_secs(SECONDS);
    let mut count = 0;
    while Instant::now() < deadline {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&config), name).expect("a client");
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_nodelay(true).expect("an option");
        let mut stream = StreamOwned::new(connection, socket);
        // In one write: several writes would wait for delayed ACKs, which would dominate the measurement.
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("an answer");
        assert!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response));
        let kind = stream.conn.handshake_kind();
        assert!(!is_resumed || count == 0 || kind == Some(rustls::HandshakeKind::Resumed), "{kind:?}");
        count += 1;
    }
    count
}
