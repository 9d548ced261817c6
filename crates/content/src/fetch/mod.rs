//! Coalesced fetches: one upstream request per file and server for any number of waiting clients.
//!
//! A fetch has a task, which writes a spool file and publishes its progress; every client reads the spool up
//! to the released position. The last 64 KiB are released once size and checksum are verified, so no client
//! ever receives a complete file that differs from the index.

pub mod accesses;
pub mod candidates;
mod file_updates;
mod host_limits;
pub mod integrity;
mod mismatch_hook;
mod overflow;
mod reader;
mod registry;
mod spool;
mod store;
mod task;
mod verify;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use ::store::storage::Key;
use upstream::UpstreamError;

pub use reader::{FetchOutcome, Progress, is_near, read};
pub use registry::{FetchRequest, Fetches};
pub use verify::PackageForm;

/// Bytes at the end of a file that are released once it is verified.
const UNRELEASED_END: u64 = 64 << 10;
/// Maximum accepted file size if only the mirror's response declares it, in bytes.
const MAX_DECLARED_SIZE: u64 = 4 << 30;

#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Time for which a fetch continues without a waiting client, if the file is neither small nor half received.
    pub unsubscribed_timeout: Duration,
    /// Files of at most this many bytes are always fetched completely.
    pub small_file_bytes: u64,
    /// Time for which an unfinished fetch waits for a new client.
    pub resume_window: Duration,
    /// Time for which a file that upstream lacks, refuses, or has with different bytes is not requested again.
    pub failure_ttl: Duration,
    /// Base of the retry delay: the delay after the first failure is twice this, and doubles with each further one.
    pub retry_delay: Duration,
    /// Maximum time without data from upstream, over all tries, before a fetch fails: R times out after a minute.
    pub max_inactivity: Duration,
    /// Maximum accepted file size when neither the index nor the response declares a size, in bytes.
    pub max_unsized: u64,
    /// Number of consecutive failures, without a byte received in between, after which a fetch fails.
    pub max_tries: u32,
    /// Total bytes of all fetches that may be in memory while they cannot be stored; beyond that, fetches fail.
    pub memory: u64,
}

impl Default for FetchLimits {
    fn default() -> FetchLimits {
        FetchLimits {
            unsubscribed_timeout: Duration::from_secs(10),
            small_file_bytes: 8 << 20,
            resume_window: Duration::from_secs(600),
            failure_ttl: Duration::from_secs(60),
            retry_delay: Duration::from_millis(100),
            max_inactivity: Duration::from_secs(30),
            max_unsized: 512 << 20,
            max_tries: 5,
            memory: 64 << 20,
        }
    }
}

pub struct Fetch {
    pub progress: watch::Receiver<Progress>,
    /// The spool, for positioned reads; set before the first byte is released.
    spool: Mutex<Option<Arc<File>>>,
    /// Bytes after the end of the spool, in memory because they cannot be stored.
    overflow: overflow::Overflow,
    overflow_budget: overflow::OverflowBudget,
    subscribers: AtomicUsize,
    subscribers_changed: Notify,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Missing(String),
    /// Upstream has different bytes under this name: it is newer, or older, than the index.
    #[error("{0}")]
    Mismatch(String),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Storage(String),
    #[error("the fetch was cancelled: no client is waiting for the file")]
    Cancelled,
}

/// A waiting client; it is counted until it is dropped.
pub struct Subscriber {
    pub fetch: Arc<Fetch>,
}

impl Subscriber {
    fn new(fetch: Arc<Fetch>) -> Subscriber {
        fetch.subscribers.fetch_add(1, Ordering::SeqCst);
        fetch.subscribers_changed.notify_waiters();
        Subscriber { fetch }
    }

    /// Waits until the file is complete or cannot be fetched; `None` if the server is stopping.
    pub async fn wait_end(&self) -> Option<FetchOutcome> {
        let mut progress = self.fetch.progress.clone();
        let ended = progress.wait_for(|progress| progress.outcome.is_some()).await;
        ended.ok().and_then(|progress| progress.outcome.clone())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.fetch.subscribers.fetch_sub(1, Ordering::SeqCst);
        self.fetch.subscribers_changed.notify_waiters();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Stored(Key),
    /// The waiting clients only: the file could not be stored.
    SentOnly,
}
