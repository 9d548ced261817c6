//! Stores a bad object again: a package from its mirror, a README from the archive of its package.

use super::finding::RepairOutcome;
use crate::serve::stored_again::{self, NotStoredAgain};
use crate::serve::{RepoError, Repositories};
use crate::state::State;
use crate::storage::Key;
use crate::upkeep::references::has_no_mirror;

/// The outcome for an object of a kind that a scrub never stores again; `None` for the other kinds.
fn without_repair(key: &Key) -> Option<RepairOutcome> {
    match key {
        Key::Package(..) | Key::Readme(_) => None,
        Key::Index(_) | Key::Usage(_) => Some(RepairOutcome::Generated),
        // Rules and advisories are fetched again by the next sync of their kind that finds a change, or by `rspm sync`.
        Key::Rules(_) | Key::Advisories(_) => Some(RepairOutcome::Obtainable),
    }
}

/// Stores an object again that is missing or was moved aside. Returns the outcome and, if that failed, the reason.
///
/// # Errors
/// Database and storage errors.
pub(super) async fn repair(
    repositories: &Repositories,
    key: &Key,
) -> Result<(RepairOutcome, Option<String>), RepoError> {
    if let Some(outcome) = without_repair(key) {
        return Ok((outcome, None));
    }
    // The only source of a package is its mirror.
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

/// The outcome for an object that is missing or was moved aside, if it is not stored again.
///
/// # Errors
/// Database errors.
pub(super) async fn expected_outcome(state: &State, key: &Key) -> Result<RepairOutcome, RepoError> {
    match (without_repair(key), key) {
        (Some(outcome), _) => Ok(outcome),
        // A README is extracted from the archive of its package.
        (None, Key::Readme(_)) => Ok(RepairOutcome::Obtainable),
        (None, key) if has_no_mirror(state, key).await? => Ok(RepairOutcome::Lost),
        (None, _) => Ok(RepairOutcome::Obtainable),
    }
}
