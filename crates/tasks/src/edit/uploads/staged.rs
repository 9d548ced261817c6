//! An upload with the values of the database rows of its release, and its objects, which become durable in the background
//! after its client was answered. Until then the upload is in memory, and lost on a crash; a row that refers to an object
//! must not be written before the object is durable.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::edit::upload_body::UploadKind;
use base::model::change::AttachedFiles;
use base::model::digest::{Md5, Sha256};
use base::model::kind::Language;
use base::model::time::Timestamp;
use formats::r::binary::TargetSystem;
use formats::r::platform::Arch;
use formats::r::version::RMinor;
use store::storage::{Key, StorageError};

/// An uploaded package archive: validated, rewritten, written to storage, and not yet part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Random number that identifies the upload; valid for one hour.
    pub id: u64,
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
pub(in crate::edit) struct StagedUpload {
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
    /// Values of a file of a project; `None` for a package of a list, which has the fields above.
    pub project_file: Option<StagedProjectFile>,
    /// Writes of objects that may not be durable yet; rows may refer to the objects only after these writes.
    pub pending_writes: Vec<PendingWrite>,
    pub received_at: Timestamp,
}

/// A file of a language with projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edit) struct StagedProjectFile {
    pub language: Language,
    /// What the language stores about it.
    pub facts: Vec<u8>,
    /// Digest and size in bytes of its metadata, if clients read them without the file.
    pub metadata: Option<(Sha256, u64)>,
    /// The files that were uploaded with it. Only the form of an upload has them, and such an upload has no row.
    pub attached: AttachedFiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edit) struct BinaryTarget {
    pub r: RMinor,
    pub system: TargetSystem,
    /// Architecture; `None` for any.
    pub arch: Option<Arch>,
}

impl StagedUpload {
    /// Waits until all its objects are durable. Blocks.
    pub(in crate::edit) fn wait_durable(&self) -> Result<(), StorageError> {
        self.pending_writes.iter().try_for_each(PendingWrite::wait)
    }

    pub(in crate::edit) fn kind(&self) -> UploadKind {
        match (&self.binary_target, &self.project_file) {
            (Some(_), _) => UploadKind::Binary,
            (None, Some(file)) => UploadKind::Project(file.language),
            (None, None) => UploadKind::Source,
        }
    }

    /// Its stored objects with their sizes in bytes: the archive, its README, which is stored in a directory of its
    /// own, metadata, and the files that were uploaded with it.
    pub(in crate::edit) fn objects(&self) -> Vec<(Key, u64)> {
        let class = self.kind().class();
        let archive = (Key::Package(class, self.upload.sha256), self.upload.size);
        let readme = self.readme.map(|(sha256, size)| (Key::Readme(sha256), size));
        let metadata = self.project_file.as_ref().and_then(|file| file.metadata);
        let metadata = metadata.map(|(sha256, size)| (Key::Package(class, sha256), size));
        let attached = self
            .project_file
            .iter()
            .flat_map(|file| file.attached.iter())
            .map(|(sha256, size)| (Key::Package(class, sha256), u64::try_from(size).unwrap_or(u64::MAX)));
        [Some(archive), readme, metadata].into_iter().flatten().chain(attached).collect()
    }
}

/// The write of an object that may not be durable yet; clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::edit) struct PendingWrite(Arc<PendingState>);

#[derive(Debug, Default)]
struct PendingState {
    result: Mutex<Option<Result<(), StorageError>>>,
    completed: Condvar,
}

/// Guard of the task that makes the object durable.
pub(in crate::edit) struct PendingWriteGuard(PendingWrite);

impl PendingWrite {
    /// Returns a pending write, and the guard that completes it: by [`PendingWriteGuard::complete`], or when dropped.
    pub(in crate::edit) fn begin() -> (PendingWrite, PendingWriteGuard) {
        let pending_write = PendingWrite::default();
        (pending_write.clone(), PendingWriteGuard(pending_write))
    }

    /// Waits until the object is durable: about two fsyncs, because these uploads are small and on a local disk.
    /// Blocks. Fails with the storage error; calls after the first one return only its text, unless no space was left.
    pub(in crate::edit) fn wait(&self) -> Result<(), StorageError> {
        let mut result = self.0.result.lock();
        while result.is_none() {
            self.0.completed.wait(&mut result);
        }
        match result.take() {
            Some(Err(error)) => {
                *result = Some(Err(match &error {
                    StorageError::Full(place) => StorageError::Full(place.clone()),
                    error => StorageError::Other(format!("a package was not stored: {error}")),
                }));
                Err(error)
            }
            other => {
                *result = other;
                Ok(())
            }
        }
    }
}

impl PendingWriteGuard {
    /// Sets the result and wakes all waiters.
    pub(in crate::edit) fn complete(self, result: Result<(), StorageError>) {
        *self.0.0.result.lock() = Some(result);
        self.0.0.completed.notify_all();
    }
}

impl Drop for PendingWriteGuard {
    fn drop(&mut self) {
        let mut result = self.0.0.result.lock();
        result.get_or_insert_with(|| Err(StorageError::Other("the server is stopping".to_owned())));
        self.0.0.completed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiter_learns_that_no_space_was_left() {
        let (pending_write, writer) = PendingWrite::begin();
        writer.complete(Err(StorageError::Full("packages".to_owned())));
        for _ in 0..3 {
            assert!(matches!(pending_write.wait(), Err(StorageError::Full(_))));
        }
    }

    #[test]
    fn a_row_waits_for_its_bytes() {
        let (pending_write, writer) = PendingWrite::begin();
        let waiter = std::thread::spawn({
            let pending_write = pending_write.clone();
            move || pending_write.wait()
        });
        assert!(!waiter.is_finished());
        writer.complete(Ok(()));
        assert!(waiter.join().expect("no panic").is_ok());
        assert!(pending_write.wait().is_ok(), "a second call");
    }

    #[test]
    fn a_failed_write_stays_failed() {
        let (pending_write, writer) = PendingWrite::begin();
        writer.complete(Err(StorageError::Other("the disk is full".to_owned())));
        for _ in 0..2 {
            assert!(pending_write.wait().expect_err("never").to_string().contains("the disk is full"));
        }
        let (pending_write, writer) = PendingWrite::begin();
        drop(writer);
        assert!(pending_write.wait().expect_err("the guard was dropped").to_string().contains("stopping"));
    }
}
