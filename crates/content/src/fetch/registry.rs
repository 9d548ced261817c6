//! Registry of fetches: the first request for a file starts one, later ones join it; a failure is cached for a minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, Semaphore, watch};

use super::accesses::{self, Accesses};
use super::candidates::MirrorPath;
use super::file_updates::FileUpdater;
use super::host_limits::HostLimits;
use super::integrity::IntegrityChecks;
use super::mismatch_hook::MismatchHook;
use super::overflow::{Overflow, OverflowBudget};
use super::verify::{ExpectedFile, PackageForm};
use super::{Fetch, FetchError, FetchLimits, Progress, Subscriber, task};
use base::model::ids::FileId;
use base::model::kind::StorageClass;
use base::model::point::PointTree;
use runtime::state::State;
use store::db::file::FileState;
use store::db::life::ReleaseFile;
use upstream::UpstreamError;

/// For package files, to all hosts together.
const MAX_REQUESTS: usize = 64;
/// Expired failures are removed whenever the number of recorded failures reaches a multiple of this number.
const PURGE_EVERY: usize = 256;

pub struct FetchRequest {
    pub(super) file: FileId,
    pub(super) candidates: Vec<MirrorPath>,
    pub(super) expected: ExpectedFile,
    pub(super) class: StorageClass,
    /// Whether the file is missing or damaged although it is in storage according to its row.
    pub(super) is_unusable: bool,
    pub(super) tree: PointTree,
    pub(super) package: String,
}

impl FetchRequest {
    /// Creates a request for a file of a package, which a tree lists, at one of these candidates.
    pub fn new(
        file: &ReleaseFile,
        form: PackageForm,
        candidates: Vec<MirrorPath>,
        class: StorageClass,
        tree: PointTree,
        package: &str,
    ) -> FetchRequest {
        let expected = ExpectedFile {
            name: file.name.clone(),
            form,
            size: file.size.and_then(|size| u64::try_from(size).ok()),
            md5: file.md5,
            sha256: file.sha256,
        };
        // A file that was stored before is stored again in the class that its row names.
        let stored_class = file.class.as_deref().filter(|_| file.file_state == FileState::Stored);
        let stored_class = stored_class.and_then(StorageClass::parse);
        let is_unusable = stored_class.is_some();
        let class = stored_class.unwrap_or(class);
        let package = package.to_owned();
        FetchRequest { file: file.file, candidates, expected, class, is_unusable, tree, package }
    }
}

/// The fetches in progress, recent failures, and the state shared with code that reads and removes stored files.
pub struct Fetches {
    pub(super) state: Arc<State>,
    table: Mutex<HashMap<FileId, Arc<Fetch>>>,
    failures: Mutex<HashMap<FileId, (Instant, FetchError)>>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) hosts: HostLimits,
    overflow_budget: OverflowBudget,
    pub(super) limits: FetchLimits,
    pub(super) updates: FileUpdater,
    pub(super) mismatch_hook: MismatchHook,
    pub accesses: Arc<Accesses>,
    pub integrity: IntegrityChecks,
    /// Locked shared while a blob and its row are written, exclusively while both are removed.
    pub blob_lock: RwLock<()>,
}

impl Fetches {
    /// Creates an empty registry. Must be called inside the runtime: it starts the task that records results.
    pub fn new(state: Arc<State>) -> Arc<Fetches> {
        Fetches::with_limits(state, FetchLimits::default())
    }

    pub fn with_limits(state: Arc<State>, limits: FetchLimits) -> Arc<Fetches> {
        let accesses = Arc::new(Accesses::new());
        tokio::spawn(accesses::write_periodically(Arc::downgrade(&accesses), state.db.clone()));
        Arc::new(Fetches {
            accesses,
            table: Mutex::default(),
            failures: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_REQUESTS)),
            hosts: HostLimits::default(),
            overflow_budget: OverflowBudget::default(),
            limits,
            updates: FileUpdater::start(state.db.clone()),
            mismatch_hook: MismatchHook::default(),
            integrity: IntegrityChecks::new(state.storage.clone()),
            blob_lock: RwLock::default(),
            state,
        })
    }

    pub fn count(&self) -> usize {
        self.table.lock().len()
    }

    /// Sets the callback for a mirror whose files are newer or older than the stored index, with tree and
    /// package of such a file: see [`super::mismatch_hook`].
    pub fn on_mismatch(&self, callback: impl Fn(PointTree, &str) + Send + Sync + 'static) {
        self.mismatch_hook.set(Box::new(callback));
    }

    /// Joins or starts the fetch of `file`. Fails if it failed in the last minute, unless upstream may be back.
    pub fn join(
        self: &Arc<Self>,
        file: FileId,
        new_request: impl FnOnce() -> FetchRequest,
    ) -> Result<Subscriber, FetchError> {
        let mut table = self.table.lock();
        if let Some(fetch) = table.get(&file) {
            return Ok(Subscriber::new(fetch.clone()));
        }
        // Checked under the table lock: a failure is recorded before its fetch is removed from the table.
        if let Some(error) = self.recent_failure(file).filter(|error| !can_retry(error)) {
            return Err(error);
        }
        let request = new_request();
        let (progress, receiver) = watch::channel(Progress::begin(&request.expected));
        let fetch = Arc::new(Fetch {
            progress: receiver,
            spool: Mutex::default(),
            overflow: Overflow::new(self.overflow_budget.clone()),
            overflow_budget: self.overflow_budget.clone(),
            subscribers: AtomicUsize::new(0),
            subscribers_changed: Notify::new(),
        });
        table.insert(file, fetch.clone());
        let subscriber = Subscriber::new(fetch.clone());
        drop(table);
        tokio::spawn(task::run(self.clone(), fetch, Arc::new(progress), request));
        Ok(subscriber)
    }

    /// Returns the error with which a fetch would fail without a request: a recent one, or open breakers of all hosts.
    pub fn check(&self, file: FileId, candidates: &[MirrorPath]) -> Result<(), FetchError> {
        if self.table.lock().contains_key(&file) {
            return Ok(());
        }
        if let Some(error) = self.recent_failure(file) {
            return Err(error);
        }
        let mut last_error = None;
        for candidate in candidates {
            match self.hosts.breaker_error(candidate.mirror.host()) {
                None => return Ok(()),
                Some(error) => last_error = Some(error),
            }
        }
        last_error.map_or(Ok(()), |error| Err(FetchError::Upstream(error)))
    }

    /// Records a failure caused by upstream: many requests for a missing file cause no further upstream
    /// requests, and [`Fetches::check`] returns the last error.
    pub(super) fn record_failure(&self, file: FileId, failure: &FetchError) {
        let is_local = match failure {
            FetchError::Missing(_) | FetchError::Mismatch(_) | FetchError::Upstream(_) => false,
            FetchError::Storage(_) | FetchError::Cancelled => true,
        };
        if !is_local {
            let mut failures = self.failures.lock();
            if failures.len() % PURGE_EVERY == PURGE_EVERY - 1 {
                failures.retain(|_, (failed_at, _)| failed_at.elapsed() < self.limits.failure_ttl);
            }
            failures.insert(file, (Instant::now(), failure.clone()));
        }
    }

    pub(super) fn clear_failure(&self, file: FileId) {
        self.failures.lock().remove(&file);
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
        let is_unused = fetch.subscribers.load(Ordering::SeqCst) == 0;
        if is_unused {
            table.remove(&file);
        }
        is_unused
    }

    fn recent_failure(&self, file: FileId) -> Option<FetchError> {
        let mut failures = self.failures.lock();
        match failures.get(&file) {
            Some((failed_at, error)) if failed_at.elapsed() < self.limits.failure_ttl => Some(error.clone()),
            Some(_) => {
                failures.remove(&file);
                None
            }
            None => None,
        }
    }
}

/// Returns whether the next request for the file is sent to the mirror despite the failure.
fn can_retry(failure: &FetchError) -> bool {
    matches!(failure, FetchError::Upstream(UpstreamError::Unavailable { .. }))
}
