//! Uploads that are not part of a source yet: in memory for one hour.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::durability::PendingWrite;
use crate::fetch::Fetches;
use crate::model::digest::{Md5, Sha256};
use crate::model::storage_class::StorageClass;
use crate::model::time::{SECOND, Timestamp};
use crate::python::facts::FileFacts;
use crate::r::binary::TargetSystem;
use crate::r::platform::Arch;
use crate::r::version::RMinor;
use crate::serve::RepoError;
use crate::state::State;
use crate::storage::StorageError;

/// An uploaded package archive: validated, rewritten, written to storage, and not yet part of a source.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Random number that identifies the upload; valid for one hour.
    pub id: u64,
    /// The name of the uploaded file.
    pub file: String,
    /// Package name in DESCRIPTION or METADATA.
    pub package: String,
    /// Version in DESCRIPTION or METADATA.
    pub version: String,
    /// SHA-256 of the uploaded bytes.
    pub original: Sha256,
    /// SHA-256 of the stored bytes.
    pub sha256: Sha256,
    /// Size of the stored bytes.
    pub size: u64,
    /// Defects that were accepted, as sentences.
    pub notices: Vec<String>,
}

/// An upload with the values of its database rows.
#[derive(Clone, Debug)]
pub(super) struct StagedUpload {
    pub upload: Upload,
    /// The index record, with MD5, SHA-256 and size of the stored bytes.
    pub stanza: Vec<u8>,
    /// DESCRIPTION of the rewritten archive.
    pub description: Vec<u8>,
    /// MD5 of the stored bytes.
    pub md5: Md5,
    /// The platform of a binary; `None` for a source package.
    pub binary_target: Option<BinaryTarget>,
    /// SHA-256 and size in bytes of the README.
    pub readme: Option<(Sha256, u64)>,
    /// Values of a Python package; `None` for an R package, which has the fields above.
    pub python: Option<StagedPython>,
    /// Writes of objects that may not be durable yet; rows may refer to the objects only after these writes.
    pub pending_writes: Vec<PendingWrite>,
    /// Time of the upload.
    pub received_at: Timestamp,
}

/// A wheel or a source distribution.
#[derive(Clone, Debug)]
pub(super) struct StagedPython {
    /// The facts in its metadata.
    pub facts: FileFacts,
    /// Digest and size in bytes of METADATA of a wheel.
    pub metadata: Option<(Sha256, u64)>,
}

/// The platform for which a binary was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BinaryTarget {
    /// Minor version of R.
    pub r: RMinor,
    /// Operating system.
    pub system: TargetSystem,
    /// Architecture; `None` for any.
    pub arch: Option<Arch>,
}

impl StagedUpload {
    /// Waits until all its objects are durable. Blocks.
    pub(super) fn wait_durable(&self) -> Result<(), StorageError> {
        self.pending_writes.iter().try_for_each(PendingWrite::wait)
    }

    /// The storage class of the archive.
    pub(super) fn class(&self) -> StorageClass {
        if self.binary_target.is_some() { StorageClass::Binaries } else { StorageClass::Packages }
    }
}

/// Uploads that are not part of a source yet. They are in memory only: after a restart, files must be uploaded again.
pub struct Uploads {
    pub(super) state: Arc<State>,
    pub(super) fetches: Arc<Fetches>,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    by_id: HashMap<u64, StagedUpload>,
    /// Digests of objects whose writes to storage are in progress.
    reserved_digests: Vec<Sha256>,
}

/// Lifetime of an upload, in microseconds.
const LIFETIME: i64 = 3600 * SECOND;

impl Uploads {
    /// Creates the handle, without uploads.
    #[must_use]
    pub fn new(fetches: Arc<Fetches>, state: Arc<State>) -> Arc<Uploads> {
        Arc::new(Uploads { state, fetches, registry: Mutex::default() })
    }

    pub(super) fn insert(&self, mut staged: StagedUpload) -> Upload {
        let mut registry = self.registry.lock();
        let oldest = staged.received_at.0.saturating_sub(LIFETIME);
        registry.by_id.retain(|_, staged| staged.received_at.0 > oldest);
        // SECURITY: random, so that a publisher cannot guess the upload of another one, and a number from before a restart
        // cannot name another file. Below 2^53, so that JSON numbers represent it exactly.
        staged.upload.id = loop {
            let id = rand::random::<u64>() >> 11;
            if !registry.by_id.contains_key(&id) {
                break id;
            }
        };
        let upload = staged.upload.clone();
        registry.by_id.insert(upload.id, staged);
        upload
    }

    /// Returns the uploads with these numbers, in this order.
    pub(super) fn get(&self, ids: &[u64], now: Timestamp) -> Result<Vec<StagedUpload>, RepoError> {
        let registry = self.registry.lock();
        let find = |id: &u64| {
            let upload =
                registry.by_id.get(id).filter(|upload| upload.received_at.0 > now.0.saturating_sub(LIFETIME));
            upload.cloned().ok_or(RepoError::NoUpload(*id))
        };
        ids.iter().map(find).collect()
    }

    /// Removes uploads.
    pub(super) fn remove(&self, ids: &[u64]) {
        let mut registry = self.registry.lock();
        for id in ids {
            registry.by_id.remove(id);
        }
    }

    /// Returns true while an upload needs the object with this digest.
    #[must_use]
    pub fn needs(&self, sha256: &Sha256) -> bool {
        let registry = self.registry.lock();
        let uses = |upload: &StagedUpload| {
            let metadata = upload.python.as_ref().and_then(|python| python.metadata);
            upload.upload.sha256 == *sha256
                || [upload.readme, metadata].into_iter().flatten().any(|(other, _)| other == *sha256)
        };
        registry.reserved_digests.contains(sha256) || registry.by_id.values().any(uses)
    }

    /// Protects the objects with these digests from the sweep until the reservation is dropped.
    pub(super) fn reserve(self: &Arc<Uploads>, digests: Vec<Sha256>) -> DigestReservation {
        self.registry.lock().reserved_digests.extend(&digests);
        DigestReservation { uploads: Arc::clone(self), digests }
    }
}

/// Reservation that protects objects from the sweep until it is dropped.
pub(super) struct DigestReservation {
    uploads: Arc<Uploads>,
    digests: Vec<Sha256>,
}

impl Drop for DigestReservation {
    fn drop(&mut self) {
        let mut registry = self.uploads.registry.lock();
        for digest in &self.digests {
            if let Some(index) = registry.reserved_digests.iter().position(|other| other == digest) {
                registry.reserved_digests.swap_remove(index);
            }
        }
    }
}
