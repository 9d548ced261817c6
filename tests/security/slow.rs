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
use rstudio_pm::http::body::Body;
use rstudio_pm::http::handler::Service;
use rstudio_pm::http::request_body::Incoming;
use rstudio_pm::http::site::SiteSettings;
use rstudio_pm::http::tls::Tls;
use rstudio_pm::http::{HttpServer, Limits, Peer};

use crate::support::fixtures::until;

/// Answers `/endless` with endless bytes, `/broken` with a body that fails, every other path with one byte.
#[derive(Clone)]
struct Simple;

impl Service for Simple {
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
                    Err("the upstream died".into())
                };
                let half = futures_util::stream::iter([Ok(Bytes::from_static(b"half"))]);
                Body::stream(half.chain(futures_util::stream::once(failure)).boxed(), Some(8))
            }
            _ => Body::full("x"),
        })
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(400),
        handshake_timeout: Duration::from_millis(400),
        stall_timeout: Duration::from_millis(400),
        ..Limits::default()
    }
}

/// Timeout of an event: far above the limits, and below those that a test sets out of reach.
const LONG: Duration = Duration::from_secs(60);

/// A server on a port of its own, in a runtime that lives as long as the value.
pub(super) struct RunningServer {
    pub(super) address: SocketAddr,
    server: HttpServer,
    pub(super) runtime: tokio::runtime::Runtime,
}

pub(super) fn run(limits: Limits, tls: Option<&Tls>) -> RunningServer {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = rstudio_pm::config::parse("f", b"", []).expect("the defaults are valid").config;
    let server = HttpServer::new(limits, Arc::new(ArcSwap::from_pointee(SiteSettings::new(&config))));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(server.clone().serve_tcp(listener, tls.cloned(), Simple));
    RunningServer { address, server, runtime }
}

impl RunningServer {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(LONG)).expect("a time-out");
        stream
    }

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
    let running = run(limits(), None);
    let first_bytes: [&[u8]; 5] = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    for bytes in first_bytes {
        let start = Instant::now();
        let mut stream = running.connect();
        stream.write_all(bytes).expect("sent");
        wait_for_close(stream);
        let elapsed = start.elapsed();
        assert!(elapsed >= limits().head_timeout, "{elapsed:?} is too early: {bytes:?}");
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_does_not_restart_the_timeout() {
    let running = run(limits(), None);
    let stream = running.connect();
    let mut writer = stream.try_clone().expect("a second handle");
    let slow_writer = std::thread::spawn(move || {
        let start = Instant::now();
        let mut bytes = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a'));
        // Until the connection is closed.
        while writer.write_all(&[*bytes.next().expect("endless")]).is_ok() {
            assert!(start.elapsed() < LONG, "each byte restarts the time limit");
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    slow_writer.join().expect("the connection was closed");
    wait_for_close(stream);
}

#[test]
fn a_client_that_stops_reading_is_disconnected_and_others_are_served_meanwhile() {
    let running = run(Limits { stall_timeout: Duration::from_secs(3), ..limits() }, None);
    let mut stream = running.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    until("the request begins", || running.server.drain().requests() == 1);
    let mut served = 0;
    until("the stalled answer ends", || {
        running.assert_works();
        let is_open = running.server.drain().requests() > 0;
        served += usize::from(is_open);
        !is_open
    });
    assert!(served > 0, "no other client was served before the stalled answer ended");
    running.assert_works();
}

#[test]
fn a_half_open_tls_handshake_and_plain_http_at_the_tls_port_are_disconnected() {
    let dir = tempfile::tempdir().expect("a directory");
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("c"), dir.path().join("k"));
    std::fs::write(&certificate, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    let tls = Tls::open(&certificate, &key, rstudio_pm::config::MinimumTls::Tls12).expect("a pair");
    let running = run(limits(), Some(&tls));
    let mut silent = running.connect();
    silent.write_all(b"\x16\x03\x01\x02\x00").expect("sent");
    wait_for_close(silent);
    let mut junk = running.connect();
    junk.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    wait_for_close(junk);
}

/// Connections with an unfinished answer that is not read.
fn busy_connections(running: &RunningServer, count: usize) -> Vec<TcpStream> {
    let streams = (0..count).map(|_| {
        let mut stream = running.connect();
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        stream.read_exact(&mut [0; 100]).expect("an answer begins");
        stream
    });
    streams.collect()
}

#[test]
fn beyond_the_connection_limit_clients_wait_and_are_served_when_others_leave() {
    let running = run(Limits { connections: 4, ..limits() }, None);
    let start = Instant::now();
    let busy = busy_connections(&running, 4);
    running.assert_works();
    assert!(start.elapsed() >= Duration::from_millis(200), "there was no free connection at first");
    drop(busy);
}

#[test]
fn idle_connections_are_closed_for_new_clients_and_busy_ones_are_not() {
    let long = Duration::from_secs(300);
    let running = run(Limits { connections: 8, head_timeout: long, stall_timeout: long, ..limits() }, None);
    let mut busy = busy_connections(&running, 2);
    let first_bytes: [&[u8]; 4] =
        [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"];
    let idle: Vec<_> = (0..40)
        .map(|i| {
            let mut stream = running.connect();
            stream.write_all(first_bytes[i % 4]).expect("sent");
            stream
        })
        .collect();
    for _ in 0..8 {
        running.assert_works();
    }
    for stream in &mut busy {
        stream.read_exact(&mut vec![0; 4 << 20]).expect("the running answer continues");
    }
    drop(idle);
}

#[test]
fn a_thousand_idle_connections_do_not_delay_a_new_client() {
    // The new client would give up before an idle connection is closed.
    let running = run(Limits { head_timeout: 10 * LONG, ..limits() }, None);
    let idle: Vec<_> = (0..1000).map(|_| running.connect()).collect();
    running.assert_works();
    for mut stream in idle {
        stream.set_nonblocking(true).expect("a socket");
        let result = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(result, Err(ErrorKind::WouldBlock), "the idle connections are still open");
    }
}

#[test]
fn an_answer_that_fails_is_never_complete() {
    let running = run(limits(), None);
    let mut stream = running.connect();
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
    let running = run(
        Limits {
            drain_timeout: Duration::from_millis(300),
            linger: Duration::from_millis(50),
            stall_timeout: Duration::from_secs(60),
            ..limits()
        },
        None,
    );
    let mut stream = running.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    until("the request begins", || running.server.drain().requests() == 1);
    let complete = running
        .runtime
        .block_on(running.server.drain().stop(running.server.limits(), std::future::ready(())));
    assert!(!complete, "an endless answer was still running");
}
