//! Digest check of stored objects, at the first open in a process; `serve::file` also compares the size at
//! each open, and repeats the check if it differs.
//!
//! An object is damaged if two reads gave the same wrong bytes, as many as its size: one read of a bucket or
//! a network file system can be wrong. It is moved to the directory `damaged` of its class and never served:
//! a mirrored file is fetched again, instead of a binary the source package is served. One that cannot be
//! moved is read again after a pause: all reads of a location can be wrong for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use base::model::digest::Sha256;
use store::storage::{Key, ObjectDigest, Storage, StorageError};

/// Maximum number of cached results, about 100 bytes each: more than the CRAN files that clients request.
const CACHE_ENTRIES: usize = 200_000;

/// Pause before a damaged object is read again, in durations of a read: requests for it cause a bounded share of reads.
const PAUSE_FACTOR: u32 = 10;
/// The shortest and the longest pause.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

#[derive(Clone, Debug)]
pub enum IntegrityCheck {
    /// The bytes have the digest that is the name of the object.
    Intact,
    /// The bytes have a different digest.
    Damaged(Arc<DamagedObject>),
}

#[derive(Debug)]
pub struct DamagedObject {
    sha256: Sha256,
    /// Time from which it may be read again.
    recheck_at: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    /// The digest of the object differs from its name. It may have been moved to the directory `damaged` before.
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

pub struct IntegrityChecks {
    storage: Storage,
    results: quick_cache::sync::Cache<Key, IntegrityCheck>,
}

impl IntegrityChecks {
    pub(super) fn new(storage: Storage) -> IntegrityChecks {
        IntegrityChecks { storage, results: quick_cache::sync::Cache::new(CACHE_ENTRIES) }
    }

    /// Checks that the bytes of an object have its digest, once per process.
    pub async fn check(&self, key: &Key) -> Result<(), IntegrityError> {
        let check = match self.results.get(key) {
            Some(IntegrityCheck::Damaged(damage)) if damage.recheck_at <= Instant::now() => {
                self.results.remove(key);
                None
            }
            cached => cached,
        };
        let check = match check {
            Some(check) => check,
            // Concurrent callers wait for the same read.
            None => match Box::pin(self.results.get_or_insert_async(key, self.verify(key))).await {
                Err(StorageError::NotFound(_)) if self.storage.is_damaged(key) => {
                    let reason = format!(
                        "the object {} is damaged and was moved to the directory 'damaged'",
                        key.path()
                    );
                    return Err(IntegrityError::Damaged(reason));
                }
                result => result?,
            },
        };
        match check {
            IntegrityCheck::Intact => Ok(()),
            IntegrityCheck::Damaged(damage) => {
                let reason = format!(
                    "the object {} has the SHA-256 {} instead of that in its name",
                    key.path(),
                    damage.sha256
                );
                Err(IntegrityError::Damaged(reason))
            }
        }
    }

    /// Returns whether the last digest check of an object found damage.
    pub fn is_known_damaged(&self, key: &Key) -> bool {
        matches!(self.results.get(key), Some(IntegrityCheck::Damaged(_)))
    }

    /// Reads a small object and checks its digest; `None` if missing or damaged (then moved to the directory `damaged`).
    pub async fn read_verified(&self, key: &Key) -> Result<Option<Bytes>, StorageError> {
        for _ in 0..2 {
            match self.storage.read(key).await {
                Ok(bytes) if Sha256::of(&bytes) == *key.digest() => {
                    return Ok(Some(bytes));
                }
                Ok(_) => {}
                Err(StorageError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
            match self.verify(key).await {
                Ok(IntegrityCheck::Intact) => {}
                Ok(IntegrityCheck::Damaged(_)) | Err(StorageError::NotFound(_)) => {
                    self.results.remove(key);
                    return Ok(None);
                }
                Err(error @ StorageError::Io { .. }) => {
                    tracing::error!(object = %key, %error, "could not move a damaged object to the directory 'damaged'");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::UnstableRead(key.path()))
    }

    /// Reads an object, if necessary twice, and [compares](IntegrityChecks::compare) digests.
    async fn verify(&self, key: &Key) -> Result<IntegrityCheck, StorageError> {
        let started_at = Instant::now();
        let first = self.storage.digest(key).await?;
        if first.sha256 == *key.digest() {
            return Ok(IntegrityCheck::Intact);
        }
        let second = self.storage.digest(key).await?;
        self.compare(key, [first, second], started_at).await
    }

    /// Compares two reads of an object, the first begun at `started_at`, with its name, and moves a damaged one to the
    /// directory `damaged`. Fails with [`StorageError::UnstableRead`] if the reads do not show whether it is damaged.
    pub async fn compare(
        &self,
        key: &Key,
        reads: [ObjectDigest; 2],
        started_at: Instant,
    ) -> Result<IntegrityCheck, StorageError> {
        let [ObjectDigest { sha256, size }, second] = reads;
        if reads.iter().any(|read| read.sha256 == *key.digest()) {
            tracing::warn!(object = %key, "a read of a stored object gave wrong bytes, and another one the right ones");
            return Ok(IntegrityCheck::Intact);
        }
        // A backend that sends a part of an object with a matching length states the right size without the body.
        if second.sha256 != sha256 || self.storage.size(key).await? != Some(size) {
            return Err(StorageError::UnstableRead(key.path()));
        }
        self.move_damaged(key, sha256).await?;
        let recheck_at = Instant::now() + pause(started_at.elapsed());
        Ok(IntegrityCheck::Damaged(Arc::new(DamagedObject { sha256, recheck_at })))
    }

    /// Moves a damaged object to the directory `damaged`. Objects of another database are neither moved nor served.
    async fn move_damaged(&self, key: &Key, sha256: Sha256) -> Result<(), StorageError> {
        let is_moved = self.storage.is_own(key.class()) && self.storage.move_to_damaged(key).await?;
        tracing::error!(object = %key, %sha256, moved_to_damaged = is_moved, "a stored object is damaged: the digest of its bytes is not the one in its name");
        Ok(())
    }

    /// Moves an object that the disk cannot read to the directory `damaged`.
    pub async fn move_unreadable(&self, key: &Key, reason: &str) -> Result<(), StorageError> {
        let is_moved = self.storage.is_own(key.class()) && self.storage.move_to_damaged(key).await?;
        tracing::error!(object = %key, reason, moved_to_damaged = is_moved, "a stored object cannot be read");
        Ok(())
    }

    pub fn insert(&self, key: Key, check: IntegrityCheck) {
        self.results.insert(key, check);
    }

    /// Discards a result that states damage: a later read gave the right bytes.
    pub fn remove_damage(&self, key: &Key) {
        if self.is_known_damaged(key) {
            self.results.remove(key);
            tracing::warn!(object = %key, "a stored object that gave wrong bytes before gave the right ones");
        }
    }

    /// Discards the result for an object that was stored again.
    pub fn remove(&self, key: &Key) {
        self.results.remove(key);
    }
}

fn pause(duration: Duration) -> Duration {
    let [shortest, longest] = PAUSES;
    (duration * PAUSE_FACTOR).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_object_is_read_again_soon_if_it_is_read_fast() {
        let [fast, medium, slow] = [10, 3_000, 600_000].map(|ms| pause(Duration::from_millis(ms)).as_secs());
        assert_eq!((fast, medium, slow), (2, 30, 60));
    }
}
