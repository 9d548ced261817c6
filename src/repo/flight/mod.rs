//! Coalesced fetches: one upstream request per file and node, however many clients wait (data model, section 6).
//!
//! A fetch runs in its own task, never in a client's. The task writes a spool file and publishes its progress; every
//! client reads the spool up to the released position. The last 64 KiB are released once size and checksum are
//! verified, so no client ever receives a whole file that differs from the index.

mod board;
mod host;
mod landing;
mod patience;
mod pilot;
mod progress;
mod reader;
mod spool;
mod tail;
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

pub use patience::Patience;

pub(super) use board::{Crew, Ticket};
pub(super) use progress::{Outcome, Progress};
pub(super) use reader::{near, read};
pub(super) use verify::Expected;

/// Bytes at the end of a file that are held back until it is verified.
const HELD_BACK: u64 = 64 << 10;
/// Concurrent upstream requests for package files.
const FLIGHTS: usize = 64;
/// The largest accepted file whose size only the mirror's answer declares, in bytes.
const LARGEST: u64 = 4 << 30;

/// Fetches in progress and recently failed ones; clones share them.
#[derive(Clone)]
pub(super) struct Flights {
    table: Arc<Mutex<HashMap<FileId, Arc<Flight>>>>,
    missing: Arc<Mutex<HashMap<FileId, (std::time::Instant, FlightError)>>>,
    slots: Arc<Semaphore>,
    hosts: host::Hosts,
    memory: tail::Memory,
    patience: Arc<Patience>,
}

impl Flights {
    /// Creates an empty registry.
    pub(super) fn new(patience: Patience) -> Flights {
        Flights {
            table: Arc::default(),
            missing: Arc::default(),
            slots: Arc::new(Semaphore::new(FLIGHTS)),
            hosts: host::Hosts::default(),
            memory: tail::Memory::default(),
            patience: Arc::new(patience),
        }
    }

    /// The number of fetches in progress.
    pub(super) fn under_way(&self) -> usize {
        self.table.lock().len()
    }
}

/// One file being fetched.
pub(super) struct Flight {
    /// Its progress.
    pub(super) progress: watch::Receiver<Progress>,
    /// The spool, for positioned reads; set before the first byte is released.
    spool: Mutex<Option<Arc<File>>>,
    /// Bytes after the end of the spool, kept in memory because they cannot be stored.
    tail: tail::Tail,
    memory: tail::Memory,
    /// The number of waiting clients.
    passengers: AtomicUsize,
    /// Notified when a client subscribes or leaves.
    boarding: Notify,
}

/// The error of a failed fetch.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FlightError {
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
    Deserted,
}

/// A waiting client; it is counted until it is dropped.
pub(super) struct Passenger {
    /// The fetch it waits for.
    pub(super) flight: Arc<Flight>,
}

impl Passenger {
    fn new(flight: Arc<Flight>) -> Passenger {
        flight.passengers.fetch_add(1, Ordering::SeqCst);
        flight.boarding.notify_waiters();
        Passenger { flight }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        self.flight.passengers.fetch_sub(1, Ordering::SeqCst);
        self.flight.boarding.notify_waiters();
    }
}

/// Where the verified file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Into storage.
    Stored(Key),
    /// To the waiting clients only: the file could not be stored.
    Passed,
}
