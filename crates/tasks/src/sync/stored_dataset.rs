//! Data files from upstream that are stored, and loaded again at the next start: the rules for system requirements and
//! the advisories. A file that cannot be used is logged; one that lost more than half of its entries is refused.

use bytes::Bytes;

use super::SyncError;
use super::error::task_result;
use super::task::SyncTrigger;
use base::model::digest::Sha256;
use runtime::state::State;
use store::db::DbError;
use store::storage::Key;

/// A kind of data files, with its names in log lines and errors.
pub(super) struct DatasetKind {
    /// Plural noun: `rules for system requirements`.
    pub(super) noun: &'static str,
    /// The noun as it follows a number.
    pub(super) counted_noun: &'static str,
    /// The value of `rspm sync --type=`.
    pub(super) sync_type: &'static str,
}

impl DatasetKind {
    /// Logs a failed load, unless the cause is that the server stops or goes offline right after its start.
    pub(super) fn log_load_error(&self, result: Result<(), SyncError>) {
        match result {
            Ok(()) | Err(SyncError::Stopping | SyncError::Db(DbError::Closed)) => {}
            Err(error) => tracing::warn!(
                target: "sync", %error,
                "could not load the stored {}; fetch them again with rspm sync --type={}", self.noun, self.sync_type
            ),
        }
    }

    /// Refuses a file that lost more than half of its entries, unless an administrator started the refresh.
    pub(super) fn check_loss(
        &self,
        new_count: usize,
        old_count: usize,
        trigger: &SyncTrigger,
        address: &str,
    ) -> Result<(), SyncError> {
        match trigger {
            SyncTrigger::Administrator(_) | SyncTrigger::Confirmed(_) => Ok(()),
            SyncTrigger::Schedule | SyncTrigger::Mismatch if new_count * 2 >= old_count => Ok(()),
            SyncTrigger::Schedule | SyncTrigger::Mismatch => Err(SyncError::Refused(format!(
                "{address} has {new_count} {} where {old_count} are in use; if that is correct, accept it with \
                 rspm sync --type={}",
                self.counted_noun, self.sync_type
            ))),
        }
    }
}

/// Reads a data file from storage. Fails with storage errors; [`SyncError::Refused`] for another digest.
pub(super) async fn read_dataset(state: &State, key: &Key) -> Result<Bytes, SyncError> {
    let bytes = state.storage.read(key).await?;
    let digest = Sha256::of(&bytes);
    if digest == *key.digest() {
        return Ok(bytes);
    }
    Err(SyncError::Refused(format!("the object {} is damaged: it has the SHA-256 {digest}", key.path())))
}

/// Runs CPU-bound work on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SyncError> {
    task_result(tokio::task::spawn_blocking(work).await)?.map_err(SyncError::Refused)
}
