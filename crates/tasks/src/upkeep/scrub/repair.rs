//! Stores a bad object again: from a backup, from its mirror, or from the archive of its package.

use super::finding::RepairOutcome;
use crate::backup::error::BackupError;
use crate::backup::stored_again::BackupFiles;
use crate::upkeep::Upkeep;
use crate::upkeep::references::has_no_mirror;
use content::serve::RepoError;
use content::serve::stored_again::{self, RepairError};
use runtime::state::State;
use store::storage::Key;

/// Returns the outcome for an object of a kind that a scrub never stores again; `None` for the other kinds.
fn without_repair(key: &Key) -> Option<RepairOutcome> {
    match key {
        Key::Package(..) | Key::Readme(_) => None,
        // A log is not needed for anything else; only a backup has its bytes.
        Key::BuildLog(_) => Some(RepairOutcome::Lost),
        Key::Index(_) | Key::Usage(_) => Some(RepairOutcome::Generated),
        // Rules and advisories are fetched again by the next sync of their kind that finds a change, or by `rspm sync`.
        Key::Rules(_) | Key::Advisories(_) => Some(RepairOutcome::Obtainable),
    }
}

/// Stores an object again that is missing or damaged. Returns the outcome and, if that failed, the reason.
pub(super) async fn repair(
    upkeep: &Upkeep,
    backup: Option<&BackupFiles>,
    key: &Key,
) -> Result<(RepairOutcome, Option<String>), RepoError> {
    let from_backup = match backup {
        Some(files) => restore(upkeep, files, *key).await,
        None => Ok(false),
    };
    let failure = match from_backup {
        Ok(true) => return Ok((RepairOutcome::Repaired, None)),
        Ok(false) => None,
        Err(error) => Some(format!("the backup: {error}")),
    };
    if let Some(outcome) = without_repair(key) {
        return Ok((outcome, failure));
    }
    let repositories = &upkeep.repositories;
    let result = match key {
        Key::Readme(sha256) => stored_again::readme(repositories, *sha256).await,
        key => stored_again::package(repositories, *key.digest()).await,
    };
    let join_reasons = |reason: String| {
        Some([failure.clone(), Some(reason)].into_iter().flatten().collect::<Vec<_>>().join("; "))
    };
    match result {
        Ok(()) => Ok((RepairOutcome::Repaired, None)),
        Err(RepairError::NoSource) => Ok((RepairOutcome::Lost, failure)),
        Err(RepairError::Gone(reason)) => Ok((RepairOutcome::Lost, join_reasons(reason))),
        Err(RepairError::Failed(reason)) => Ok((RepairOutcome::Obtainable, join_reasons(reason))),
        Err(RepairError::Repo(error)) => Err(error),
    }
}

/// Stores an object from a backup; returns false if the backup lacks it.
async fn restore(upkeep: &Upkeep, files: &BackupFiles, key: Key) -> Result<bool, BackupError> {
    let _guard = upkeep.fetches.blob_lock.read().await;
    let is_stored = files.store(&upkeep.state, key).await?;
    if is_stored {
        upkeep.fetches.integrity.remove(&key);
    }
    Ok(is_stored)
}

/// Returns the outcome that a repair of a bad object could have, without repairing it.
pub(super) async fn expected_outcome(state: &State, key: &Key) -> Result<RepairOutcome, RepoError> {
    match (without_repair(key), key) {
        (Some(outcome), _) => Ok(outcome),
        // A README is extracted from the archive of its package.
        (None, Key::Readme(_)) => Ok(RepairOutcome::Obtainable),
        (None, key) if has_no_mirror(state, key).await? => Ok(RepairOutcome::Lost),
        (None, _) => Ok(RepairOutcome::Obtainable),
    }
}
