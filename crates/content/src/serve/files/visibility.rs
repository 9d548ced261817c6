//! Waits for a stored object that another server may have written to a network file system.

use std::time::Duration;

use super::located::LocatedFile;
use super::upstream;
use crate::serve::{RepoError, Repositories};
use base::config::{ClassLocation, Provider};
use store::storage::{Key, StorageError};

/// Delays before each repeated search for an object that was not found. An NFS client that caches absent
/// names may see a new file late; `lookupcache=positive` prevents it (nfs(5)).
const DELAYS: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Calls `attempt`, which reads an object, and calls it again if the object was not found and then became visible.
pub(in crate::serve) async fn when_visible<T, F: Future<Output = Result<T, RepoError>>>(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    attempt: impl Fn() -> F,
) -> Result<T, RepoError> {
    let result = attempt().await;
    match &result {
        Err(error) if Box::pin(becomes_visible(repositories, located, key, error)).await? => {
            Box::pin(attempt()).await
        }
        _ => result,
    }
}

/// Waits until an object that was not found is visible, at most the sum of [`DELAYS`], and returns whether it is. Does
/// not wait if no other server can have stored it, if a mirror has the file, or if the object is known to be lost.
async fn becomes_visible(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    error: &RepoError,
) -> Result<bool, RepoError> {
    let state = &repositories.state;
    let may_become_visible = matches!(error, RepoError::Storage(StorageError::NotFound(_)))
        && is_shared(repositories, key)
        && state.storage.is_own(key.class())
        && !state.storage.is_lost(key)
        && !upstream::may_be_fetched(state, located);
    if !may_become_visible {
        return Ok(false);
    }
    for delay in DELAYS {
        tokio::time::sleep(delay).await;
        if state.storage.size(key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether several servers can use the directory of an object.
fn is_shared(repositories: &Repositories, key: &Key) -> bool {
    let config = repositories.state.config.load();
    config.database.provider == Provider::Postgres
        && matches!(config.storage.location(key.class()), ClassLocation::File(_))
}
