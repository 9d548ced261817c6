//! Integrity of stored packages: the size each time a file is opened, the digest when it is opened first in a process.
//!
//! A damaged object is set aside and never served. What a mirror has is fetched again; a damaged build has the source
//! beside it, which is served as soon as the damage is known. The comparison takes one reading of the file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use sha2::Digest;

use super::file::Located;
use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::storage::{Content, Key, StorageError};

/// Results of comparisons.
pub(super) type Cache = quick_cache::sync::Cache<Key, Proof>;

/// Entries of the [`Cache`], of about a hundred bytes: more than a full CRAN has files that anybody asks for.
pub(super) const CACHED: usize = 200_000;

/// How long a damaged object is not read again.
const AGAIN: Duration = Duration::from_secs(60);

/// The result of reading an object to its end.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// It has the digest of its name.
    Sound,
    /// It has another one.
    Damaged(Arc<Damage>),
}

/// What was read of a damaged object.
#[derive(Debug)]
pub(super) struct Damage {
    /// The digest of its bytes.
    sha256: Sha256,
    /// When it was read.
    seen: Instant,
}

impl Repo {
    /// Whether the stored bytes of a file are those of its record. They are read once in a process.
    ///
    /// # Errors
    /// [`RepoError::Damaged`], or the storage.
    pub(super) async fn prove(&self, located: &Located, key: &Key) -> Result<(), RepoError> {
        let proof = match self.proofs.get(key) {
            Some(Proof::Damaged(damage)) if damage.seen.elapsed() > AGAIN => {
                self.proofs.remove(key);
                None
            }
            known => known,
        };
        let proof = match proof {
            Some(proof) => proof,
            // Those who ask meanwhile wait for the one reading.
            None => match self.proofs.get_or_insert_async(key, self.read_through(key)).await {
                Err(StorageError::NotFound(_)) if self.state.storage.is_damaged(key) => {
                    let why = format!("the object {} is damaged and was set aside", key.path());
                    return Err(RepoError::Damaged { file: located.name.clone(), why });
                }
                read => read?,
            },
        };
        match proof {
            Proof::Sound => Ok(()),
            Proof::Damaged(damage) => {
                let why = format!("the object {} has the SHA-256 {}", key.path(), damage.sha256);
                Err(RepoError::Damaged { file: located.name.clone(), why })
            }
        }
    }

    /// A small object that can be made again, compared with its digest; `None` when it is not there, or damaged and set
    /// aside.
    pub(super) async fn whole_and_sound(&self, key: &Key) -> Result<Option<Bytes>, StorageError> {
        match self.state.storage.whole(key).await {
            Ok(bytes) => {
                let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
                if sha256 == *key.digest() {
                    return Ok(Some(bytes));
                }
                self.damaged(key, sha256).await?;
                Ok(None)
            }
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Compares an object with its digest, and sets it aside when they differ.
    pub(super) async fn read_through(&self, key: &Key) -> Result<Proof, StorageError> {
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
            return Ok(Proof::Sound);
        }
        self.damaged(key, sha256).await?;
        Ok(Proof::Damaged(Arc::new(Damage { sha256, seen: Instant::now() })))
    }

    /// Sets an object aside. Those of another database are left as they are; they are not served either.
    async fn damaged(&self, key: &Key, sha256: Sha256) -> Result<(), StorageError> {
        let aside = self.state.storage.is_own(key.class()) && self.state.storage.set_aside(key).await?;
        tracing::error!(object = %key, %sha256, aside, "a stored object is damaged: its bytes have another digest");
        Ok(())
    }
}
