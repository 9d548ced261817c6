//! Errors of syncs; after a failed sync the last published state is still served.

use tokio::task::JoinError;

use base::model::kind::SourceKind;
use runtime::jobs::lease::ClaimError;
use runtime::publish::transaction::WriteError;
use store::db::DbError;
use store::storage::StorageError;
use upstream::UpstreamError;

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "this version cannot sync sources of type {0}; it supports {supported}",
        supported = SourceKind::phrase("and", SourceKind::is_built_in)
    )]
    NotSynced(SourceKind),
    #[error("back-fill is not supported for sources of type {0}; it is for cran")]
    NotBackfillable(SourceKind),
    #[error("another server that uses this database is syncing {0}; its result will be visible here as well")]
    HeldByOtherServer(String),
    #[error(
        "the sync was halted because the server goes offline; it resumes when the server is online again"
    )]
    Halted,
    #[error("the server is stopping; the sync will run again after the next start")]
    Stopping,
}

impl SyncError {
    /// Returns false if the sync ended early and nothing is wrong: it resumes later, or another server runs it.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, SyncError::Halted | SyncError::Stopping | SyncError::HeldByOtherServer(_))
    }
}

/// Returns the result of a task. A panic is resumed in the caller; a cancelled task means that the server stops.
pub(super) fn task_result<T>(result: Result<T, JoinError>) -> Result<T, SyncError> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => SyncError::Stopping,
    })
}

impl From<WriteError> for SyncError {
    fn from(error: WriteError) -> SyncError {
        match error {
            WriteError::Halted => SyncError::Halted,
            WriteError::Db(error) => SyncError::Db(error),
        }
    }
}

impl From<ClaimError> for SyncError {
    fn from(error: ClaimError) -> SyncError {
        match error {
            ClaimError::HeldByOther(name) => SyncError::HeldByOtherServer(name),
            ClaimError::Db(error) => SyncError::Db(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "a bug")]
    async fn a_panic_is_not_reported_as_the_end_of_the_server() {
        let result = tokio::task::spawn_blocking(|| panic!("a bug")).await;
        let _ = task_result::<()>(result);
    }
}
