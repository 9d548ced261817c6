//! Registry of fetches: the first request for a file starts one, later ones join it; a failure is remembered for a
//! minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::tail::Tail;
use super::verify::{Expected, Promise};
use super::{Flight, FlightError, Flights, Passenger, Progress, pilot};
use crate::config::StorageClass;
use crate::db::file::FileState;
use crate::db::life::FoundFile;
use crate::model::ids::FileId;
use crate::repo::learn::Learner;
use crate::repo::places::Place;
use crate::repo::proof;
use crate::state::State;
use crate::upstream::UpstreamError;

/// Expired failures are removed whenever this many were recorded.
const FORGET_EVERY: usize = 256;

/// A request to fetch a file.
pub(in crate::repo) struct Ticket {
    /// The row of the file.
    pub(super) file: FileId,
    /// Upstream candidates, the likeliest first.
    pub(super) places: Vec<Place>,
    /// What the received file must match.
    pub(super) promise: Promise,
    /// The storage class for it.
    pub(super) class: StorageClass,
    /// True when the row says that the file is in storage, but it is missing or damaged.
    pub(super) gone: bool,
    /// Handles that the fetch uses.
    pub(super) crew: Crew,
}

/// Handles shared by all fetches of a [`crate::repo::Repo`].
#[derive(Clone)]
pub(in crate::repo) struct Crew {
    /// The stores.
    pub(in crate::repo) state: Arc<State>,
    /// Records the results in the database.
    pub(in crate::repo) learner: Learner,
    /// Cached integrity checks; invalidated when an object is stored again.
    pub(in crate::repo) proofs: Arc<proof::Cache>,
    /// Called when the mirror and our index disagree.
    pub(in crate::repo) stale: Arc<dyn Fn() + Send + Sync>,
    /// Keeps the clean-up from deleting an object while it is stored.
    pub(in crate::repo) landing: Arc<tokio::sync::RwLock<()>>,
}

impl Ticket {
    /// Creates a request for a file at one of these candidates.
    pub(in crate::repo) fn new(
        found: &FoundFile,
        expected: Expected,
        places: Vec<Place>,
        class: StorageClass,
        crew: Crew,
    ) -> Ticket {
        let promise = Promise {
            name: found.name.clone(),
            expected,
            size: found.size.and_then(|size| u64::try_from(size).ok()),
            md5: found.md5,
            sha256: found.sha256,
        };
        // A file that was stored before returns to the class in its row.
        let kept = found.class.as_deref().filter(|_| found.file_state == FileState::Stored);
        let kept = kept.and_then(|kept| StorageClass::ALL.into_iter().find(|class| class.as_str() == kept));
        let gone = kept.is_some();
        Ticket { file: found.file, places, promise, class: kept.unwrap_or(class), gone, crew }
    }
}

impl Flights {
    /// Joins the fetch of `file`, or starts one.
    ///
    /// # Errors
    /// The error of a fetch that failed within the last minute.
    pub(in crate::repo) fn board(
        &self,
        file: FileId,
        ticket: impl FnOnce() -> Ticket,
    ) -> Result<Passenger, FlightError> {
        let mut table = self.table.lock();
        if let Some(flight) = table.get(&file) {
            return Ok(Passenger::new(flight.clone()));
        }
        // Checked under the table lock: a failure is recorded before its fetch leaves the table.
        if let Some(error) = self.remembered(file) {
            return Err(error);
        }
        let ticket = ticket();
        let (progress, watch) = watch::channel(Progress::begin(&ticket.promise));
        let flight = Arc::new(Flight {
            progress: watch,
            spool: Mutex::default(),
            tail: Tail::new(self.memory.clone()),
            memory: self.memory.clone(),
            passengers: AtomicUsize::new(0),
            boarding: Notify::new(),
        });
        table.insert(file, flight.clone());
        let passenger = Passenger::new(flight.clone());
        drop(table);
        tokio::spawn(pilot::fly(self.clone(), flight, Arc::new(progress), ticket));
        Ok(passenger)
    }

    /// Returns the error that a fetch of `file` would meet now without an upstream request: a remembered failure, or
    /// open circuit breakers of all hosts.
    pub(in crate::repo) fn check(&self, file: FileId, places: &[Place]) -> Result<(), FlightError> {
        if self.table.lock().contains_key(&file) {
            return Ok(());
        }
        if let Some(error) = self.remembered(file) {
            return Err(error);
        }
        let mut refused = None;
        for place in places {
            match self.hosts.is_open(place.mirror.host()) {
                None => return Ok(()),
                Some(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), |error| Err(FlightError::Upstream(error)))
    }

    /// Remembers a failure caused by upstream, so that a crowd requesting a missing file causes no further upstream
    /// requests.
    pub(super) fn remember(&self, file: FileId, failure: &FlightError) {
        let ours = match failure {
            FlightError::Missing(_)
            | FlightError::Mismatch(_)
            | FlightError::Upstream(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => false,
            FlightError::Upstream(UpstreamError::Unavailable { .. })
            | FlightError::Storage(_)
            | FlightError::Deserted => true,
        };
        if !ours {
            let mut missing = self.missing.lock();
            if missing.len() % FORGET_EVERY == FORGET_EVERY - 1 {
                missing.retain(|_, (since, _)| since.elapsed() < self.patience.missing);
            }
            missing.insert(file, (Instant::now(), failure.clone()));
        }
    }

    /// Removes the entry of a fetch, unless another fetch has replaced it.
    pub(super) fn over(&self, file: FileId, flight: &Arc<Flight>) {
        let mut table = self.table.lock();
        if table.get(&file).is_some_and(|entry| Arc::ptr_eq(entry, flight)) {
            table.remove(&file);
        }
    }

    /// Removes the entry of a fetch if no client is waiting; returns false when one is.
    pub(super) fn over_if_deserted(&self, file: FileId, flight: &Arc<Flight>) -> bool {
        let mut table = self.table.lock();
        // Clients subscribe only under the table lock.
        let nobody = flight.passengers.load(Ordering::SeqCst) == 0;
        if nobody {
            table.remove(&file);
        }
        nobody
    }

    fn remembered(&self, file: FileId) -> Option<FlightError> {
        let mut missing = self.missing.lock();
        match missing.get(&file) {
            Some((since, error)) if since.elapsed() < self.patience.missing => Some(error.clone()),
            Some(_) => {
                missing.remove(&file);
                None
            }
            None => None,
        }
    }
}
