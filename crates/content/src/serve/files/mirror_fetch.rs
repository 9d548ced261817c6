//! Fetches located files from their mirrors.

use super::located::LocatedFile;
use super::upstream;
use crate::fetch::{Delivery, FetchError, FetchOutcome, FetchRequest, Subscriber};
use crate::serve::{RepoError, Repositories, error};
use ::upstream::UpstreamError;
use store::db;
use store::storage::{Key, StorageError};

/// Joins the running fetch of a file, or starts one.
pub(in crate::serve) async fn join_fetch(
    repositories: &Repositories,
    located: &LocatedFile,
) -> Result<Subscriber, RepoError> {
    if !upstream::may_be_fetched(&repositories.state, located) {
        return Err(upstream::no_upstream(located));
    }
    let (candidates, class, expected) = upstream::candidates(&repositories.state, located)?;
    let request =
        || FetchRequest::new(&located.row, expected, candidates, class, located.tree, &located.package);
    match repositories.fetches.join(located.row.file, request) {
        Ok(subscriber) => Ok(subscriber),
        Err(error) => Err(fetch_error(repositories, located, error).await),
    }
}

/// Returns the error of a failed fetch; of an index, stating whether it removed the file, which earlier snapshots list.
pub(in crate::serve) async fn fetch_error(
    repositories: &Repositories,
    located: &LocatedFile,
    error: FetchError,
) -> RepoError {
    if !located.source().is_project_index() || !matches!(error, FetchError::Missing(_)) {
        return error.into();
    }
    let (tree, row) = (located.tree().tree, located.row.clone());
    let is_listed = repositories.state.db.read(move |c| db::project_file::is_listed(c, tree, &row));
    match is_listed.await {
        Ok(true) => error.into(),
        Ok(false) => RepoError::NotFound(format!(
            "the index removed the file '{}', and no copy of it is stored here",
            located.name
        )),
        Err(error) => error.into(),
    }
}

/// Fetches a located file, and returns the stored object. Fails as [`join_fetch`], and if the file cannot be stored.
pub(in crate::serve) async fn fetch_to_storage(
    repositories: &Repositories,
    located: &LocatedFile,
) -> Result<Key, RepoError> {
    match join_fetch(repositories, located).await?.wait_end().await {
        Some(FetchOutcome::Done(Delivery::Stored(key))) => Ok(key),
        Some(FetchOutcome::Done(Delivery::SentOnly)) => Err(RepoError::Storage(StorageError::Other(
            "the fetched file could not be stored; the server log has the reason".to_owned(),
        ))),
        Some(FetchOutcome::Failed(error)) => Err(fetch_error(repositories, located, error).await),
        None => Err(error::stopping().into()),
    }
}

impl From<FetchError> for RepoError {
    fn from(error: FetchError) -> RepoError {
        match error {
            FetchError::Missing(message) => RepoError::NotFound(message),
            FetchError::Mismatch(reason) => RepoError::Upstream {
                source: UpstreamError::Refused { url: "the mirror".to_owned(), reason },
                retry_after: 60,
            },
            FetchError::Upstream(source) => {
                let retry_after = match &source {
                    UpstreamError::Unavailable { retry_after, .. } => retry_after.unwrap_or(30),
                    UpstreamError::Missing(_) | UpstreamError::Refused { .. } => 60,
                };
                RepoError::Upstream { source, retry_after }
            }
            FetchError::Storage(reason) => RepoError::Storage(StorageError::Other(reason)),
            FetchError::Cancelled => RepoError::Storage(StorageError::Other(error.to_string())),
        }
    }
}
