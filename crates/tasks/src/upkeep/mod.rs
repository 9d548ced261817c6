//! Upkeep: sweep, trash and eviction, files that are stored ahead of requests, the scrub, the ownership of
//! storage classes, nightly maintenance, and the repair of the clock.

pub mod clock;
pub mod evict;
pub mod maintenance;
mod missing;
pub mod ownership;
pub mod prefetch;
mod references;
pub mod scrub;
pub mod sweep;
pub mod withheld;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::edit::Uploads;
use content::fetch::Fetches;
use content::serve::{RepoError, Repositories};
use runtime::jobs::lease::{ClaimError, Lease};
use runtime::state::State;

pub struct Upkeep {
    state: Arc<State>,
    fetches: Arc<Fetches>,
    repositories: Arc<Repositories>,
    uploads: Arc<Uploads>,
    /// The results of the last scrubs of this process.
    scrub_results: JobResults<scrub::ScrubResult>,
    /// The results of the last evictions of this process.
    eviction_results: JobResults<evict::EvictionResult>,
    /// The results of the last requests to store files of PyPI.
    prefetch_results: JobResults<prefetch::PrefetchResult>,
    /// Serializes moves to the trash and restores.
    trash_lock: tokio::sync::Mutex<()>,
    /// Serializes comparisons and writes of storage markers.
    marker_lock: tokio::sync::Mutex<()>,
}

impl Upkeep {
    pub fn new(
        fetches: Arc<Fetches>,
        repositories: Arc<Repositories>,
        uploads: Arc<Uploads>,
        state: Arc<State>,
    ) -> Arc<Upkeep> {
        Arc::new(Upkeep {
            scrub_results: JobResults::default(),
            eviction_results: JobResults::default(),
            prefetch_results: JobResults::default(),
            trash_lock: tokio::sync::Mutex::default(),
            marker_lock: tokio::sync::Mutex::default(),
            fetches,
            repositories,
            uploads,
            state,
        })
    }
}

const MAX_RESULTS: usize = 8;

/// The number of a job, known only after its start.
type JobNumber = Arc<OnceLock<u64>>;

struct JobResults<T>(Mutex<VecDeque<(JobNumber, Arc<T>)>>);

impl<T> Default for JobResults<T> {
    fn default() -> JobResults<T> {
        JobResults(Mutex::default())
    }
}

impl<T> JobResults<T> {
    /// Adds the result of a job, and removes the oldest of too many.
    fn add(&self, job: JobNumber, result: T) {
        let mut results = self.0.lock();
        if results.len() == MAX_RESULTS {
            results.pop_front();
        }
        results.push_back((job, Arc::new(result)));
    }

    fn get(&self, job: u64) -> Option<Arc<T>> {
        let results = self.0.lock();
        results.iter().find(|(number, _)| number.get() == Some(&job)).map(|(_, result)| Arc::clone(result))
    }
}

/// Claims a lease for a task of one server at a time. `activity` is the verb of the error text "another
/// server that uses this database …". Fails while another server does the task.
async fn claim_lease(state: &State, name: &str, activity: &str) -> Result<Lease, RepoError> {
    match Lease::claim(&state.db, state.node, name).await {
        Ok(lease) => Ok(lease),
        Err(ClaimError::Db(error)) => Err(error.into()),
        Err(ClaimError::HeldByOther(_)) => {
            let text =
                format!("another server that uses this database {activity}; try again when that is done");
            Err(RepoError::Conflict(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_results_are_kept() {
        let results = JobResults::default();
        for job in 0..10 {
            results.add(Arc::new(OnceLock::from(job)), job);
        }
        assert_eq!(results.get(9).as_deref(), Some(&9));
        assert_eq!((results.get(2).as_deref(), results.get(1)), (Some(&2), None));
        results.add(JobNumber::default(), 7);
        assert_eq!(results.get(2), None, "a result whose number is not known yet is stored, too");
    }
}
