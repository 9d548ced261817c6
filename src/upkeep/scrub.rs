//! The nightly scrub: verifies the digests of stored packages, at a limited rate.

use std::time::{Duration, Instant};

use super::{Upkeep, lease, references};
use crate::db;
use crate::fetch::integrity::IntegrityCheck;
use crate::jobs::lease::Lease;
use crate::model::digest::Sha256;
use crate::serve::RepoError;
use crate::storage::{Key, StorageError};

/// Rows read in one query.
const PAGE: i64 = 500;

/// The limits of one night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubLimits {
    /// Average bytes per second.
    pub rate: u64,
    /// The longest duration; the next night continues from there.
    pub max_duration: Duration,
}

impl Default for ScrubLimits {
    fn default() -> ScrubLimits {
        ScrubLimits { rate: 16 << 20, max_duration: Duration::from_secs(3600) }
    }
}

/// The result of one night.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubResult {
    /// Packages with the right digest.
    pub sound: u64,
    /// Damaged packages, which were moved to the damaged area.
    pub damaged: u64,
    /// Packages that a row refers to and that are not in storage.
    pub missing: u64,
}

/// Verifies the digests of stored packages, continuing where the last run ended.
///
/// # Errors
/// The database or storage; [`RepoError::Conflict`] while another server that uses this database does it.
pub async fn scrub(upkeep: &Upkeep, limits: ScrubLimits) -> Result<ScrubResult, RepoError> {
    let lease = lease::claim(&upkeep.state, "scrub", "is verifying stored packages").await?;
    let mut counts = ScrubResult::default();
    let result = scrub_under_lease(upkeep, limits, &lease, &mut counts).await;
    lease.release().await;
    result?;
    let ScrubResult { sound, damaged, missing } = counts;
    if damaged + missing > 0 {
        tracing::error!(sound, damaged, missing, "verified the digests of stored packages");
    } else {
        tracing::debug!(sound, "verified the digests of stored packages");
    }
    Ok(counts)
}

async fn scrub_under_lease(
    upkeep: &Upkeep,
    limits: ScrubLimits,
    lease: &Lease,
    counts: &mut ScrubResult,
) -> Result<(), RepoError> {
    let start = Instant::now();
    let first = *upkeep.scrub_position.lock();
    let (mut after, mut has_wrapped) = (first, first.is_none());
    loop {
        lease.check().await?;
        let page = upkeep.state.db.read(move |c| db::blob::page(c, after, PAGE)).await?;
        if page.is_empty() {
            if has_wrapped {
                return Ok(());
            }
            (after, has_wrapped) = (None, true);
            continue;
        }
        for blob in page {
            if has_wrapped && first.is_some_and(|first| blob.sha256 > first) {
                return Ok(());
            }
            after = Some(blob.sha256);
            let key = references::object_key(&blob.class, blob.sha256);
            if let Some(key @ Key::Package(class, _)) = key
                && upkeep.state.storage.is_own(class)
            {
                let object_start = Instant::now();
                scrub_object(upkeep, &key, counts).await?;
                let size = u64::try_from(blob.size).unwrap_or(0);
                let min_duration = Duration::from_secs_f64(size as f64 / limits.rate.max(1) as f64);
                tokio::time::sleep(min_duration.saturating_sub(object_start.elapsed())).await;
            }
            *upkeep.scrub_position.lock() = after;
            if start.elapsed() > limits.max_duration {
                return Ok(());
            }
        }
    }
}

async fn scrub_object(upkeep: &Upkeep, key: &Key, counts: &mut ScrubResult) -> Result<(), RepoError> {
    match upkeep.fetches.integrity.verify(key).await {
        Ok(IntegrityCheck::Sound) => counts.sound += 1,
        Ok(damaged @ IntegrityCheck::Damaged(_)) => {
            upkeep.fetches.integrity.insert(*key, damaged);
            counts.damaged += 1;
        }
        Err(StorageError::NotFound(_)) => {
            let sha256 = *key.digest();
            let is_referenced = upkeep.state.db.read(move |c| db::blob::references(c, sha256)).await? > 0;
            if is_referenced {
                counts.missing += 1;
                if references::has_no_mirror(&upkeep.state, key).await? {
                    upkeep.state.storage.add_lost(key);
                }
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A random start for the first run of a process, so that a server that restarts every day verifies all packages in
/// time.
pub(super) fn random_start() -> Option<Sha256> {
    Some(Sha256(rand::random()))
}
