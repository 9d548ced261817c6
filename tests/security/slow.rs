//! Connections that only cost: who sends nothing, little, or reads nothing is let go, and others are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use rstudio_pm::http::body::Body;
use rstudio_pm::http::listener::Service;
use rstudio_pm::http::request_body::Incoming;
use rstudio_pm::http::response::SiteSettings;
use rstudio_pm::http::tls::Tls;
use rstudio_pm::http::{HttpServer, Limits, Peer};

/// Answers `/endless` with bytes for ever, everything else with one.
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
                // The pause lets the half leave before the fault is known.
                let fault = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err("the upstream died".into())
                };
                let half = futures_util::stream::iter([Ok(Bytes::from_static(b"half"))]);
                Body::stream(half.chain(futures_util::stream::once(fault)).boxed(), Some(8))
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

/// A house on a port of its own, in a runtime that lives as long as the value.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    house: HttpServer,
    pub(super) runtime: tokio::runtime::Runtime,
}

pub(super) fn run(limits: Limits, tls: Option<&Tls>) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = rstudio_pm::config::parse("f", b"", []).expect("the defaults are valid").config;
    let house = HttpServer::new(limits, Arc::new(ArcSwap::from_pointee(SiteSettings::new(&config))));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(house.clone().serve_tcp(listener, tls.cloned(), Simple));
    Running { address, house, runtime }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let wire = TcpStream::connect(self.address).expect("connected");
        wire.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        wire
    }

    fn works(&self) {
        let mut wire = self.connect();
        wire.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
        let mut text = String::new();
        wire.read_to_string(&mut text).expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    }
}

/// How long until the server closes.
fn closes(mut wire: TcpStream) -> Duration {
    let began = Instant::now();
    let mut bytes = [0; 4096];
    loop {
        match wire.read(&mut bytes) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return began.elapsed(),
            Err(error) => panic!("still open after {:?}: {error}", began.elapsed()),
        }
    }
}

#[test]
fn who_sends_nothing_half_a_head_or_half_a_preface_is_let_go() {
    let running = run(limits(), None);
    let first_words: [&[u8]; 5] = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    for bytes in first_words {
        let mut wire = running.connect();
        wire.write_all(bytes).expect("sent");
        let took = closes(wire);
        assert!(took >= Duration::from_millis(300), "{took:?} is too impatient: {bytes:?}");
        assert!(took < Duration::from_secs(5), "{took:?}: {bytes:?}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_does_not_reset_the_clock() {
    let running = run(limits(), None);
    let wire = running.connect();
    let mut writer = wire.try_clone().expect("a second handle");
    let dripping = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a')).take(200) {
            if writer.write_all(&[*byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(40));
        }
        false
    });
    assert!(closes(wire) < Duration::from_secs(5));
    assert!(dripping.join().expect("no panic"), "it was cut off");
}

#[test]
fn a_client_that_stops_reading_is_let_go() {
    let running = run(limits(), None);
    let mut wire = running.connect();
    wire.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    let deadline = Instant::now() + Duration::from_secs(10);
    while running.house.drain().requests() == 0 {
        assert!(Instant::now() < deadline, "the request began");
        std::thread::sleep(Duration::from_millis(5));
    }
    while running.house.drain().requests() > 0 {
        assert!(Instant::now() < deadline, "the stalled answer is still held");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.works();
}

#[test]
fn a_half_open_tls_handshake_is_let_go_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("c"), dir.path().join("k"));
    std::fs::write(&certificate, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    let tls = Tls::open(&certificate, &key, rstudio_pm::config::MinimumTls::Tls12).expect("a pair");
    let running = run(limits(), Some(&tls));
    let mut silent = running.connect();
    silent.write_all(b"\x16\x03\x01\x02\x00").expect("sent");
    assert!(closes(silent) < Duration::from_secs(5));
    let mut junk = running.connect();
    junk.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    assert!(closes(junk) < Duration::from_secs(5), "plain HTTP at the TLS port");
}

/// Connections with an answer under way that nobody reads.
fn busy(running: &Running, count: usize) -> Vec<TcpStream> {
    let wires = (0..count).map(|_| {
        let mut wire = running.connect();
        wire.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        wire.read_exact(&mut [0; 100]).expect("an answer begins");
        wire
    });
    wires.collect()
}

#[test]
fn beyond_the_connection_limit_clients_wait_and_are_served_when_others_leave() {
    let running = run(Limits { connections: 4, ..limits() }, None);
    let busy = busy(&running, 4);
    let began = Instant::now();
    running.works();
    assert!(began.elapsed() >= Duration::from_millis(200), "there was no place at first");
    drop(busy);
}

#[test]
fn idle_connections_give_way_to_new_clients_and_busy_ones_do_not() {
    let patient = Duration::from_secs(300);
    let running =
        run(Limits { connections: 8, head_timeout: patient, stall_timeout: patient, ..limits() }, None);
    let mut busy = busy(&running, 2);
    let first_words: [&[u8]; 4] =
        [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"];
    let idle: Vec<_> = (0..40)
        .map(|i| {
            let mut wire = running.connect();
            wire.write_all(first_words[i % 4]).expect("sent");
            wire
        })
        .collect();
    for _ in 0..8 {
        running.works();
    }
    for wire in &mut busy {
        wire.read_exact(&mut vec![0; 4 << 20]).expect("what is under way goes on");
    }
    drop(idle);
}

#[test]
fn a_thousand_idle_connections_do_not_keep_a_new_client_waiting() {
    let running = run(Limits { head_timeout: Duration::from_secs(30), ..limits() }, None);
    let idle: Vec<_> = (0..1000).map(|_| running.connect()).collect();
    let began = Instant::now();
    running.works();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(idle);
}

#[test]
fn an_answer_that_breaks_is_never_taken_for_whole() {
    let running = run(limits(), None);
    let mut wire = running.connect();
    wire.write_all(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    let mut bytes = Vec::new();
    let _ = wire.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("content-length: 8") && text.ends_with("half"), "cut after what there was: {text}");
}

#[test]
fn a_stop_cuts_what_does_not_end_and_says_so() {
    let running = run(
        Limits {
            drain_timeout: Duration::from_millis(300),
            linger: Duration::from_millis(50),
            stall_timeout: Duration::from_secs(60),
            ..limits()
        },
        None,
    );
    let mut wire = running.connect();
    wire.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    while running.house.drain().requests() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let whole =
        running.runtime.block_on(running.house.drain().stop(running.house.limits(), std::future::ready(())));
    assert!(!whole, "an endless answer was still under way");
}
