//! Uploads not added yet: in memory, for an hour.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::landing::Landing;
use crate::config::StorageClass;
use crate::model::digest::{Md5, Sha256};
use crate::model::time::{SECOND, Timestamp};
use crate::r::binary::System;
use crate::r::layout::RMinor;
use crate::r::platform::Arch;
use crate::repo::RepoError;
use crate::storage::StorageError;

/// A package archive an administrator handed in: validated, rewritten, written to storage, and not yet part of a source.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Number to name it by; forgotten after an hour.
    pub id: u64,
    /// The file's name as given.
    pub file: String,
    /// From DESCRIPTION.
    pub package: String,
    /// From DESCRIPTION.
    pub version: String,
    /// Of the bytes as given.
    pub original: Sha256,
    /// Of the bytes as stored.
    pub sha256: Sha256,
    /// Of the bytes as stored.
    pub size: u64,
}

/// An upload with all that becomes rows when it is added.
#[derive(Clone, Debug)]
pub(in crate::repo) struct Held {
    pub upload: Upload,
    /// The index record, with MD5, SHA-256 and size of the bytes as stored.
    pub stanza: Vec<u8>,
    /// DESCRIPTION as it stands in the rewritten archive.
    pub description: Vec<u8>,
    pub md5: Md5,
    /// Of a binary package: what it is for.
    pub built: Option<BuiltFor>,
    pub readme: Option<(Sha256, u64)>,
    /// What of it is still being made durable: to be waited for before a row names it.
    pub landings: Vec<Landing>,
    pub since: Timestamp,
}

/// What a binary package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::repo) struct BuiltFor {
    pub r: RMinor,
    pub system: System,
    /// `None` for any.
    pub arch: Option<Arch>,
}

impl Held {
    /// Waits until all of it is in storage. Blocks.
    pub(super) fn landed(&self) -> Result<(), StorageError> {
        self.landings.iter().try_for_each(Landing::wait)
    }

    /// The storage class of the archive.
    pub(super) fn class(&self) -> StorageClass {
        if self.built.is_some() { StorageClass::Binaries } else { StorageClass::Packages }
    }
}

/// Uploads not added yet. They live in memory: after a restart the file is uploaded again.
#[derive(Default)]
pub struct Uploads {
    held: Mutex<Registry>,
}

struct Registry {
    next: u64,
    by_id: HashMap<u64, Held>,
    /// Digests on their way into storage.
    arriving: Vec<Sha256>,
}

impl Default for Registry {
    /// Numbers begin somewhere, so that one from before a restart or an upgrade never means another file. They fit
    /// into a JSON number.
    fn default() -> Registry {
        let next = u64::from(rand::random::<u32>()) << 16;
        Registry { next, by_id: HashMap::new(), arriving: Vec::new() }
    }
}

/// How long an upload waits to be added, in microseconds.
const KEPT: i64 = 3600 * SECOND;

impl Uploads {
    pub(super) fn keep(&self, mut held: Held) -> Upload {
        let mut registry = self.held.lock();
        let old = held.since.0.saturating_sub(KEPT);
        registry.by_id.retain(|_, held| held.since.0 > old);
        registry.next += 1;
        held.upload.id = registry.next;
        let upload = held.upload.clone();
        registry.by_id.insert(upload.id, held);
        upload
    }

    /// The uploads of these numbers, in that order.
    pub(in crate::repo) fn get(&self, ids: &[u64], now: Timestamp) -> Result<Vec<Held>, RepoError> {
        let registry = self.held.lock();
        let held = |id: &u64| {
            let found = registry.by_id.get(id).filter(|held| held.since.0 > now.0.saturating_sub(KEPT));
            found.cloned().ok_or(RepoError::NoUpload(*id))
        };
        ids.iter().map(held).collect()
    }

    /// Forgets uploads that were added.
    pub(in crate::repo) fn forget(&self, ids: &[u64]) {
        let mut registry = self.held.lock();
        for id in ids {
            registry.by_id.remove(id);
        }
    }

    /// True while an upload still needs the bytes of this digest.
    pub(in crate::repo) fn needs(&self, sha256: &Sha256) -> bool {
        let registry = self.held.lock();
        let of = |held: &Held| {
            held.upload.sha256 == *sha256 || held.readme.is_some_and(|(readme, _)| readme == *sha256)
        };
        registry.arriving.contains(sha256) || registry.by_id.values().any(of)
    }

    pub(super) fn arriving(self: &Arc<Uploads>, digests: Vec<Sha256>) -> Arriving {
        self.held.lock().arriving.extend(&digests);
        Arriving { uploads: Arc::clone(self), digests }
    }
}

/// Keeps digests out of the clean-up until it is dropped.
pub(super) struct Arriving {
    uploads: Arc<Uploads>,
    digests: Vec<Sha256>,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut registry = self.uploads.held.lock();
        for digest in &self.digests {
            if let Some(place) = registry.arriving.iter().position(|other| other == digest) {
                registry.arriving.swap_remove(place);
            }
        }
    }
}
