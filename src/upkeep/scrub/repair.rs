//! Stores a bad object again, from what has its bytes.

use super::finding::RepairOutcome;
use crate::serve::stored_again::{self, NotStoredAgain};
use crate::serve::{RepoError, Repositories};
use crate::state::State;
use crate::storage::Key;
use crate::upkeep::references::has_no_mirror;

/// What can be done about an object that is not in service; `None` if that depends on a repair.
fn without_repair(key: &Key) -> Option<RepairOutcome> {
    match key {
        Key::Package(..) | Key::Readme(_) => None,
        Key::Index(_) | Key::Usage(_) => Some(RepairOutcome::Generated),
        // They are fetched again by the next sync of their kind that finds a change, or by `rspm sync`.
        Key::Rules(_) | Key::Advisories(_) => Some(RepairOutcome::Obtainable),
    }
}

/// Stores an object again that is not in service. Returns also why that failed.
///
/// # Errors
/// The database or storage.
pub(super) async fn repair(
    repositories: &Repositories,
    key: &Key,
) -> Result<(RepairOutcome, Option<String>), RepoError> {
    if let Some(outcome) = without_repair(key) {
        return Ok((outcome, None));
    }
    // In the order of their costs: the only source of a package so far is its mirror.
    let stored = match key {
        Key::Readme(sha256) => stored_again::readme(repositories, *sha256).await,
        key => stored_again::package(repositories, *key.digest()).await,
    };
    match stored {
        Ok(()) => Ok((RepairOutcome::Repaired, None)),
        Err(NotStoredAgain::NoSource) => Ok((RepairOutcome::Lost, None)),
        Err(NotStoredAgain::Gone(reason)) => Ok((RepairOutcome::Lost, Some(reason))),
        Err(NotStoredAgain::Failed(reason)) => Ok((RepairOutcome::Obtainable, Some(reason))),
        Err(NotStoredAgain::Repo(error)) => Err(error),
    }
}

/// What can be done about an object that is not in service, without doing it.
///
/// # Errors
/// The database.
pub(super) async fn expected_outcome(state: &State, key: &Key) -> Result<RepairOutcome, RepoError> {
    match (without_repair(key), key) {
        (Some(outcome), _) => Ok(outcome),
        // It is extracted from the archive of its package.
        (None, Key::Readme(_)) => Ok(RepairOutcome::Obtainable),
        (None, key) if has_no_mirror(state, key).await? => Ok(RepairOutcome::Lost),
        (None, _) => Ok(RepairOutcome::Obtainable),
    }
}
