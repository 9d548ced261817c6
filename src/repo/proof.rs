//! Whether what is stored is what was stored: the size each time a file is opened, the digest of a build when it is opened
//! first in a process.
//!
//! A source package that is damaged is found out by R, and fetched again where there is a mirror; a damaged build has the
//! source beside it, which is served as soon as the damage is known. To know it takes one reading of the file.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sha2::Digest;

use super::file::Located;
use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::storage::{Content, Key, StorageError};

/// What was found out of stored builds.
pub(super) type Cache = quick_cache::sync::Cache<Key, Proof>;

/// Entries of the [`Cache`], of about a hundred bytes.
pub(super) const CACHED: usize = 50_000;

/// So long a damaged build is not read again.
const AGAIN: Duration = Duration::from_secs(60);

/// What reading a build to its end told.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// It is what its name says.
    Sound,
    /// It has another digest; when that was seen.
    Damaged(Sha256, Instant),
}

impl Repo {
    /// Whether the stored bytes of a file are those of its record, as far as that is looked at before it is served.
    ///
    /// # Errors
    /// [`RepoError::Damaged`], or the storage.
    pub async fn sound(&self, located: &Located) -> Result<(), RepoError> {
        match located.key() {
            Some(key) => self.prove(located, &key).await,
            None => Ok(()),
        }
    }

    /// As [`Repo::sound`].
    pub(super) async fn prove(&self, located: &Located, key: &Key) -> Result<(), RepoError> {
        if located.built.is_none() {
            return Ok(());
        }
        let proof = match self.proofs.get(key) {
            Some(Proof::Damaged(_, seen)) if seen.elapsed() > AGAIN => {
                self.proofs.remove(key);
                None
            }
            known => known,
        };
        let proof = match proof {
            Some(proof) => proof,
            // Those who ask meanwhile wait for the one reading.
            None => self.proofs.get_or_insert_async(key, self.read_through(key)).await?,
        };
        match proof {
            Proof::Sound => Ok(()),
            Proof::Damaged(other, _) => {
                let why = format!("the object {} has the SHA-256 {other}", key.path());
                Err(RepoError::Damaged { file: located.name.clone(), why })
            }
        }
    }

    async fn read_through(&self, key: &Key) -> Result<Proof, StorageError> {
        let mut hasher = sha2::Sha256::new();
        match self.state.storage.get(key, None).await?.content {
            Content::Memory(bytes) => hasher.update(&bytes),
            Content::Stream(mut pieces) => {
                while let Some(piece) = pieces.next().await {
                    hasher.update(&piece?);
                }
            }
        }
        let digest = Sha256(hasher.finalize().into());
        Ok(if digest == *key.digest() { Proof::Sound } else { Proof::Damaged(digest, Instant::now()) })
    }
}
