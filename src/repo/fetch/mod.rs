//! Coalesced fetches: one upstream request per file and node, however many clients wait (data model, section 6).
//!
//! A fetch runs in its own task, never in a client's. The task writes a spool file and publishes its progress; every
//! client reads the spool up to the released position. The last 64 KiB are released once size and checksum are
//! verified, so no client ever receives a whole file that differs from the index.

mod host_limits;
mod limits;
mod overflow;
mod progress;
mod reader;
mod registry;
mod size;
mod spool;
mod store;
mod task;
mod verify;

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::model::ids::FileId;
use crate::storage::Key;
use crate::upstream::UpstreamError;

pub use limits::FetchLimits;

pub(super) use progress::{FetchOutcome, Progress};
pub(super) use reader::{is_near, read};
pub(super) use registry::{FetchDeps, FetchRequest};
pub(super) use verify::PackageForm;

/// Bytes at the end of a file that are held back until it is verified.
const HELD_BACK: u64 = 64 << 10;
/// Concurrent upstream requests for package files.
const MAX_REQUESTS: usize = 64;
/// The largest accepted file whose size only the mirror's answer declares, in bytes.
const LARGEST: u64 = 4 << 30;

/// Fetches in progress and recently failed ones; clones share them.
#[derive(Clone)]
pub(super) struct Fetches {
    table: Arc<Mutex<HashMap<FileId, Arc<Fetch>>>>,
    failures: Arc<Mutex<HashMap<FileId, (std::time::Instant, FetchError)>>>,
    slots: Arc<Semaphore>,
    hosts: host_limits::HostLimits,
    memory: overflow::OverflowMemory,
    limits: Arc<FetchLimits>,
}

impl Fetches {
    /// Creates an empty registry.
    pub(super) fn new(patience: FetchLimits) -> Fetches {
        Fetches {
            table: Arc::default(),
            failures: Arc::default(),
            slots: Arc::new(Semaphore::new(MAX_REQUESTS)),
            hosts: host_limits::HostLimits::default(),
            memory: overflow::OverflowMemory::default(),
            limits: Arc::new(patience),
        }
    }

    /// The number of fetches in progress.
    pub(super) fn in_progress(&self) -> usize {
        self.table.lock().len()
    }
}

/// One file being fetched.
pub(super) struct Fetch {
    /// Its progress.
    pub(super) progress: watch::Receiver<Progress>,
    /// The spool, for positioned reads; set before the first byte is released.
    spool: Mutex<Option<Arc<File>>>,
    /// Bytes after the end of the spool, kept in memory because they cannot be stored.
    overflow: overflow::Overflow,
    memory: overflow::OverflowMemory,
    /// The number of waiting clients.
    subscribers: AtomicUsize,
    /// Notified when a client subscribes or leaves.
    subscribers_changed: Notify,
}

/// The error of a failed fetch.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Upstream has it neither among the current packages nor in its archive.
    #[error("{0}")]
    Missing(String),
    /// Upstream has other bytes under this name: it is newer, or older, than the index.
    #[error("{0}")]
    Mismatch(String),
    /// Upstream cannot deliver it now.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The spool or the storage failed.
    #[error("{0}")]
    Storage(String),
    /// No client was waiting any more.
    #[error("the fetch was cancelled: no client is waiting for the file")]
    Cancelled,
}

/// A waiting client; it is counted until it is dropped.
pub(super) struct Subscriber {
    /// The fetch it waits for.
    pub(super) fetch: Arc<Fetch>,
}

impl Subscriber {
    fn new(fetch: Arc<Fetch>) -> Subscriber {
        fetch.subscribers.fetch_add(1, Ordering::SeqCst);
        fetch.subscribers_changed.notify_waiters();
        Subscriber { fetch }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.fetch.subscribers.fetch_sub(1, Ordering::SeqCst);
        self.fetch.subscribers_changed.notify_waiters();
    }
}

/// Where the verified file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Into storage.
    Stored(Key),
    /// To the waiting clients only: the file could not be stored.
    SentOnly,
}
