//! A steady load that forgives nothing: whatever a client is refused, loses or gets wrong is a failure with its story.

mod h1;
mod h2;
pub(crate) mod packages;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 inside TLS.
    Tls,
    /// HTTP/2 inside TLS.
    Http2,
}

/// What a client asks for, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) path: String,
    pub(crate) sha256: String,
    /// Bytes per second it takes; `None` for all that come.
    pub(crate) rate: Option<u64>,
    /// Its first byte counts for the longest stall.
    pub(crate) small: bool,
}

impl Wanted {
    /// The body that `path` must have.
    pub(crate) fn new(path: &str, bytes: &[u8]) -> Wanted {
        let sha256 = hex::encode(Sha256::digest(bytes));
        Wanted { path: path.to_owned(), sha256, rate: None, small: bytes.len() < 10_000 }
    }

    /// Taken no faster than so many bytes per second.
    pub(crate) fn at(mut self, rate: u64) -> Wanted {
        self.rate = Some(rate);
        self
    }
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) speech: Speech,
    /// Asks on one connection until the server announces its end; otherwise on a new one each time.
    pub(crate) keep_alive: bool,
    pub(crate) wanted: Wanted,
    /// Between an answer and the next request.
    pub(crate) pause: Duration,
}

/// Where the server is.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) certificate: CertificateDer<'static>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// Kept connections that the server closed long before the client's next request.
    pub(crate) over: u64,
    pub(crate) failures: Vec<String>,
    /// The longest times to the first byte of a small answer, from the moment its client wanted it; longest first.
    pub(crate) stalls: Vec<Duration>,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Fails with every story when a request failed.
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
            self.took.as_secs_f64(),
            self.failures.len(),
            self.over,
        )
    }
}

/// A running load.
pub(crate) struct Steady {
    tally: Arc<Tally>,
    thread: std::thread::JoinHandle<()>,
    began: Instant,
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
    slow_under_way: AtomicUsize,
    slow_bytes: AtomicU64,
    over: AtomicU64,
    failures: Mutex<Vec<String>>,
    stalls: Mutex<Vec<Duration>>,
    /// Told apart in stories.
    began: Mutex<Option<Instant>>,
}

/// One answer.
struct Answered {
    first_byte: Instant,
    bytes: u64,
    sha256: String,
    /// The server says that the connection ends.
    announced: bool,
}

impl Steady {
    /// Begins.
    pub(crate) fn start(target: Target, clients: Vec<Client>) -> Steady {
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
        Steady { tally, thread, began }
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.tally.requests.load(Ordering::Acquire)
    }

    /// Bytes that downloads with a rate have taken.
    pub(crate) fn slow_bytes(&self) -> u64 {
        self.tally.slow_bytes.load(Ordering::Acquire)
    }

    /// Nobody asks again after the answer under way.
    pub(crate) fn last_round(&self) {
        self.tally.stop.store(true, Ordering::Release);
    }

    /// Downloads with a rate that are under way.
    pub(crate) fn slow_under_way(&self) -> usize {
        self.tally.slow_under_way.load(Ordering::Acquire)
    }

    /// Whether something failed already.
    pub(crate) fn has_failed(&self) -> bool {
        !self.tally.failures.lock().expect("no panic holds it").is_empty()
    }

    /// Lets every request end, and tells.
    pub(crate) fn finish(self) -> Outcome {
        self.tally.stop.store(true, Ordering::Release);
        self.thread.join().expect("the load does not panic");
        let mut stalls = std::mem::take(&mut *self.tally.stalls.lock().expect("no panic holds it"));
        stalls.sort_unstable_by(|a, b| b.cmp(a));
        Outcome {
            requests: self.tally.requests.load(Ordering::Acquire),
            bytes: self.tally.bytes.load(Ordering::Acquire),
            over: self.tally.over.load(Ordering::Acquire),
            failures: std::mem::take(&mut *self.tally.failures.lock().expect("no panic holds it")),
            stalls,
            took: self.began.elapsed(),
        }
    }
}

/// A connection that requests are sent on, one after the other.
enum Line {
    Plain(h1::Wire<tokio::net::TcpStream>),
    Tls(Box<h1::Wire<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>>),
    Http2(h2::Wire),
}

impl Line {
    async fn open(target: &Target, speech: Speech) -> Result<Line, String> {
        Ok(match speech {
            Speech::Plain => Line::Plain(h1::Wire::new(h1::connect(&target.http).await?)),
            Speech::Tls => Line::Tls(Box::new(h1::Wire::new(h1::encrypt(target, b"http/1.1").await?))),
            Speech::Http2 => Line::Http2(h2::Wire::new(h1::encrypt(target, b"h2").await?).await?),
        })
    }

    /// True when its end was to be seen before a request was sent.
    async fn is_over(&mut self) -> bool {
        match self {
            Line::Plain(wire) => wire.is_over().await,
            Line::Tls(wire) => wire.is_over().await,
            Line::Http2(_) => false,
        }
    }

    /// `None`: nothing was sent, because the server had announced the end of this connection.
    async fn ask(&mut self, client: &Client, tally: &Tally) -> Result<Option<Answered>, String> {
        match self {
            Line::Plain(wire) => wire.ask(client, tally).await.map(Some),
            Line::Tls(wire) => wire.ask(client, tally).await.map(Some),
            Line::Http2(wire) => wire.ask(client, tally).await,
        }
    }
}

async fn run(number: usize, target: Target, client: Client, tally: Arc<Tally>) {
    let mut line: Option<Line> = None;
    let mut asked_on_it = 0;
    loop {
        let wanted_at = Instant::now();
        let slow = client.wanted.rate.map(|_| Slow::begin(&tally));
        let outcome = loop {
            let mut kept = line.take();
            if let Some(open) = &mut kept
                && open.is_over().await
            {
                tally.over.fetch_add(1, Ordering::AcqRel);
                kept = None;
            }
            let open = match kept {
                Some(open) => Ok(open),
                None => {
                    asked_on_it = 0;
                    Line::open(&target, client.speech).await
                }
            };
            match open {
                Err(story) => break Err(story),
                Ok(mut open) => match open.ask(&client, &tally).await {
                    Ok(None) => {}
                    Ok(Some(answered)) => {
                        if client.keep_alive && !answered.announced {
                            line = Some(open);
                        } else if let Line::Http2(wire) = open {
                            match wire.close().await {
                                Ok(()) => {}
                                Err(story) => break Err(story),
                            }
                        }
                        break Ok(answered);
                    }
                    Err(story) => break Err(story),
                },
            }
        };
        drop(slow);
        asked_on_it += 1;
        tally.requests.fetch_add(1, Ordering::AcqRel);
        let story = match outcome {
            Ok(answered) => {
                tally.bytes.fetch_add(answered.bytes, Ordering::AcqRel);
                if client.wanted.small {
                    tally.stall(answered.first_byte.saturating_duration_since(wanted_at));
                }
                let (is, should) = (&answered.sha256, &client.wanted.sha256);
                (is != should).then(|| format!("another body: {} bytes, sha256 {is}", answered.bytes))
            }
            Err(story) => Some(story),
        };
        if let Some(story) = story {
            tally.fail(number, &client, asked_on_it, wanted_at, &story);
            line = None;
        }
        // Each asks at least once.
        if tally.stop.load(Ordering::Acquire) {
            break;
        }
        tokio::time::sleep(client.pause).await;
    }
}

struct Slow<'a>(&'a Tally);

impl<'a> Slow<'a> {
    fn begin(tally: &'a Tally) -> Slow<'a> {
        tally.slow_under_way.fetch_add(1, Ordering::AcqRel);
        Slow(tally)
    }
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        self.0.slow_under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tally {
    /// Keeps the longest.
    fn stall(&self, waited: Duration) {
        const KEPT: usize = 1000;
        let mut stalls = self.stalls.lock().expect("no panic holds it");
        stalls.push(waited);
        if stalls.len() > 2 * KEPT {
            stalls.sort_unstable_by(|a, b| b.cmp(a));
            stalls.truncate(KEPT);
        }
    }

    fn fail(&self, number: usize, client: &Client, nth: u64, since: Instant, story: &str) {
        let began = self.began.lock().expect("no panic holds it").unwrap_or(since);
        let kept = if client.keep_alive { "keep-alive" } else { "a new connection" };
        let told = format!(
            "client {number} ({:?}, {kept}), {} of {}, number {nth} on its connection, wanted at {:.3} s, failed at {:.3} s: {story}",
            client.speech,
            if client.wanted.rate.is_some() { "slow download" } else { "request" },
            client.wanted.path,
            since.duration_since(began).as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
        self.failures.lock().expect("no panic holds it").push(told);
    }
}

/// Takes bytes no faster than a rate.
struct Taker<'a> {
    rate: Option<u64>,
    tally: &'a Tally,
    began: tokio::time::Instant,
    bytes: u64,
    hash: Sha256,
}

impl<'a> Taker<'a> {
    fn new(rate: Option<u64>, tally: &'a Tally) -> Taker<'a> {
        Taker { rate, tally, began: tokio::time::Instant::now(), bytes: 0, hash: Sha256::new() }
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

    fn done(self, first_byte: Instant, announced: bool) -> Answered {
        Answered { first_byte, bytes: self.bytes, sha256: hex::encode(self.hash.finalize()), announced }
    }
}

/// Longer than any answer may keep a client waiting, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(45);

async fn patiently<T>(what: &str, doing: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(done) => done,
        Err(_) => Err(format!("{what}: nothing for {} s", PATIENCE.as_secs())),
    }
}

/// The usual mix: each speech, kept and new connections, for each of `wanted`.
pub(crate) fn mix(wanted: &[Wanted], pause: Duration) -> Vec<Client> {
    let mut clients = Vec::new();
    for speech in [Speech::Plain, Speech::Tls, Speech::Http2] {
        for keep_alive in [true, false] {
            for wanted in wanted {
                clients.push(Client { speech, keep_alive, wanted: wanted.clone(), pause });
            }
        }
    }
    clients
}
