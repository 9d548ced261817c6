//! A load generator: every refused, lost or wrong answer is a failure with a description.

mod h1;
mod h2;
pub(crate) mod packages;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// Protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/1.1 inside TLS.
    Http1OverTls,
    /// HTTP/2 inside TLS.
    Http2,
}

/// A file that a client requests repeatedly, with its expected digest.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedFile {
    pub(crate) path: String,
    pub(crate) sha256: String,
    /// Limit in bytes per second; `None` for no limit.
    pub(crate) rate: Option<u64>,
    /// Whether the time to its first byte is measured.
    pub(crate) is_small: bool,
}

impl ExpectedFile {
    /// Expects this body at `path`.
    pub(crate) fn new(path: &str, bytes: &[u8]) -> ExpectedFile {
        let sha256 = hex::encode(Sha256::digest(bytes));
        ExpectedFile { path: path.to_owned(), sha256, rate: None, is_small: bytes.len() < 10_000 }
    }

    /// Limits the rate, in bytes per second.
    pub(crate) fn with_rate(mut self, rate: u64) -> ExpectedFile {
        self.rate = Some(rate);
        self
    }
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) protocol: Protocol,
    /// Uses one connection until the server announces its end, otherwise a new one for each request.
    pub(crate) keep_alive: bool,
    pub(crate) file: ExpectedFile,
    /// Time between an answer and the next request.
    pub(crate) pause: Duration,
    /// Whether `pause` is the time between the starts of two requests, so that the clients have a common rate as long
    /// as each answer arrives within it. A late request does not move the following ones.
    pub(crate) is_paced: bool,
}

/// Addresses and certificate of the server.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) certificate: CertificateDer<'static>,
}

/// The results of a load.
#[derive(Debug)]
pub(crate) struct LoadReport {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// Idle connections that the server closed before the client's next request.
    pub(crate) idle_closes: u64,
    pub(crate) failures: Vec<String>,
    /// The longest times to the first byte of a small answer, including the time to connect; longest first.
    pub(crate) first_byte_times: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl LoadReport {
    /// Panics with the first 20 failures if a request failed.
    pub(crate) fn assert_none_failed(&self) {
        let (failed_count, examples) =
            (self.failures.len(), self.failures.iter().take(20).cloned().collect::<Vec<_>>());
        assert!(
            failed_count == 0,
            "{failed_count} of {} requests failed:\n{}",
            self.requests,
            examples.join("\n")
        );
    }

    /// The results as one line of text.
    pub(crate) fn line(&self) -> String {
        let first_byte_times: Vec<u128> =
            self.first_byte_times.iter().take(5).map(Duration::as_millis).collect();
        format!(
            "{} requests ({:.0}/s), {} MB in {:.1} s, {} failed, {} idle connections ended; longest waits for a small answer {first_byte_times:?} ms",
            self.requests,
            self.requests as f64 / self.elapsed.as_secs_f64(),
            self.bytes / 1_000_000,
            self.elapsed.as_secs_f64(),
            self.failures.len(),
            self.idle_closes,
        )
    }
}

/// A running load.
pub(crate) struct Load {
    counters: Arc<Counters>,
    thread: std::thread::JoinHandle<()>,
    start_time: Instant,
}

#[derive(Default)]
struct Counters {
    is_stopping: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
    slow_downloads: AtomicUsize,
    slow_bytes: AtomicU64,
    idle_closes: AtomicU64,
    failures: Mutex<Vec<String>>,
    first_byte_times: Mutex<Vec<Duration>>,
    /// Start of the load; the times in failures are counted from it.
    start_time: Mutex<Option<Instant>>,
}

/// A complete answer.
struct Response {
    first_byte: Instant,
    bytes: u64,
    sha256: String,
    /// Whether the server announced the end of the connection.
    announces_close: bool,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(target: Target, clients: Vec<Client>) -> Load {
        let counters = Arc::new(Counters::default());
        let start_time = Instant::now();
        *counters.start_time.lock().expect("no panic holds it") = Some(start_time);
        let thread_counters = Arc::clone(&counters);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let tasks: Vec<_> = clients
                    .into_iter()
                    .enumerate()
                    .map(|(i, client)| {
                        tokio::spawn(run_client(i, target.clone(), client, Arc::clone(&thread_counters)))
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("a client does not panic");
                }
            });
        });
        Load { counters, thread, start_time }
    }

    /// Number of answered requests.
    pub(crate) fn response_count(&self) -> u64 {
        self.counters.requests.load(Ordering::Acquire)
    }

    /// Bytes of downloads with a rate.
    pub(crate) fn slow_bytes(&self) -> u64 {
        self.counters.slow_bytes.load(Ordering::Acquire)
    }

    /// Lets every client stop after its current request.
    pub(crate) fn request_stop(&self) {
        self.counters.is_stopping.store(true, Ordering::Release);
    }

    /// Number of current downloads with a rate.
    pub(crate) fn slow_downloads(&self) -> usize {
        self.counters.slow_downloads.load(Ordering::Acquire)
    }

    /// Whether a request has failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.counters.failures.lock().expect("no panic holds it").is_empty()
    }

    /// Waits until every client has stopped, and returns the results.
    pub(crate) fn finish(self) -> LoadReport {
        self.counters.is_stopping.store(true, Ordering::Release);
        self.thread.join().expect("the load does not panic");
        let mut first_byte_times =
            std::mem::take(&mut *self.counters.first_byte_times.lock().expect("no panic holds it"));
        first_byte_times.sort_unstable_by(|a, b| b.cmp(a));
        LoadReport {
            requests: self.counters.requests.load(Ordering::Acquire),
            bytes: self.counters.bytes.load(Ordering::Acquire),
            idle_closes: self.counters.idle_closes.load(Ordering::Acquire),
            failures: std::mem::take(&mut *self.counters.failures.lock().expect("no panic holds it")),
            first_byte_times,
            elapsed: self.start_time.elapsed(),
        }
    }
}

/// A connection for consecutive requests.
enum Connection {
    Http1(h1::Connection<tokio::net::TcpStream>),
    Http1OverTls(Box<h1::Connection<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>>),
    Http2(h2::Connection),
}

impl Connection {
    async fn open(target: &Target, protocol: Protocol) -> Result<Connection, String> {
        Ok(match protocol {
            Protocol::Http1 => Connection::Http1(h1::Connection::new(h1::connect(&target.http).await?)),
            Protocol::Http1OverTls => Connection::Http1OverTls(Box::new(h1::Connection::new(
                h1::connect_tls(target, b"http/1.1").await?,
            ))),
            Protocol::Http2 => {
                Connection::Http2(h2::Connection::new(h1::connect_tls(target, b"h2").await?).await?)
            }
        })
    }

    /// Whether the server has closed the idle connection. False for HTTP/2, where [`Connection::send`] reports it.
    async fn is_closed(&mut self) -> bool {
        match self {
            Connection::Http1(connection) => connection.is_closed().await,
            Connection::Http1OverTls(connection) => connection.is_closed().await,
            Connection::Http2(_) => false,
        }
    }

    /// Sends one request; `None` if it was not sent because the server had announced the end of this connection.
    async fn send(&mut self, client: &Client, counters: &Counters) -> Result<Option<Response>, String> {
        match self {
            Connection::Http1(connection) => connection.send(client, counters).await.map(Some),
            Connection::Http1OverTls(connection) => connection.send(client, counters).await.map(Some),
            Connection::Http2(connection) => connection.send(client, counters).await,
        }
    }
}

async fn run_client(number: usize, target: Target, client: Client, counters: Arc<Counters>) {
    let mut connection: Option<Connection> = None;
    let mut count = 0;
    // The clients do not begin at the same time.
    let mut next_start = tokio::time::Instant::now();
    if client.is_paced {
        next_start += client.pause.mul_f64(number as f64 * 0.618 % 1.0);
        tokio::time::sleep_until(next_start).await;
    }
    loop {
        let request_start = Instant::now();
        let slow_download = client.file.rate.map(|_| SlowDownload::begin(&counters));
        let result = loop {
            let mut idle_connection = connection.take();
            if let Some(existing_connection) = &mut idle_connection
                && existing_connection.is_closed().await
            {
                counters.idle_closes.fetch_add(1, Ordering::AcqRel);
                idle_connection = None;
            }
            let open_result = match idle_connection {
                Some(existing_connection) => Ok(existing_connection),
                None => {
                    count = 0;
                    Connection::open(&target, client.protocol).await
                }
            };
            match open_result {
                Err(error) => break Err(error),
                Ok(mut active_connection) => match active_connection.send(&client, &counters).await {
                    Ok(None) => {}
                    Ok(Some(response)) => {
                        if client.keep_alive && !response.announces_close {
                            connection = Some(active_connection);
                        } else if let Connection::Http2(connection) = active_connection {
                            match connection.close().await {
                                Ok(()) => {}
                                Err(error) => break Err(error),
                            }
                        }
                        break Ok(response);
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        drop(slow_download);
        count += 1;
        counters.requests.fetch_add(1, Ordering::AcqRel);
        let error = match result {
            Ok(response) => {
                counters.bytes.fetch_add(response.bytes, Ordering::AcqRel);
                if client.file.is_small {
                    counters
                        .add_first_byte_time(response.first_byte.saturating_duration_since(request_start));
                }
                let (actual, expected) = (&response.sha256, &client.file.sha256);
                (actual != expected)
                    .then(|| format!("another body: {} bytes, sha256 {actual}", response.bytes))
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            counters.fail(number, &client, count, request_start, &error);
            connection = None;
        }
        // Checked here so that each client sends at least one request.
        if counters.is_stopping.load(Ordering::Acquire) {
            break;
        }
        if client.is_paced {
            next_start = (next_start + client.pause).max(tokio::time::Instant::now() - client.pause);
            tokio::time::sleep_until(next_start).await;
        } else {
            tokio::time::sleep(client.pause).await;
        }
    }
}

/// A current download with a rate, counted until it is dropped.
struct SlowDownload<'a>(&'a Counters);

impl<'a> SlowDownload<'a> {
    fn begin(counters: &'a Counters) -> SlowDownload<'a> {
        counters.slow_downloads.fetch_add(1, Ordering::AcqRel);
        SlowDownload(counters)
    }
}

impl Drop for SlowDownload<'_> {
    fn drop(&mut self) {
        self.0.slow_downloads.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Counters {
    /// Records the time to the first byte of a small answer; the longest ones are stored.
    fn add_first_byte_time(&self, time: Duration) {
        const MAX_COUNT: usize = 1000;
        let mut first_byte_times = self.first_byte_times.lock().expect("no panic holds it");
        first_byte_times.push(time);
        if first_byte_times.len() > 2 * MAX_COUNT {
            first_byte_times.sort_unstable_by(|a, b| b.cmp(a));
            first_byte_times.truncate(MAX_COUNT);
        }
    }

    fn fail(
        &self,
        number: usize,
        client: &Client,
        number_on_connection: u64,
        request_start: Instant,
        error: &str,
    ) {
        let start_time = self.start_time.lock().expect("no panic holds it").unwrap_or(request_start);
        let mode = if client.keep_alive { "keep-alive" } else { "a new connection" };
        let failure = format!(
            "client {number} ({:?}, {mode}), {} of {}, number {number_on_connection} on its connection, wanted at {:.3} s, failed at {:.3} s: {error}",
            client.protocol,
            if client.file.rate.is_some() { "slow download" } else { "request" },
            client.file.path,
            request_start.duration_since(start_time).as_secs_f64(),
            start_time.elapsed().as_secs_f64(),
        );
        self.failures.lock().expect("no panic holds it").push(failure);
    }
}

/// Counts and hashes the bytes of a body, and waits so that they do not exceed the rate.
struct BodyReader<'a> {
    rate: Option<u64>,
    counters: &'a Counters,
    start_time: tokio::time::Instant,
    bytes: u64,
    hash: Sha256,
}

impl<'a> BodyReader<'a> {
    fn new(rate: Option<u64>, counters: &'a Counters) -> BodyReader<'a> {
        BodyReader { rate, counters, start_time: tokio::time::Instant::now(), bytes: 0, hash: Sha256::new() }
    }

    async fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(rate) = self.rate {
            self.counters.slow_bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel);
            let time = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
            tokio::time::sleep_until(self.start_time + time).await;
        }
    }

    fn finish(self, first_byte: Instant, announces_close: bool) -> Response {
        Response { first_byte, bytes: self.bytes, sha256: hex::encode(self.hash.finalize()), announces_close }
    }
}

/// Timeout of each step of a request: longer than any permitted wait, shorter than the timeout of a test.
const TIMEOUT: Duration = Duration::from_secs(120);

async fn with_timeout<T>(
    description: &str,
    operation: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, operation).await {
        Ok(result) => result,
        Err(_) => Err(format!("{description}: nothing for {} s", TIMEOUT.as_secs())),
    }
}

/// Clients with each protocol, with persistent and new connections, for each of `files`.
pub(crate) fn mix(files: &[ExpectedFile], pause: Duration) -> Vec<Client> {
    let mut clients = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http1OverTls, Protocol::Http2] {
        for keep_alive in [true, false] {
            for file in files {
                clients.push(Client { protocol, keep_alive, file: file.clone(), pause, is_paced: false });
            }
        }
    }
    clients
}
