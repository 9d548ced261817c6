//! Boarding: the first client starts a flight, the others join it, and a failure is remembered for a minute.

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

/// What is too old is forgotten whenever this many failures came.
const FORGET_EVERY: usize = 256;

/// What a flight needs to know.
pub(in crate::repo) struct Ticket {
    /// The row.
    pub(super) file: FileId,
    /// Where to, the likeliest first.
    pub(super) places: Vec<Place>,
    /// What must come.
    pub(super) promise: Promise,
    /// Where it is kept.
    pub(super) class: StorageClass,
    /// True when the row says that it is in storage, and it is not, or damaged.
    pub(super) gone: bool,
    /// Who works.
    pub(super) crew: Crew,
}

/// What every flight of a [`crate::repo::Repo`] works with.
#[derive(Clone)]
pub(in crate::repo) struct Crew {
    /// The stores.
    pub(in crate::repo) state: Arc<State>,
    /// Takes down what was learnt.
    pub(in crate::repo) learner: Learner,
    /// Results of comparisons, until an object is stored anew.
    pub(in crate::repo) proofs: Arc<proof::Cache>,
    /// Called when the mirror and our index disagree.
    pub(in crate::repo) stale: Arc<dyn Fn() + Send + Sync>,
    /// Keeps the clean-up away from what is being stored.
    pub(in crate::repo) landing: Arc<tokio::sync::RwLock<()>>,
}

impl Ticket {
    /// For a file at one of these places.
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
        // What was stored once goes back to where its row says it is.
        let kept = found.class.as_deref().filter(|_| found.file_state == FileState::Stored);
        let kept = kept.and_then(|kept| StorageClass::ALL.into_iter().find(|class| class.as_str() == kept));
        let gone = kept.is_some();
        Ticket { file: found.file, places, promise, class: kept.unwrap_or(class), gone, crew }
    }
}

impl Flights {
    /// Joins the flight of `file`, or starts one.
    ///
    /// # Errors
    /// The file was not to be had within the last minute.
    pub(in crate::repo) fn board(
        &self,
        file: FileId,
        ticket: impl FnOnce() -> Ticket,
    ) -> Result<Passenger, FlightError> {
        let mut table = self.table.lock();
        if let Some(flight) = table.get(&file) {
            return Ok(Passenger::new(flight.clone()));
        }
        // Looked at with the table in hand: a flight that fails is remembered before it leaves the table.
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

    /// The failure that a fetch of `file` would meet now without asking a mirror: one that is remembered, or hosts that are
    /// all left alone.
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

    /// Remembers a failure that upstream answers for, so that a crowd asking for a missing file is not passed on.
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

    /// Ends the entry of a flight, unless it is another one's by now.
    pub(super) fn over(&self, file: FileId, flight: &Arc<Flight>) {
        let mut table = self.table.lock();
        if table.get(&file).is_some_and(|entry| Arc::ptr_eq(entry, flight)) {
            table.remove(&file);
        }
    }

    /// Ends the entry of a flight if nobody waits for it; false when somebody came.
    pub(super) fn over_if_deserted(&self, file: FileId, flight: &Arc<Flight>) -> bool {
        let mut table = self.table.lock();
        // Nobody boards without the table.
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
