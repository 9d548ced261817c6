//! `--outbound-proxy`: mirrors over HTTP and HTTPS that are reachable only through a proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::downloader::{assert_complete, command, create_mirror};
use crate::support::listener::Listener;
use crate::support::mirror_dir::MirrorDir;
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::recording_server::RecordingServer;
use crate::support::tls::Pair;
use crate::support::upstream::Upstream;

fn write_mirror(dir: &std::path::Path) -> MirrorDir {
    create_mirror(dir, &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-02-01")])
}

/// Runs `get cran` through a proxy, without the proxy variables of the environment.
fn get(url: &str, destination: &std::path::Path, proxy: &str, variables: &[(&str, &str)]) -> ProcessOutput {
    let destination = destination.to_str().unwrap();
    let mut command =
        command(&["get", "cran", "--base-url", url, "--destination", destination, "--outbound-proxy", proxy]);
    for name in ["NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(name);
    }
    run_to_end(command.envs(variables.iter().copied()))
}

#[test]
fn a_mirror_over_http_is_requested_through_the_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::of(&write_mirror(dir.path()).root);
    let server: SocketAddr = upstream.url().trim_start_matches("http://").parse().unwrap();
    let (proxy, destination) = (RecordingServer::to(server), dir.path().join("bundle"));
    // This host name does not resolve: only the proxy can reach it.
    let url = "http://cran.example.invalid";
    let result = get(url, &destination, &format!("http://team:s3cret@{}", proxy.host()), &[]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert_complete(&destination);
    let heads = proxy.heads();
    for path in ["PACKAGES", "alpha_1.1.tar.gz", "Archive/alpha/alpha_1.0.tar.gz"] {
        let line = format!("GET {url}/src/contrib/{path} HTTP/1.1\r\n");
        assert!(heads.iter().any(|head| head.starts_with(&line)), "{path}: {heads:?}");
    }
    let basic = "proxy-authorization: basic dgvhbtpzm2nyzxq="; // team:s3cret
    assert!(heads.iter().all(|head| head.to_ascii_lowercase().contains(basic)), "{heads:?}");
    // Host and port are sufficient; an unreachable proxy is reported without its password.
    assert_eq!(get(url, &dir.path().join("other"), &proxy.host(), &[]).code, Some(0));
    let result = get(url, &dir.path().join("third"), "http://team:s3cret@no-proxy.example.invalid:1", &[]);
    assert!(result.code == Some(1) && !result.err.contains("s3cret"), "{}", result.err);
}

/// A proxy that opens tunnels to this server for every host name, and the first lines of its requests.
fn tunnel(server: SocketAddr) -> (Listener, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let requests = Arc::clone(&lines);
    let listener = Listener::open(move |client| {
        let (mut client, mut head) = (client, Vec::new());
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let request_line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        requests.lock().unwrap().push(request_line);
        let server = TcpStream::connect(server)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = std::io::copy(&mut { client }, &mut { &server });
                let _ = server.shutdown(Shutdown::Write);
            });
            let _ = std::io::copy(&mut { &server }, &mut { client });
            client.shutdown(Shutdown::Write)
        })
    });
    (listener, lines)
}

#[test]
fn a_mirror_over_https_is_requested_through_a_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let root = write_mirror(dir.path()).root;
    let pair = Pair::new();
    pair.write(dir.path());
    let mirror = RecordingServer::folder_over_tls(&root, pair.server_config());
    let (proxy, lines) = tunnel(mirror.address);
    let (destination, certificate) = (dir.path().join("bundle"), dir.path().join("server.crt"));
    // Nothing listens on this port: only the proxy leads to the mirror.
    let result = get(
        "https://localhost:1",
        &destination,
        &format!("http://{}", proxy.address),
        &[("SSL_CERT_FILE", certificate.to_str().unwrap())],
    );
    assert_eq!(result.code, Some(0), "{}", result.err);
    assert_complete(&destination);
    let lines = lines.lock().unwrap();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line == "CONNECT localhost:1 HTTP/1.1"),
        "{lines:?}"
    );
    assert!(mirror.heads().iter().any(|head| head.starts_with("GET /src/contrib/alpha_1.1.tar.gz ")));
}
