//! Upkeep: the sweep of storage, its trash, eviction, files that are stored before they are requested, the scrub, the
//! ownership of storage classes, nightly maintenance, and the repair of the clock.

pub mod clock;
mod damaged;
pub mod evict;
mod job_results;
mod lease;
pub mod maintenance;
mod missing;
pub mod ownership;
pub mod prefetch;
mod references;
pub mod scrub;
pub mod sweep;
mod unmarked;
pub mod withheld;

use std::sync::Arc;

use crate::edit::Uploads;
use content::fetch::Fetches;
use content::serve::Repositories;
use job_results::JobResults;
use runtime::state::State;

/// Handle to the upkeep, with the locks of its parts.
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
