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
    Plain,
    /// HTTP/1.1 inside TLS.
    Tls,
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
    pub(crate) small: bool,
}

impl ExpectedFile {
    /// Expects this body at `path`.
    pub(crate) fn new(path: &str, bytes: &[u8]) -> ExpectedFile {
        let sha256 = hex::encode(Sha256::digest(bytes));
        ExpectedFile { path: path.to_owned(), sha256, rate: None, small: bytes.len() < 10_000 }
    }

    /// Limits the rate, in bytes per second.
    pub(crate) fn at(mut self, rate: u64) -> ExpectedFile {
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
    pub(crate) idle_closed: u64,
    pub(crate) failures: Vec<String>,
    /// The longest times to the first byte of a small answer, including the time to connect; longest first.
    pub(crate) stalls: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl LoadReport {
    /// Panics with the first 20 failures if a request failed.
    pub(crate) fn assert_none_failed(&self) {
        let (failed, some) =
            (self.failures.len(), self.failures.iter().take(20).cloned().collect::<Vec<_>>());
        assert!(failed == 0, "{failed} of {} requests failed:\n{}", self.requests, some.join("\n"));
    }

    /// One line to print.
    pub(crate) fn line(&self) -> String {
        let stalls: Vec<u128> = self.stalls.iter().take(5).map(Duration::as_millis).collect();
        format!(
            "{} requests, {} MB in {:.1} s, {} failed, {} idle connections ended; longest waits for a small answer {stalls:?} ms",
            self.requests,
            self.bytes / 1_000_000,
            self.elapsed.as_secs_f64(),
            self.failures.len(),
            self.idle_closed,
        )
    }
}

/// A running load.
pub(crate) struct Load {
    tally: Arc<Tally>,
    thread: std::thread::JoinHandle<()>,
    began: Instant,
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
    slow_downloads: AtomicUsize,
    slow_bytes: AtomicU64,
    idle_closed: AtomicU64,
    failures: Mutex<Vec<String>>,
    stalls: Mutex<Vec<Duration>>,
    /// Reference for the times in failures.
    began: Mutex<Option<Instant>>,
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
        let tally = Arc::new(Tally::default());
        let began = Instant::now();
        *tally.began.lock().expect("no panic holds it") = Some(began);
        let ours = Arc::clone(&tally);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let all: Vec<_> = clients
                    .into_iter()
                    .enumerate()
                    .map(|(i, client)| tokio::spawn(run(i, target.clone(), client, Arc::clone(&ours))))
                    .collect();
                for one in all {
                    one.await.expect("a client does not panic");
                }
            });
        });
        Load { tally, thread, began }
    }

    /// Number of answered requests.
    pub(crate) fn response_count(&self) -> u64 {
        self.tally.requests.load(Ordering::Acquire)
    }

    /// Bytes of downloads with a rate.
    pub(crate) fn slow_bytes(&self) -> u64 {
        self.tally.slow_bytes.load(Ordering::Acquire)
    }

    /// Lets every client stop after its current request.
    pub(crate) fn last_round(&self) {
        self.tally.stop.store(true, Ordering::Release);
    }

    /// Number of current downloads with a rate.
    pub(crate) fn slow_downloads(&self) -> usize {
        self.tally.slow_downloads.load(Ordering::Acquire)
    }

    /// Whether a request has failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.tally.failures.lock().expect("no panic holds it").is_empty()
    }

    /// Waits until every client has stopped, and returns the results.
    pub(crate) fn finish(self) -> LoadReport {
        self.tally.stop.store(true, Ordering::Release);
        self.thread.join().expect("the load does not panic");
        let mut stalls = std::mem::take(&mut *self.tally.stalls.lock().expect("no panic holds it"));
        stalls.sort_unstable_by(|a, b| b.cmp(a));
        LoadReport {
            requests: self.tally.requests.load(Ordering::Acquire),
            bytes: self.tally.bytes.load(Ordering::Acquire),
            idle_closed: self.tally.idle_closed.load(Ordering::Acquire),
            failures: std::mem::take(&mut *self.tally.failures.lock().expect("no panic holds it")),
            stalls,
            elapsed: self.began.elapsed(),
        }
    }
}

/// A connection for consecutive requests.
enum Connection {
    Plain(h1::Connection<tokio::net::TcpStream>),
    Tls(Box<h1::Connection<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>>),
    Http2(h2::Connection),
}

impl Connection {
    async fn open(target: &Target, protocol: Protocol) -> Result<Connection, String> {
        Ok(match protocol {
            Protocol::Plain => Connection::Plain(h1::Connection::new(h1::connect(&target.http).await?)),
            Protocol::Tls => {
                Connection::Tls(Box::new(h1::Connection::new(h1::encrypt(target, b"http/1.1").await?)))
            }
            Protocol::Http2 => {
                Connection::Http2(h2::Connection::new(h1::encrypt(target, b"h2").await?).await?)
            }
        })
    }

    /// Whether the server has closed the idle connection. False for HTTP/2, where [`Connection::send`] reports it.
    async fn is_closed(&mut self) -> bool {
        match self {
            Connection::Plain(connection) => connection.is_closed().await,
            Connection::Tls(connection) => connection.is_closed().await,
            Connection::Http2(_) => false,
        }
    }

    /// Sends one request; `None` if it was not sent because the server had announced the end of this connection.
    async fn send(&mut self, client: &Client, tally: &Tally) -> Result<Option<Response>, String> {
        match self {
            Connection::Plain(connection) => connection.send(client, tally).await.map(Some),
            Connection::Tls(connection) => connection.send(client, tally).await.map(Some),
            Connection::Http2(connection) => connection.send(client, tally).await,
        }
    }
}

async fn run(number: usize, target: Target, client: Client, tally: Arc<Tally>) {
    let mut connection: Option<Connection> = None;
    let mut count = 0;
    loop {
        let since = Instant::now();
        let slow = client.file.rate.map(|_| Slow::begin(&tally));
        let result = loop {
            let mut reused = connection.take();
            if let Some(open) = &mut reused
                && open.is_closed().await
            {
                tally.idle_closed.fetch_add(1, Ordering::AcqRel);
                reused = None;
            }
            let open = match reused {
                Some(open) => Ok(open),
                None => {
                    count = 0;
                    Connection::open(&target, client.protocol).await
                }
            };
            match open {
                Err(error) => break Err(error),
                Ok(mut open) => match open.send(&client, &tally).await {
                    Ok(None) => {}
                    Ok(Some(response)) => {
                        if client.keep_alive && !response.announces_close {
                            connection = Some(open);
                        } else if let Connection::Http2(connection) = open {
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
        drop(slow);
        count += 1;
        tally.requests.fetch_add(1, Ordering::AcqRel);
        let error = match result {
            Ok(response) => {
                tally.bytes.fetch_add(response.bytes, Ordering::AcqRel);
                if client.file.small {
                    tally.stall(response.first_byte.saturating_duration_since(since));
                }
                let (actual, expected) = (&response.sha256, &client.file.sha256);
                (actual != expected)
                    .then(|| format!("another body: {} bytes, sha256 {actual}", response.bytes))
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            tally.fail(number, &client, count, since, &error);
            connection = None;
        }
        // Checked here so that each client sends at least one request.
        if tally.stop.load(Ordering::Acquire) {
            break;
        }
        tokio::time::sleep(client.pause).await;
    }
}

/// Counts a current download with a rate until it is dropped.
struct Slow<'a>(&'a Tally);

impl<'a> Slow<'a> {
    fn begin(tally: &'a Tally) -> Slow<'a> {
        tally.slow_downloads.fetch_add(1, Ordering::AcqRel);
        Slow(tally)
    }
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        self.0.slow_downloads.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tally {
    /// Records a waiting time; the longest are retained.
    fn stall(&self, waited: Duration) {
        const RETAINED: usize = 1000;
        let mut stalls = self.stalls.lock().expect("no panic holds it");
        stalls.push(waited);
        if stalls.len() > 2 * RETAINED {
            stalls.sort_unstable_by(|a, b| b.cmp(a));
            stalls.truncate(RETAINED);
        }
    }

    fn fail(&self, number: usize, client: &Client, nth: u64, since: Instant, error: &str) {
        let began = self.began.lock().expect("no panic holds it").unwrap_or(since);
        let mode = if client.keep_alive { "keep-alive" } else { "a new connection" };
        let failure = format!(
            "client {number} ({:?}, {mode}), {} of {}, number {nth} on its connection, wanted at {:.3} s, failed at {:.3} s: {error}",
            client.protocol,
            if client.file.rate.is_some() { "slow download" } else { "request" },
            client.file.path,
            since.duration_since(began).as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
        self.failures.lock().expect("no panic holds it").push(failure);
    }
}

/// Counts and hashes the bytes of a body and limits their rate.
struct BodyReader<'a> {
    rate: Option<u64>,
    tally: &'a Tally,
    began: tokio::time::Instant,
    bytes: u64,
    hash: Sha256,
}

impl<'a> BodyReader<'a> {
    fn new(rate: Option<u64>, tally: &'a Tally) -> BodyReader<'a> {
        BodyReader { rate, tally, began: tokio::time::Instant::now(), bytes: 0, hash: Sha256::new() }
    }

    async fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(rate) = self.rate {
            self.tally.slow_bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel);
            let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
            tokio::time::sleep_until(self.began + due).await;
        }
    }

    fn done(self, first_byte: Instant, announces_close: bool) -> Response {
        Response { first_byte, bytes: self.bytes, sha256: hex::encode(self.hash.finalize()), announces_close }
    }
}

/// Timeout of each step of a request: longer than any permitted wait, shorter than the timeout of a test.
const TIMEOUT: Duration = Duration::from_secs(45);

async fn with_timeout<T>(
    what: &str,
    operation: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, operation).await {
        Ok(result) => result,
        Err(_) => Err(format!("{what}: nothing for {} s", TIMEOUT.as_secs())),
    }
}

/// Clients with each protocol, with persistent and new connections, for each of `files`.
pub(crate) fn mix(files: &[ExpectedFile], pause: Duration) -> Vec<Client> {
    let mut clients = Vec::new();
    for protocol in [Protocol::Plain, Protocol::Tls, Protocol::Http2] {
        for keep_alive in [true, false] {
            for file in files {
                clients.push(Client { protocol, keep_alive, file: file.clone(), pause });
            }
        }
    }
    clients
}
