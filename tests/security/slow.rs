//! Connections that only consume resources: a client that sends nothing, sends slowly or reads nothing is disconnected,
//! and others are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use rstudio_pm::http::net::Service;
use rstudio_pm::http::net::body::Body;
use rstudio_pm::http::net::request_body::Incoming;
use rstudio_pm::http::net::tls::Tls;
use rstudio_pm::http::site::SiteSettings;
use rstudio_pm::http::{HttpServer, Limits, Peer};

use crate::support::fixtures::until;

/// Answers `/endless` with endless bytes, `/large` with many in memory, `/broken` with a body that fails, every other path
/// with one byte.
#[derive(Clone)]
struct TestService;

impl Service for TestService {
    async fn handle(&self, _: Peer, request: Request<Incoming>) -> Response<Body> {
        Response::new(match request.uri().path() {
            "/endless" => {
                let piece = Bytes::from(vec![0; 64 << 10]);
                Body::stream(futures_util::stream::repeat_with(move || Ok(piece.clone())).boxed(), None)
            }
            "/broken" => {
                // The pause lets the half be sent before the error occurs.
                let failure = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err("the test body fails".into())
                };
                let first_bytes = futures_util::stream::iter([Ok(Bytes::from_static(b"half"))]);
                Body::stream(first_bytes.chain(futures_util::stream::once(failure)).boxed(), Some(8))
            }
            "/large" => Body::full(vec![0; LARGE]),
            _ => Body::full("x"),
        })
    }
}

/// Bytes of `/large`: more than the buffers of the sockets.
const LARGE: usize = 48 << 20;

/// Limits that are short enough for tests.
pub(super) fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(1500),
        handshake_timeout: Duration::from_millis(1500),
        stall_timeout: Duration::from_millis(1500),
        ..Limits::default()
    }
}

/// Timeout of each wait: far above the limits of [`limits`], and far below those that a test must not reach.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A server on a separate port, in a runtime that lives as long as the value.
pub(super) struct RunningServer {
    pub(super) address: SocketAddr,
    http: HttpServer,
    pub(super) runtime: tokio::runtime::Runtime,
}

/// Starts a server with [`TestService`].
pub(super) fn run(limits: Limits, tls: Option<&Tls>) -> RunningServer {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = rstudio_pm::config::parse("f", b"", []).expect("the defaults are valid").config;
    let server = HttpServer::new(limits, Arc::new(ArcSwap::from_pointee(SiteSettings::new(&config))));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(server.clone().serve_tcp(listener, tls.cloned(), TestService));
    RunningServer { address, http: server, runtime }
}

impl RunningServer {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a timeout");
        stream
    }

    /// Asserts that a new connection gets an answer.
    fn assert_works(&self) {
        let mut stream = self.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    }
}

/// Waits until the server closes the connection.
fn wait_for_close(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the connection is still open: {error}"),
        }
    }
}

#[test]
fn a_client_that_sends_nothing_half_a_head_or_half_a_preface_is_disconnected() {
    let server = run(limits(), None);
    let first_bytes: [&[u8]; 5] = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    for bytes in first_bytes {
        let start = Instant::now();
        let mut stream = server.connect();
        stream.write_all(bytes).expect("sent");
        wait_for_close(stream);
        let elapsed = start.elapsed();
        assert!(elapsed >= limits().head_timeout, "{elapsed:?} is too early: {bytes:?}");
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_does_not_restart_the_timeout() {
    let server = run(limits(), None);
    let stream = server.connect();
    let mut writer = stream.try_clone().expect("a second handle");
    let slow_writer = std::thread::spawn(move || {
        let start = Instant::now();
        let mut bytes = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a'));
        // Until the connection is closed.
        while writer.write_all(&[*bytes.next().expect("endless")]).is_ok() {
            assert!(start.elapsed() < EVENT_TIMEOUT, "each byte restarts the time limit");
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    slow_writer.join().expect("the connection was closed");
    wait_for_close(stream);
}

#[test]
fn a_client_that_stops_reading_is_disconnected_and_others_are_served_meanwhile() {
    let server = run(Limits { stall_timeout: Duration::from_secs(3), ..limits() }, None);
    let mut stream = server.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    until("the request begins", || server.http.drain().requests() == 1);
    let mut served_count = 0;
    until("the stalled answer ends", || {
        server.assert_works();
        let is_open = server.http.drain().requests() > 0;
        served_count += usize::from(is_open);
        !is_open
    });
    assert!(served_count > 0, "no other client was served before the stalled answer ended");
    server.assert_works();
}

#[test]
fn a_client_that_reads_the_end_of_an_answer_late_gets_all_of_it() {
    let server = run(Limits { stall_timeout: EVENT_TIMEOUT, ..limits() }, None);
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    // The answer has ended for the service, and waits for the client.
    until("the request ends", || server.http.drain().requests() == 0);
    std::thread::sleep(2 * limits().head_timeout);
    stream.read_exact(&mut vec![0; LARGE]).expect("the rest of the answer");
}

#[test]
fn a_half_open_tls_handshake_and_plain_http_at_the_tls_port_are_disconnected() {
    let dir = tempfile::tempdir().expect("a directory");
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("c"), dir.path().join("k"));
    std::fs::write(&certificate, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    let tls = Tls::open(&certificate, &key, rstudio_pm::config::MinimumTls::Tls12).expect("a pair");
    let server = run(limits(), Some(&tls));
    let mut half_handshake = server.connect();
    half_handshake.write_all(b"\x16\x03\x01\x02\x00").expect("sent");
    wait_for_close(half_handshake);
    let mut http_stream = server.connect();
    http_stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    wait_for_close(http_stream);
}

/// Opens connections with an unfinished answer that is not read.
fn busy_connections(server: &RunningServer, count: usize) -> Vec<TcpStream> {
    let streams = (0..count).map(|_| {
        let mut stream = server.connect();
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        stream.read_exact(&mut [0; 100]).expect("an answer begins");
        stream
    });
    streams.collect()
}

#[test]
fn beyond_the_connection_limit_clients_wait_and_are_served_when_others_leave() {
    let server = run(Limits { connections: 4, ..limits() }, None);
    let start = Instant::now();
    let busy_streams = busy_connections(&server, 4);
    server.assert_works();
    assert!(start.elapsed() >= Duration::from_millis(200), "there was no free connection at first");
    drop(busy_streams);
}

#[test]
fn idle_connections_are_closed_for_new_clients_and_busy_ones_are_not() {
    let timeout = Duration::from_secs(300);
    let server =
        run(Limits { connections: 8, head_timeout: timeout, stall_timeout: timeout, ..limits() }, None);
    let mut busy_streams = busy_connections(&server, 2);
    let first_bytes: [&[u8]; 4] =
        [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"];
    let idle_streams: Vec<_> = (0..40)
        .map(|i| {
            let mut stream = server.connect();
            stream.write_all(first_bytes[i % 4]).expect("sent");
            stream
        })
        .collect();
    for _ in 0..8 {
        server.assert_works();
    }
    for stream in &mut busy_streams {
        stream.read_exact(&mut vec![0; 4 << 20]).expect("the running answer continues");
    }
    drop(idle_streams);
}

#[test]
fn a_thousand_idle_connections_do_not_delay_a_new_client() {
    // The new client would give up before an idle connection is closed.
    let server = run(Limits { head_timeout: 10 * EVENT_TIMEOUT, ..limits() }, None);
    let idle_streams: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    server.assert_works();
    for mut stream in idle_streams {
        stream.set_nonblocking(true).expect("a socket");
        let result = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(result, Err(ErrorKind::WouldBlock), "the idle connections are still open");
    }
}

#[test]
fn an_answer_that_fails_is_never_complete() {
    let server = run(limits(), None);
    let mut stream = server.connect();
    stream.write_all(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("content-length: 8") && text.ends_with("half"),
        "cut after the bytes available: {text}"
    );
}

#[test]
fn a_stop_cuts_an_endless_answer_and_reports_it() {
    let server = run(
        Limits {
            drain_timeout: Duration::from_millis(300),
            linger: Duration::from_millis(50),
            stall_timeout: Duration::from_secs(60),
            ..limits()
        },
        None,
    );
    let mut stream = server.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    until("the request begins", || server.http.drain().requests() == 1);
    let is_complete =
        server.runtime.block_on(server.http.drain().stop(server.http.limits(), std::future::ready(())));
    assert!(!is_complete, "an endless answer was still running");
}
