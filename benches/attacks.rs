//! Effects of HTTP/2 attacks by a client: response times of other clients, and memory of the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::crypto::ring;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::nginx::free_port;
use super::report::Report;
use super::server::{Server, package};
use super::tls::{roots, write_certificate};

const CONNECTIONS: usize = 64;
const STREAMS: usize = 128;
const FLOOD_CONNECTIONS: usize = 8;
const DURATION: Duration = Duration::from_secs(5);
const PATH: &str = "/bench/latest/src/contrib/mb2_1.0.0.tar.gz";

pub(crate) fn run(report: &mut Report) {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    write_certificate(folder.path());
    let (port, root) = (free_port(), folder.path().display());
    let https = format!(
        "[HTTPS]\nListen = 127.0.0.1:{port}\nCertificate = {root}/server.crt\nKey = {root}/server.key"
    );
    let server = Server::start_in(Arc::clone(&folder), &https);
    server.rspm(&["create", "source", "--name=files"]);
    let path = package(server.path(), "mb2", 2 << 20);
    server.rspm(&["add", "--source=files", &format!("--path={}", path.display())]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=files"]);
    let ping = server.url("/__ping__");
    let host = ping.trim_start_matches("http://").trim_end_matches("/__ping__").to_owned();
    let (address, server_name) =
        (format!("127.0.0.1:{port}"), ServerName::try_from("localhost").expect("a name"));
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(folder.path()))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = || async {
        let socket = tokio::net::TcpStream::connect(&address).await.expect("connected");
        connector.connect(server_name.clone(), socket).await.expect("a handshake")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");

    let idle_memory = server.memory("VmRSS");
    let baseline = latency_of_others(&host, || std::thread::sleep(DURATION));
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let ratio = |time: Duration| format!("{:.1}", time.as_secs_f64() / baseline.as_secs_f64());
    for (name, attack) in [("streams without window", Attack::NoWindow), ("unread sockets", Attack::Unread)] {
        let (mut connections, mut peak) = (Vec::new(), 0.0_f64);
        let latency = latency_of_others(&host, || {
            for _ in 0..CONNECTIONS {
                connections.push(runtime.block_on(async { send_requests(connect().await, attack).await }));
                peak = peak.max(server.memory("VmRSS"));
            }
            let deadline = Instant::now() + DURATION;
            while Instant::now() < deadline {
                peak = peak.max(server.memory("VmRSS"));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        drop(connections);
        std::thread::sleep(DURATION);
        let memory_after = server.memory("VmRSS");
        report.row(
            format!("{CONNECTIONS} × {STREAMS} GETs of 2 MB, {name}: most memory"),
            format!("{peak:.0} MB, {memory_after:.0} MB after"),
            format!("{idle_memory:.0} MB at rest"),
            format!("{:.1}", peak / idle_memory),
            "≤ 150 MB",
        );
        report.row(
            format!("{name}: p99 of others"),
            ms(latency),
            format!("{} without", ms(baseline)),
            ratio(latency),
            "≤ 50 ms",
        );
    }
    for (name, frame) in [
        ("WINDOW_UPDATE", window_update_frame()),
        ("PRIORITY", priority_frame()),
        ("unknown", unknown_frame()),
    ] {
        let latency = latency_of_others(&host, || {
            runtime.block_on(async {
                let floods = (0..FLOOD_CONNECTIONS).map(|_| async { flood(connect, &frame).await });
                futures_util::future::join_all(floods).await;
            });
        });
        let name = format!("{FLOOD_CONNECTIONS} connections flooding {name}: p99 of others");
        report.row(name, ms(latency), format!("{} without", ms(baseline)), ratio(latency), "≤ 50 ms");
    }
}

/// The 99th percentile of another client's response times for a small request during an action.
fn latency_of_others(host: &str, action: impl FnOnce()) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut stream = TcpStream::connect(host).expect("connected");
            stream.set_nodelay(true).expect("an option");
            let (mut latencies, mut buffer) = (Vec::new(), [0; 4096]);
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
                assert!(stream.read(&mut buffer).expect("an answer") > 0, "the server closed the connection");
                latencies.push(start.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            latencies
        });
        action();
        stop.store(true, Ordering::Relaxed);
        let mut latencies = client.join().expect("no panic");
        latencies.sort_unstable();
        latencies[latencies.len() * 99 / 100]
    })
}

/// The method that prevents the server from sending.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Streams without a window.
    NoWindow,
    /// A socket that is not read, with the largest windows.
    Unread,
}

/// A connection with [`STREAMS`] pending requests; closed on drop.
struct PendingRequests {
    _sender: h2::client::SendRequest<Bytes>,
    _responses: Vec<http::Response<h2::RecvStream>>,
    _futures: Vec<h2::client::ResponseFuture>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PendingRequests {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends [`STREAMS`] requests on one connection.
async fn send_requests(stream: TlsStream<tokio::net::TcpStream>, attack: Attack) -> PendingRequests {
    const LARGEST: u32 = (1 << 31) - 1;
    let mut builder = h2::client::Builder::new();
    builder.initial_max_send_streams(STREAMS).initial_connection_window_size(LARGEST);
    builder.initial_window_size(if attack == Attack::Unread { LARGEST } else { 0 });
    let stream = BlockableStream { stream, is_blocked: attack == Attack::Unread };
    let (mut sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
    let task = tokio::spawn(async move { drop(connection.await) });
    let mut futures = Vec::new();
    for _ in 0..STREAMS {
        let request = http::Request::get(format!("https://localhost{PATH}")).body(()).expect("a request");
        futures.push(sender.send_request(request, true).expect("sent").0);
    }
    let mut responses = Vec::new();
    if attack == Attack::NoWindow {
        for response in futures.drain(..) {
            responses.push(response.await.expect("a head"));
        }
    }
    PendingRequests { _sender: sender, _responses: responses, _futures: futures, task }
}

/// A stream whose read side can be blocked.
struct BlockableStream<S> {
    stream: S,
    is_blocked: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for BlockableStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_blocked { Poll::Pending } else { Pin::new(&mut self.stream).poll_read(context, buffer) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BlockableStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Sends a frame for [`DURATION`] as often as the server accepts it; reconnects whenever the server closes the
/// connection.
async fn flood<F: Future<Output = TlsStream<tokio::net::TcpStream>>>(connect: impl Fn() -> F, frame: &[u8]) {
    let deadline = Instant::now() + DURATION;
    let frames = frame.repeat(1000);
    while Instant::now() < deadline {
        let mut stream = connect().await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut is_open = stream.write_all(preface).await.is_ok();
        while is_open && Instant::now() < deadline {
            is_open = matches!(
                tokio::time::timeout(Duration::from_secs(1), stream.write_all(&frames)).await,
                Ok(Ok(()))
            );
        }
        // An attacker would also avoid the cost of frequent handshakes.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A frame WINDOW_UPDATE of the connection.
fn window_update_frame() -> Vec<u8> {
    b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01".to_vec()
}

/// A frame PRIORITY of stream 1.
fn priority_frame() -> Vec<u8> {
    b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10".to_vec()
}

/// A frame of an unknown type with 16 kB.
fn unknown_frame() -> Vec<u8> {
    [&b"\0\x40\0\x63\0\0\0\0\0"[..], &[0; 16 << 10]].concat()
}
