//! Integrity check of stored packages: the size at each open, the digest at the first open in a process and whenever the
//! size differs.
//!
//! A damaged object is set aside and never served. A mirrored file is fetched again; instead of a damaged binary the
//! source package is served. The digest check reads the file once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use sha2::Digest;

use super::file::Located;
use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::storage::{Content, Key, StorageError};

/// Results of digest checks.
pub(super) type Cache = quick_cache::sync::Cache<Key, IntegrityCheck>;

/// Entries of the [`Cache`], about 100 bytes each: more than the files of a full CRAN that are requested.
pub(super) const CACHED: usize = 200_000;

/// Time before a damaged object is read again.
const RECHECK_AFTER: Duration = Duration::from_secs(60);

/// The result of a digest check.
#[derive(Clone, Debug)]
pub(super) enum IntegrityCheck {
    /// The object has the digest in its name.
    Sound,
    /// The object has another digest.
    Damaged(Arc<DamagedObject>),
}

/// A damaged object.
#[derive(Debug)]
pub(super) struct DamagedObject {
    /// The digest of its bytes.
    sha256: Sha256,
    /// When it was checked.
    checked_at: Instant,
}

impl Repo {
    /// Checks that the stored bytes of a file match its record. They are read once per process.
    ///
    /// # Errors
    /// [`RepoError::Damaged`], or the storage.
    pub(super) async fn check_integrity(&self, located: &Located, key: &Key) -> Result<(), RepoError> {
        let proof = match self.integrity_checks.get(key) {
            Some(IntegrityCheck::Damaged(damage)) if damage.checked_at.elapsed() > RECHECK_AFTER => {
                self.integrity_checks.remove(key);
                None
            }
            known => known,
        };
        let proof = match proof {
            Some(proof) => proof,
            // Concurrent callers wait for the same read.
            None => match self.integrity_checks.get_or_insert_async(key, self.verify_digest(key)).await {
                Err(StorageError::NotFound(_)) if self.state.storage.is_damaged(key) => {
                    let why = format!("the object {} is damaged and was set aside", key.path());
                    return Err(RepoError::Damaged { file: located.name.clone(), why });
                }
                read => read?,
            },
        };
        match proof {
            IntegrityCheck::Sound => Ok(()),
            IntegrityCheck::Damaged(damage) => {
                let why = format!("the object {} has the SHA-256 {}", key.path(), damage.sha256);
                Err(RepoError::Damaged { file: located.name.clone(), why })
            }
        }
    }

    /// Whether the last digest check of an object found damage.
    pub(super) fn is_known_damaged(&self, key: &Key) -> bool {
        matches!(self.integrity_checks.get(key), Some(IntegrityCheck::Damaged(_)))
    }

    /// Reads a small object that can be generated again, and checks its digest; `None` if it is missing, or damaged and
    /// set aside.
    pub(super) async fn read_sound(&self, key: &Key) -> Result<Option<Bytes>, StorageError> {
        match self.state.storage.whole(key).await {
            Ok(bytes) => {
                let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
                if sha256 == *key.digest() {
                    return Ok(Some(bytes));
                }
                self.set_aside_damaged(key, sha256).await?;
                Ok(None)
            }
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks the digest of an object, and sets the object aside if it differs.
    pub(super) async fn verify_digest(&self, key: &Key) -> Result<IntegrityCheck, StorageError> {
        let mut hasher = sha2::Sha256::new();
        match self.state.storage.get(key, None).await?.content {
            Content::Memory(bytes) => hasher.update(&bytes),
            Content::Stream(mut pieces) => {
                while let Some(piece) = pieces.next().await {
                    hasher.update(&piece?);
                }
            }
        }
        let sha256 = Sha256(hasher.finalize().into());
        if sha256 == *key.digest() {
            return Ok(IntegrityCheck::Sound);
        }
        self.set_aside_damaged(key, sha256).await?;
        Ok(IntegrityCheck::Damaged(Arc::new(DamagedObject { sha256, checked_at: Instant::now() })))
    }

    /// Sets a damaged object aside. Objects of another database are left in place; they are not served either.
    async fn set_aside_damaged(&self, key: &Key, sha256: Sha256) -> Result<(), StorageError> {
        let aside = self.state.storage.is_own(key.class()) && self.state.storage.move_to_damaged(key).await?;
        tracing::error!(object = %key, %sha256, aside, "a stored object is damaged: its bytes have another digest");
        Ok(())
    }
}
