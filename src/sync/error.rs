//! Why a sync did not happen; the last good state keeps serving.

use crate::db::DbError;
use crate::jobs::lease::ClaimError;
use crate::storage::StorageError;
use crate::upstream::UpstreamError;

/// An error of the sync room.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The mirror.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What the mirror declares is refused.
    #[error("{0}")]
    Refused(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A kind of source that has no sync.
    #[error("this version cannot sync sources of type {0}; it supports cran and bioconductor")]
    NotSynced(crate::model::source::SourceKind),
    /// A kind of source that has no history elsewhere.
    #[error("the history of sources of type {0} cannot be filled in; that of cran can")]
    NoPast(crate::model::source::SourceKind),
    /// Another node of the cluster does it, or took it over.
    #[error("another server that uses this database is syncing {0}; its result will be visible here as well")]
    Elsewhere(String),
    /// The server goes offline.
    #[error(
        "the sync was halted because the server goes offline; it goes on when the server is online again"
    )]
    Halted,
    /// The server is going down.
    #[error("the server is stopping; the sync will run again after the next start")]
    Stopping,
}

impl From<ClaimError> for SyncError {
    fn from(error: ClaimError) -> SyncError {
        match error {
            ClaimError::Elsewhere(name) => SyncError::Elsewhere(name),
            ClaimError::Db(error) => SyncError::Db(error),
        }
    }
}
