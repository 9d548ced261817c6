//! Attacks over HTTP/2: streams that are never read, frames without content, hosts that differ.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::slow::{limits, run};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::tls::Pair;
use rstudio_pm::http::Limits;
use rstudio_pm::http::net::tls::Tls;

pub(super) const HTTPS: &str =
    "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";
/// Streams of a connection: the maximum that the server allows.
pub(super) const STREAMS: usize = 128;
/// Timeout of each wait.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens a TLS connection that offers HTTP/2.
pub(super) async fn connect(address: &str, certificate: CertificateDer<'static>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

/// An HTTP/2 client whose streams have this window in bytes, and a channel that changes the window.
pub(super) async fn client(
    stream: TlsStream<TcpStream>,
    window: u32,
) -> (SendRequest<Bytes>, tokio::sync::mpsc::Sender<u32>) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(16 << 20);
    let (sender, mut connection) = builder.handshake(stream).await.unwrap();
    let (window_sender, mut windows) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut connection => return,
                Some(window) = windows.recv() => connection.set_initial_window_size(window).unwrap(),
            }
        }
    });
    (sender, window_sender)
}

/// Sends a GET request.
pub(super) fn request(sender: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let request = http::Request::get(format!("https://localhost{path}")).body(()).unwrap();
    sender.send_request(request, true).unwrap().0
}

/// A package whose archive is about 2 MB.
fn large_package() -> Tarball {
    let mut state = 88_172_645_463_325_252_u64;
    let mut text = String::new();
    while text.len() < 4 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    Tarball::new("large", "1.0").with("data/noise.txt", &text)
}

/// Resident memory of the server, in bytes.
pub(super) fn memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// The number of open files of the server.
fn files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

#[test]
fn streams_that_are_never_read_take_little_memory_and_few_files() {
    const CONNECTIONS: usize = 12;
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let package = large_package();
    server.local_repository("team", std::slice::from_ref(&package));
    let path = "/team/latest/src/contrib/large_1.0.tar.gz";
    let expected_body = server.get(path).body;
    assert!(expected_body.len() > 3 << 19, "{}", expected_body.len());
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let (memory_before, files_before) = (memory(&server), files(&server));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut sender, window_sender) = client(connect(&address, pair.der()).await, 0).await;
            let answers = join_all((0..STREAMS).map(|_| request(&mut sender, path))).await;
            for answer in &answers {
                let answer = answer.as_ref().unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.headers()["content-length"], expected_body.len().to_string());
            }
            connections.push((sender, window_sender, answers));
        }
        let (memory_now, files_now) = (memory(&server), files(&server));
        let streams = CONNECTIONS * STREAMS;
        assert!(
            memory_now < memory_before + (100 << 20),
            "{streams} streams: {memory_before} bytes before, {memory_now} now"
        );
        assert!(
            files_now < files_before + 256 + 64,
            "{streams} streams: {files_before} files before, {files_now} now"
        );
        assert_eq!(server.get("/__ping__").status, 200);
        assert_eq!(server.admin("GET", "/repos", &serde_json::Value::Null).status, 200);

        // A client that begins to read late gets every byte.
        let (_sender, window_sender, answers) = connections.pop().unwrap();
        let answers: Vec<_> = answers.into_iter().step_by(STREAMS / 4).collect();
        window_sender.send(1 << 20).await.unwrap();
        for answer in answers {
            let mut body = answer.unwrap().into_body();
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece.unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                bytes.extend_from_slice(&piece);
            }
            assert!(bytes == expected_body, "{} bytes of {}", bytes.len(), expected_body.len());
        }
    });
}

/// A browser requests all pictures of a page at the same time and reads them slowly.
#[test]
fn pictures_of_a_slow_client_wait_for_each_other() {
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let picture = [b"GIF89a".as_slice(), &vec![7; 700 << 10]].concat();
    let mut package = Tarball::new("alpha", "1.0").with("README.md", "![](man/figures/a.gif)\n");
    package.files.push(("man/figures/a.gif".to_owned(), picture.clone()));
    server.local_repository("team", &[package]);
    let path = "/team/latest/web/packages/alpha/files/man/figures/a.gif?version=1.0";
    assert_eq!(server.get(path).body, picture);
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut sender, window_sender) = client(connect(&address, pair.der()).await, 0).await;
        let answered = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let requests: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (answer, answered) = (request(&mut sender, path), Arc::clone(&answered));
                tokio::spawn(async move {
                    let answer = answer.await.unwrap();
                    answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let (status, mut body, mut size) = (answer.status().as_u16(), answer.into_body(), 0);
                    while let Some(piece) = body.data().await {
                        let length = piece.unwrap().len();
                        body.flow_control().release_capacity(length).unwrap();
                        size += length;
                    }
                    (status, size)
                })
            })
            .collect();
        // As many as the memory for them holds; no client reads them.
        while answered.load(std::sync::atomic::Ordering::SeqCst) < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Pages of the client do not wait for the pictures.
        assert_eq!(server.get("/team/latest/web/packages/alpha/").status, 200);
        window_sender.send(1 << 20).await.unwrap();
        for request in requests {
            assert_eq!(request.await.unwrap(), (200, picture.len()));
        }
    });
}

#[test]
fn answers_of_the_api_that_are_never_read_are_refused_beyond_a_budget() {
    const BUDGET: usize = 64 << 20;
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let packages: Vec<Tarball> = (0..60)
        .map(|n| {
            Tarball::new(&format!("p{n}"), "1.0").field(&format!("Author: {}", "Name [aut], ".repeat(3000)))
        })
        .collect();
    server.local_repository("team", &packages);
    let path = "/__api__/repos/team/packages";
    let size = server.get(path).body.len();
    let streams = STREAMS;
    assert!(size * streams > 2 * BUDGET, "{size} bytes");
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..streams / STREAMS {
            let (mut sender, window_sender) = client(connect(&address, pair.der()).await, 0).await;
            let answers = join_all((0..STREAMS).map(|_| request(&mut sender, path))).await;
            connections.push((sender, window_sender, answers));
        }
        let answers =
            || connections.iter().flat_map(|(_, _, answers)| answers).map(|answer| answer.as_ref().unwrap());
        let served_count = answers().filter(|answer| answer.status() == 200).count();
        let refused_count = answers().filter(|answer| answer.status() == 503).count();
        assert_eq!(served_count + refused_count, streams);
        // Memory is reserved for each response in preparation, so the last ones may be refused early.
        assert!(
            (BUDGET / 2 / size..=BUDGET / size).contains(&served_count),
            "{served_count} of {size} bytes each"
        );
        assert_eq!(server.get("/__ping__").status, 200);
        let (mut sender, _window_sender) = client(connect(&address, pair.der()).await, 0).await;
        let mut more_answers = Vec::new();
        while more_answers.len() < BUDGET / size {
            let answer = request(&mut sender, path).await.unwrap();
            if answer.status() == 503 {
                break;
            }
            more_answers.push(answer);
        }
        assert!(
            served_count + more_answers.len() <= BUDGET / size,
            "{served_count} and {} of {size} bytes each",
            more_answers.len()
        );
        assert_eq!(server.get(path).status, 503);
        drop(more_answers);
        drop(connections);
        for _ in 0..900 {
            if server.get(path).status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the budget is not released");
    });
}

#[test]
fn chunks_of_a_filter_that_are_not_read_count_against_the_budget() {
    const REQUESTS: usize = 64;
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let names: Vec<String> = (0..4000).map(|n| format!("suggested{n}")).collect();
    let suggests_field = format!("Suggests: {}", names.join(", "));
    let packages: Vec<Tarball> =
        (0..90).map(|n| Tarball::new(&format!("p{n}"), "1.0").field(&suggests_field)).collect();
    server.local_repository("team", &packages);
    // The names of the first chunk do not exist; the second chunk has 4 MB.
    let names: Vec<String> =
        (0..100).map(|n| format!("absent{n}")).chain((0..90).map(|n| format!("p{n}"))).collect();
    let request_body = Bytes::from(serde_json::json!({ "repo": "team", "names": names }).to_string());
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let memory_before = memory(&server);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut sender, _window_sender) = client(connect(&address, pair.der()).await, 16 << 10).await;
        let requests = (0..REQUESTS).map(|_| {
            let request = http::Request::post("https://localhost/__api__/filter/packages").body(()).unwrap();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(request_body.clone(), true).unwrap();
            answer
        });
        let answers = join_all(requests.collect::<Vec<_>>()).await;
        let mut peak = 0;
        let mut bodies = Vec::new();
        let (mut reset_count, mut waiting_count) = (0, 0);
        for answer in answers {
            let mut body = answer.unwrap().into_body();
            let mut bytes = 0;
            // Reads up to the window of the stream, or until the server resets the stream.
            loop {
                peak = peak.max(memory(&server));
                match tokio::time::timeout(Duration::from_secs(60), body.data()).await {
                    Ok(Some(Ok(chunk))) => bytes += chunk.len(),
                    Ok(Some(Err(_))) => break reset_count += 1,
                    Ok(None) => panic!("the whole answer in {bytes} bytes"),
                    Err(_) => break waiting_count += 1,
                }
                if bytes == 16 << 10 {
                    break waiting_count += 1;
                }
            }
            bodies.push(body);
        }
        assert_eq!(reset_count + waiting_count, REQUESTS);
        assert!(reset_count > REQUESTS / 2, "{reset_count} were reset, {waiting_count} wait");
        assert!(
            peak < memory_before + (200 << 20),
            "{memory_before} bytes before, {peak} while {waiting_count} wait"
        );
    });
}

/// A connection that is written to and never read.
struct UnreadStream(TlsStream<TcpStream>);

impl AsyncRead for UnreadStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for UnreadStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Opens connections that request a file on every stream with the largest windows, and never read.
pub(super) async fn request_and_never_read(
    address: &str,
    pair: &Pair,
    path: &str,
    connections: usize,
) -> Vec<(SendRequest<Bytes>, Vec<ResponseFuture>)> {
    const LARGEST: u32 = (1 << 31) - 1;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(LARGEST).initial_connection_window_size(LARGEST);
        builder.initial_max_send_streams(STREAMS);
        let stream = UnreadStream(connect(address, pair.der()).await);
        let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let answers = (0..STREAMS).map(|_| request(&mut sender, path)).collect();
        clients.push((sender, answers));
    }
    clients
}

/// Waits until the memory of a server no longer grows, and asserts that it stays within `growth` of `memory_before`.
pub(super) async fn assert_memory_grows_by_less(server: &Server, memory_before: usize, growth: usize) {
    let (mut peak, mut steady_samples) = (memory(server), 0);
    while steady_samples < 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = memory(server);
        steady_samples = if now > peak + (1 << 20) { 0 } else { steady_samples + 1 };
        peak = peak.max(now);
        assert!(peak < memory_before + growth, "{memory_before} bytes before, {peak} now");
    }
}

#[test]
fn a_socket_that_is_never_read_takes_little_memory_with_any_window() {
    const CONNECTIONS: usize = 12;
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let package = large_package();
    server.local_repository("team", std::slice::from_ref(&package));
    let path = "/team/latest/src/contrib/large_1.0.tar.gz";
    assert_eq!(server.get(path).status, 200);
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let memory_before = memory(&server);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let connections = request_and_never_read(&address, &pair, path, CONNECTIONS).await;
        assert_memory_grows_by_less(&server, memory_before, 128 << 20).await;
        assert_eq!(server.get("/__ping__").status, 200);
        assert_eq!(server.admin("GET", "/repos", &serde_json::Value::Null).status, 200);
        drop(connections);
    });
}

fn run_tls(limits: Limits) -> (super::slow::RunningServer, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.write(dir.path());
    let (certificate, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
    let tls = Tls::open(&certificate, &key, rstudio_pm::config::MinimumTls::Tls12).unwrap();
    (run(limits, Some(&tls)), pair.der())
}

#[test]
fn a_stream_that_is_not_read_is_reset_and_its_connection_stays_open() {
    let (server, certificate) = run_tls(limits());
    let address = server.address.to_string();
    server.runtime.block_on(async {
        let (mut sender, _window_sender) = client(connect(&address, certificate).await, 20_000).await;
        let mut unread_body = request(&mut sender, "/endless").await.unwrap().into_body();
        let error = tokio::time::timeout(EVENT_TIMEOUT, async {
            loop {
                match unread_body.data().await {
                    // The bytes are received, and the window is not updated.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("the answer is endless"),
                }
            }
        });
        assert_eq!(error.await.expect("a reset").reason(), Some(h2::Reason::CANCEL));
        let mut body = request(&mut sender, "/").await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "x");
    });
}

#[test]
fn a_stream_that_is_read_slowly_continues_beside_one_that_is_not_read() {
    const WINDOW: u32 = 20_000;
    let stall_timeout = Duration::from_secs(2);
    let (server, certificate) = run_tls(Limits { stall_timeout, stall_bytes: 4 << 10, ..limits() });
    let address = server.address.to_string();
    server.runtime.block_on(async {
        let (mut sender, _window_sender) = client(connect(&address, certificate).await, WINDOW).await;
        let mut unread_body = request(&mut sender, "/endless").await.unwrap().into_body();
        let mut body = request(&mut sender, "/endless").await.unwrap().into_body();
        let (mut unread_bytes, mut total_pause) = (0, Duration::ZERO);
        let unread_is_reset = async {
            while let Some(Ok(piece)) = unread_body.data().await {
                // The bytes are received, and the window is not updated.
                unread_bytes += piece.len();
            }
        };
        let read_slowly = async {
            // The server waits for the window in each pause, in total far longer than for a client that does not read.
            while total_pause < 2 * stall_timeout {
                let mut bytes = 0;
                while bytes < WINDOW as usize {
                    let piece = body.data().await.expect("the answer is endless").expect("not reset");
                    bytes += piece.len();
                }
                let pause = Duration::from_millis(100);
                tokio::time::sleep(pause).await;
                total_pause += pause;
                body.flow_control().release_capacity(bytes).unwrap();
            }
        };
        let result =
            tokio::time::timeout(EVENT_TIMEOUT, futures_util::future::join(unread_is_reset, read_slowly));
        result.await.expect("the stream that is not read is reset");
        assert_eq!(unread_bytes, WINDOW as usize);
        assert!(
            body.data().await.expect("the answer is endless").is_ok(),
            "the slowly read stream continues"
        );
    });
}

/// An HTTP/2 frame without flags.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, stream];
    bytes.extend_from_slice(payload);
    bytes
}

/// The error codes of GOAWAY frames.
fn goaway_codes(mut bytes: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if head[3] == 7 {
            codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = rest;
    }
    codes
}

#[test]
fn frames_without_content_end_the_connection() {
    let (server, certificate) = run_tls(limits());
    let address = server.address.to_string();
    // Frames WINDOW_UPDATE, PRIORITY, PING and SETTINGS, and frames of an unknown type.
    for (kind, stream, payload) in [
        (8, 0, &[0, 0, 0, 1][..]),
        (2, 1, &[0, 0, 0, 0, 16]),
        (6, 0, &[7; 8]),
        (4, 0, &[]),
        (99, 0, &[0; 100]),
    ] {
        let received_bytes = server.runtime.block_on(async {
            let connection = connect(&address, certificate.clone()).await;
            let (mut reader, mut writer) = tokio::io::split(connection);
            let flood = tokio::spawn(async move {
                writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
                writer.write_all(&frame(4, 0, &[])).await?;
                let frames = frame(kind, stream, payload).repeat(100);
                loop {
                    writer.write_all(&frames).await?;
                }
                #[allow(unreachable_code)]
                Ok::<_, std::io::Error>(())
            });
            let mut bytes = Vec::new();
            let result = tokio::time::timeout(EVENT_TIMEOUT, async {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                    bytes.extend_from_slice(&buffer[..count]);
                }
            });
            result.await.unwrap_or_else(|_| panic!("frames of kind {kind} never end the connection"));
            flood.abort();
            bytes
        });
        // 11 is ENHANCE_YOUR_CALM.
        assert!(
            goaway_codes(&received_bytes).contains(&11),
            "kind {kind}: {:?}",
            goaway_codes(&received_bytes)
        );
    }
    let (mut sender, _window_sender) =
        server.runtime.block_on(async { client(connect(&address, certificate).await, 1 << 16).await });
    server.runtime.block_on(async {
        let answer = request(&mut sender, "/").await.unwrap();
        assert_eq!(answer.status(), 200, "other clients are served");
        assert!(answer.headers().contains_key("date"));
    });
}

#[test]
fn a_host_that_differs_from_the_authority_is_refused() {
    let mut server = Builder::default().gcfg(HTTPS).prepare();
    let pair = Pair::new();
    pair.write(server.dir());
    server.launch();
    let address = server.urls()[1].strip_prefix("https://").unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut sender, _window_sender) = client(connect(&address, pair.der()).await, 1 << 16).await;
        for (host, status) in [(None, 200), (Some("localhost"), 200), (Some("other.example"), 400)] {
            let mut request = http::Request::get("https://localhost/__ping__");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let answer = sender.send_request(request.body(()).unwrap(), true).unwrap().0.await.unwrap();
            assert_eq!(answer.status(), status, "{host:?}");
        }
    });
}
