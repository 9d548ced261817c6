//! Registry of fetches: the first request for a file starts one, later ones join it; a failure is remembered for a
//! minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::overflow::Overflow;
use super::verify::{ExpectedFile, PackageForm};
use super::{Fetch, FetchError, Fetches, Progress, Subscriber, task};
use crate::config::StorageClass;
use crate::db::file::FileState;
use crate::db::life::ReleaseFile;
use crate::model::ids::FileId;
use crate::repo::candidates::MirrorPath;
use crate::repo::file_updates::FileUpdater;
use crate::repo::integrity;
use crate::state::State;
use crate::upstream::UpstreamError;

/// Expired failures are removed whenever this many were recorded.
const PURGE_EVERY: usize = 256;

/// A request to fetch a file.
pub(in crate::repo) struct FetchRequest {
    /// The row of the file.
    pub(super) file: FileId,
    /// Upstream candidates, the likeliest first.
    pub(super) candidates: Vec<MirrorPath>,
    /// What the received file must match.
    pub(super) expected: ExpectedFile,
    /// The storage class for it.
    pub(super) class: StorageClass,
    /// True when the row says that the file is in storage, but it is missing or damaged.
    pub(super) is_lost: bool,
    /// Handles that the fetch uses.
    pub(super) deps: FetchDeps,
}

/// Handles shared by all fetches of a [`crate::repo::Repo`].
#[derive(Clone)]
pub(in crate::repo) struct FetchDeps {
    /// The stores.
    pub(in crate::repo) state: Arc<State>,
    /// Records the results in the database.
    pub(in crate::repo) updates: FileUpdater,
    /// Cached integrity checks; invalidated when an object is stored again.
    pub(in crate::repo) integrity_checks: Arc<integrity::Cache>,
    /// Called when the mirror and our index disagree.
    pub(in crate::repo) on_mismatch: Arc<dyn Fn() + Send + Sync>,
    /// Keeps the clean-up from deleting an object while it is stored.
    pub(in crate::repo) blob_lock: Arc<tokio::sync::RwLock<()>>,
}

impl FetchRequest {
    /// Creates a request for a file at one of these candidates.
    pub(in crate::repo) fn new(
        found: &ReleaseFile,
        expected: PackageForm,
        candidates: Vec<MirrorPath>,
        class: StorageClass,
        deps: FetchDeps,
    ) -> FetchRequest {
        let expected = ExpectedFile {
            name: found.name.clone(),
            form: expected,
            size: found.size.and_then(|size| u64::try_from(size).ok()),
            md5: found.md5,
            sha256: found.sha256,
        };
        // A file that was stored before returns to the class in its row.
        let kept = found.class.as_deref().filter(|_| found.file_state == FileState::Stored);
        let kept = kept.and_then(|kept| StorageClass::ALL.into_iter().find(|class| class.as_str() == kept));
        let is_lost = kept.is_some();
        FetchRequest { file: found.file, candidates, expected, class: kept.unwrap_or(class), is_lost, deps }
    }
}

impl Fetches {
    /// Joins the fetch of `file`, or starts one.
    ///
    /// # Errors
    /// The error of a fetch that failed within the last minute.
    pub(in crate::repo) fn join(
        &self,
        file: FileId,
        ticket: impl FnOnce() -> FetchRequest,
    ) -> Result<Subscriber, FetchError> {
        let mut table = self.table.lock();
        if let Some(fetch) = table.get(&file) {
            return Ok(Subscriber::new(fetch.clone()));
        }
        // Checked under the table lock: a failure is recorded before its fetch leaves the table.
        if let Some(error) = self.recent_failure(file) {
            return Err(error);
        }
        let ticket = ticket();
        let (progress, watch) = watch::channel(Progress::begin(&ticket.expected));
        let fetch = Arc::new(Fetch {
            progress: watch,
            spool: Mutex::default(),
            overflow: Overflow::new(self.memory.clone()),
            memory: self.memory.clone(),
            subscribers: AtomicUsize::new(0),
            subscribers_changed: Notify::new(),
        });
        table.insert(file, fetch.clone());
        let passenger = Subscriber::new(fetch.clone());
        drop(table);
        tokio::spawn(task::run(self.clone(), fetch, Arc::new(progress), ticket));
        Ok(passenger)
    }

    /// Returns the error that a fetch of `file` would meet now without an upstream request: a remembered failure, or
    /// open circuit breakers of all hosts.
    pub(in crate::repo) fn check(&self, file: FileId, places: &[MirrorPath]) -> Result<(), FetchError> {
        if self.table.lock().contains_key(&file) {
            return Ok(());
        }
        if let Some(error) = self.recent_failure(file) {
            return Err(error);
        }
        let mut refused = None;
        for place in places {
            match self.hosts.breaker_error(place.mirror.host()) {
                None => return Ok(()),
                Some(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), |error| Err(FetchError::Upstream(error)))
    }

    /// Remembers a failure caused by upstream, so that a crowd requesting a missing file causes no further upstream
    /// requests.
    pub(super) fn record_failure(&self, file: FileId, failure: &FetchError) {
        let ours = match failure {
            FetchError::Missing(_)
            | FetchError::Mismatch(_)
            | FetchError::Upstream(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => false,
            FetchError::Upstream(UpstreamError::Unavailable { .. })
            | FetchError::Storage(_)
            | FetchError::Cancelled => true,
        };
        if !ours {
            let mut missing = self.failures.lock();
            if missing.len() % PURGE_EVERY == PURGE_EVERY - 1 {
                missing.retain(|_, (since, _)| since.elapsed() < self.limits.failure_ttl);
            }
            missing.insert(file, (Instant::now(), failure.clone()));
        }
    }

    /// Removes the entry of a fetch, unless another fetch has replaced it.
    pub(super) fn remove(&self, file: FileId, fetch: &Arc<Fetch>) {
        let mut table = self.table.lock();
        if table.get(&file).is_some_and(|entry| Arc::ptr_eq(entry, fetch)) {
            table.remove(&file);
        }
    }

    /// Removes the entry of a fetch if no client is waiting; returns false when one is.
    pub(super) fn remove_if_unused(&self, file: FileId, fetch: &Arc<Fetch>) -> bool {
        let mut table = self.table.lock();
        // Clients subscribe only under the table lock.
        let unused = fetch.subscribers.load(Ordering::SeqCst) == 0;
        if unused {
            table.remove(&file);
        }
        unused
    }

    fn recent_failure(&self, file: FileId) -> Option<FetchError> {
        let mut missing = self.failures.lock();
        match missing.get(&file) {
            Some((since, error)) if since.elapsed() < self.limits.failure_ttl => Some(error.clone()),
            Some(_) => {
                missing.remove(&file);
                None
            }
            None => None,
        }
    }
}
