//! Boarding: the first client starts a flight, the others join it, and a failure is remembered for a minute.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::verify::Promise;
use super::{Flight, FlightError, Flights, MISSING_FOR, Passenger, Progress, pilot};
use crate::config::StorageClass;
use crate::db::life::FoundFile;
use crate::model::ids::FileId;
use crate::repo::learn::Learner;
use crate::state::State;
use crate::upstream::Mirror;

/// What a flight needs to know.
pub(in crate::repo) struct Ticket {
    /// The row.
    pub(super) file: FileId,
    /// Where to.
    pub(super) mirror: Mirror,
    /// Paths on the mirror, the likeliest first.
    pub(super) paths: Vec<String>,
    /// What must come.
    pub(super) promise: Promise,
    /// Where it is kept.
    pub(super) class: StorageClass,
    /// The stores.
    pub(super) state: Arc<State>,
    /// Takes down what was learnt.
    pub(super) learner: Learner,
    /// Called when the mirror and our index disagree.
    pub(super) stale: Arc<dyn Fn() + Send + Sync>,
}

impl Ticket {
    /// For a file of a CRAN-like mirror: where the index says it is, then in its archive, then among the current.
    pub(in crate::repo) fn new(
        found: &FoundFile,
        package: &str,
        mirror: Mirror,
        class: StorageClass,
        state: Arc<State>,
        learner: Learner,
        stale: Arc<dyn Fn() + Send + Sync>,
    ) -> Ticket {
        let mut paths = vec![format!("src/contrib/{}", found.locator)];
        for other in
            [format!("src/contrib/Archive/{package}/{}", found.name), format!("src/contrib/{}", found.name)]
        {
            if !paths.contains(&other) {
                paths.push(other);
            }
        }
        let promise = Promise {
            name: found.name.clone(),
            size: found.size.and_then(|size| u64::try_from(size).ok()),
            md5: found.md5,
            sha256: found.sha256,
        };
        Ticket { file: found.file, mirror, paths, promise, class, state, learner, stale }
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
        if let Some(error) = self.remembered(file) {
            return Err(error);
        }
        let mut table = self.table.lock();
        if let Some(flight) = table.get(&file) {
            return Ok(Passenger::new(flight.clone()));
        }
        let (progress, watch) = watch::channel(Progress::default());
        let flight = Arc::new(Flight {
            progress: watch,
            spool: Mutex::default(),
            tail: Mutex::default(),
            passengers: AtomicUsize::new(0),
            boarding: Notify::new(),
        });
        table.insert(file, flight.clone());
        drop(table);
        let passenger = Passenger::new(flight.clone());
        tokio::spawn(pilot::fly(self.clone(), flight, Arc::new(progress), ticket()));
        Ok(passenger)
    }

    /// Ends the entry of a flight that is over. A failure that upstream answers for is remembered for a minute, so
    /// that a crowd asking for a missing file is not passed on.
    pub(super) fn over(&self, file: FileId, failure: Option<&FlightError>) {
        if let Some(error @ (FlightError::Missing(_) | FlightError::Mismatch(_))) = failure {
            let mut missing = self.missing.lock();
            missing.retain(|_, (since, _)| since.elapsed() < MISSING_FOR);
            missing.insert(file, (Instant::now(), error.clone()));
        }
        self.table.lock().remove(&file);
    }

    fn remembered(&self, file: FileId) -> Option<FlightError> {
        let mut missing = self.missing.lock();
        match missing.get(&file) {
            Some((since, error)) if since.elapsed() < MISSING_FOR => Some(error.clone()),
            Some(_) => {
                missing.remove(&file);
                None
            }
            None => None,
        }
    }
}
