//! The uploads in the memory of this process: those of its own tasks, and those whose row is not written yet.

use std::collections::HashMap;

use super::staged::{StagedUpload, Upload};
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use store::db::upload::LIFETIME;

#[derive(Default)]
pub(super) struct Registry {
    by_id: HashMap<u64, UploadEntry>,
    /// Digests of objects whose writes to storage are in progress.
    pub(super) reserved_digests: Vec<Sha256>,
}

struct UploadEntry {
    staged: StagedUpload,
    /// The client that sent it and may add it; `None` for an upload of this process, whose number is not disclosed.
    owner: Option<String>,
    /// The number of the write that adds it to a source; `None` if there is no such write.
    claimed_by: Option<u64>,
}

impl UploadEntry {
    /// Returns whether `owner` may add the upload.
    fn is_of(&self, owner: &str) -> bool {
        self.owner.as_deref().is_none_or(|own| own == owner)
    }
}

impl Registry {
    /// Assigns a number to an upload, and removes the uploads that have expired.
    pub(super) fn insert(&mut self, mut staged: StagedUpload) -> Upload {
        let oldest = staged.received_at - LIFETIME;
        self.by_id.retain(|_, entry| entry.staged.received_at > oldest);
        // SECURITY: random, so that a publisher cannot guess the upload of another one, and a number from before a
        // restart cannot name another file. Below 2^53, so that JSON numbers represent it exactly.
        staged.upload.id = loop {
            let id = rand::random::<u64>() >> 11;
            if !self.by_id.contains_key(&id) {
                break id;
            }
        };
        let upload = staged.upload.clone();
        self.by_id.insert(upload.id, UploadEntry { staged, owner: None, claimed_by: None });
        upload
    }

    /// Sets the client that sent an upload, and returns the upload.
    pub(super) fn set_owner(&mut self, id: u64, owner: &str) -> Option<StagedUpload> {
        let entry = self.by_id.get_mut(&id)?;
        entry.owner = Some(owner.to_owned());
        Some(entry.staged.clone())
    }

    /// Returns an upload that `owner` may add.
    pub(super) fn get(&self, id: u64, owner: &str, now: Timestamp) -> Option<&StagedUpload> {
        let entry = self.by_id.get(&id).filter(|entry| entry.is_of(owner))?;
        (entry.staged.received_at > now - LIFETIME).then_some(&entry.staged)
    }

    /// Returns whether an upload is in memory and no write adds it.
    pub(super) fn is_free(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.claimed_by.is_none())
    }

    /// Records the write that adds an upload. Returns `None` if it is not in memory, and false if another write adds it.
    pub(super) fn claim(&mut self, id: u64, owner: &str, write: u64) -> Option<bool> {
        let entry = self.by_id.get_mut(&id).filter(|entry| entry.is_of(owner))?;
        let is_free = entry.claimed_by.is_none_or(|other| other == write);
        if is_free {
            entry.claimed_by = Some(write);
        }
        Some(is_free)
    }

    /// Releases the uploads of a write that failed.
    pub(super) fn release(&mut self, ids: &[u64], write: u64) {
        for id in ids {
            if let Some(entry) = self.by_id.get_mut(id).filter(|entry| entry.claimed_by == Some(write)) {
                entry.claimed_by = None;
            }
        }
    }

    pub(super) fn remove(&mut self, ids: &[u64]) {
        for id in ids {
            self.by_id.remove(id);
        }
    }

    /// Returns true while an upload in memory, or one that is being received, needs the object with this digest.
    pub(super) fn needs(&self, sha256: &Sha256) -> bool {
        let uses = |entry: &UploadEntry| entry.staged.objects().iter().any(|(key, _)| key.digest() == sha256);
        self.reserved_digests.contains(sha256) || self.by_id.values().any(uses)
    }
}
