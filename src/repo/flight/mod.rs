//! Flights: one upstream request for each file and node, however many clients wait (data model, section 6).
//!
//! A flight belongs to its own task, never to a client. The task writes a spool file and says how far it is;
//! every client reads the spool up to what is released. The last 64 kB are released when size and checksum are
//! right, so no client ever holds a whole file that is not what the index promised.

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

/// What is not released before the file is verified.
const HELD_BACK: u64 = 64 << 10;
/// Upstream requests for package files at one time.
const FLIGHTS: usize = 64;
/// The largest file that is taken when only the mirror's answer says how large it is, in bytes.
const LARGEST: u64 = 4 << 30;

/// Flights under way, and what is remembered of failed ones; cloning shares it.
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
    /// None under way.
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

    /// How many.
    pub(super) fn under_way(&self) -> usize {
        self.table.lock().len()
    }
}

/// One file on its way.
pub(super) struct Flight {
    /// How far it is.
    pub(super) progress: watch::Receiver<Progress>,
    /// The spool, for reading at a position; there before the first byte is released.
    spool: Mutex<Option<Arc<File>>>,
    /// Bytes that found no place on a full disk: those after the spool's end.
    tail: tail::Tail,
    memory: tail::Memory,
    /// Clients that wait for it.
    passengers: AtomicUsize,
    /// A client came or left.
    boarding: Notify,
}

/// Why a flight ended without the file.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FlightError {
    /// Upstream does not have it, nor in its archive.
    #[error("{0}")]
    Missing(String),
    /// Upstream has other bytes under this name: it is newer, or older, than the index.
    #[error("{0}")]
    Mismatch(String),
    /// Upstream cannot give it now.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The spool or the storage failed.
    #[error("{0}")]
    Storage(String),
    /// Nobody waited any more.
    #[error("nobody waits for the file any more")]
    Deserted,
}

/// A client that waits: counted while it lives.
pub(super) struct Passenger {
    /// What it waits for.
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

/// Where verified bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Into storage.
    Stored(Key),
    /// Only to those who waited: the disk is full.
    Passed,
}
