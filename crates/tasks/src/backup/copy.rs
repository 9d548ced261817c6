//! Copies objects from storage into the folder of backups, and hashes them; complete files get their final names.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::error::BackupError;
use super::folder::{BlobSizes, Folder, blob_path};
use super::new_files::{NewFiles, UnfinishedFile};
use super::objects::StoredObject;
use base::model::digest::Sha256;
use runtime::jobs::Reporter;
use store::db::durable_object::DurableObject;
use store::storage::{Key, Pace, Storage, StorageError};

/// Maximum number of chunks of an object that are hashed and not written yet.
const CHUNKS_AHEAD: usize = 16;

#[derive(Default)]
pub(super) struct CopyResult {
    /// All objects that are in the folder.
    pub(super) objects: Vec<StoredObject>,
    /// Objects that are missing or damaged in storage, each with the reason.
    pub(super) missing: Vec<String>,
    pub(super) new_count: u64,
    /// Size of the copied objects, in bytes.
    pub(super) new_bytes: u64,
}

/// Copies the objects that the folder lacks, at the rate of `pace`. Blocks; must not run on an async thread.
pub(super) fn copy(
    storage: &Storage,
    folder: &Folder,
    objects: &[DurableObject],
    pace: Option<&Pace>,
    reporter: &Reporter,
) -> Result<CopyResult, BackupError> {
    let total = objects.len() as u64;
    let mut copier = Copier {
        storage,
        folder,
        runtime: Handle::current(),
        pace,
        reporter,
        sizes: folder.blob_sizes()?,
        new_files: NewFiles::default(),
        copied_sizes: HashMap::new(),
        result: CopyResult::default(),
    };
    let mut failed_objects = Vec::new();
    for (object, done) in objects.iter().zip(0..) {
        check_halt(reporter)?;
        reporter.progress(format!("copying files, {} new", copier.result.new_count), done, Some(total));
        if copier.copy(object)?.is_some() {
            failed_objects.push(object);
        }
    }
    // A scrub may have moved the object to the directory `damaged` and stored it again meanwhile.
    for object in failed_objects {
        let reason = copier.copy(object)?;
        copier.result.missing.extend(reason);
    }
    copier.new_files.finish()?;
    Ok(copier.result)
}

fn check_halt(reporter: &Reporter) -> Result<(), BackupError> {
    match reporter.is_halted() {
        false => Ok(()),
        true => {
            let text = "the backup was interrupted: the server stops or goes offline";
            Err(BackupError::Refused(text.to_owned()))
        }
    }
}

struct Copier<'a> {
    storage: &'a Storage,
    folder: &'a Folder,
    runtime: Handle,
    pace: Option<&'a Pace>,
    reporter: &'a Reporter,
    sizes: BlobSizes<'a>,
    new_files: NewFiles<'a>,
    /// Sizes of the copied files: equal bytes in two directories of storage are one file.
    copied_sizes: HashMap<Sha256, u64>,
    result: CopyResult,
}

impl<'a> Copier<'a> {
    /// Copies an object; returns the reason if it is missing or damaged and no server can replace it.
    fn copy(&mut self, object: &DurableObject) -> Result<Option<String>, BackupError> {
        let Some(key) = Key::in_directory(&object.directory, object.sha256) else {
            let DurableObject { directory, sha256, .. } = object;
            return Ok(Some(format!("{directory}/{sha256}: there is no such directory in storage")));
        };
        if let Some(size) = self.existing_size(object, &key)? {
            self.result.objects.push(StoredObject { key, size });
            return Ok(None);
        }
        let file = self.folder.create_unfinished()?;
        match self.read_object(&key, file) {
            Ok((file, size)) => {
                self.new_files.add(file, blob_path(&object.sha256), size)?;
                self.copied_sizes.insert(object.sha256, size);
                self.result.objects.push(StoredObject { key, size });
                self.result.new_count += 1;
                self.result.new_bytes += size;
                Ok(None)
            }
            // Only errors of the storage are tolerated here; errors of the folder end the backup.
            Err(
                BackupError::Storage(StorageError::NotFound(_) | StorageError::Io { .. })
                | BackupError::Damaged { .. },
            ) if object.is_replaceable => Ok(None),
            Err(BackupError::Storage(StorageError::NotFound(_))) => {
                let reason = match self.storage.is_damaged(&key) {
                    true => "is damaged, and was moved to the directory 'damaged'",
                    false => "is not in storage",
                };
                Ok(Some(format!("{key}: {reason}")))
            }
            Err(BackupError::Damaged { reason, .. }) => Ok(Some(format!("{key}: {reason}"))),
            Err(BackupError::Storage(error @ StorageError::Io { .. })) => Ok(Some(format!("{key}: {error}"))),
            Err(error) => Err(error),
        }
    }

    /// Returns the size of an object that the folder has; `None` if it must be copied.
    fn existing_size(&self, object: &DurableObject, key: &Key) -> Result<Option<u64>, BackupError> {
        let existing_size = match self.copied_sizes.get(&object.sha256) {
            Some(size) => Some(*size),
            None => self.sizes.get(&blob_path(&object.sha256))?,
        };
        let Some(existing_size) = existing_size else { return Ok(None) };
        let size = match object.size {
            Some(size) => Some(size),
            // An earlier backup may have an object that storage lost.
            None => match self.runtime.block_on(self.storage.size(key)) {
                Ok(size) => size.or(Some(existing_size)),
                // Storage cannot read the object, so a new copy would also fail.
                Err(StorageError::Io { .. }) => Some(existing_size),
                Err(error) => return Err(error.into()),
            },
        };
        Ok(size.filter(|size| *size == existing_size))
    }

    /// Reads an object into an unfinished file. A second thread writes the chunks that this thread has hashed.
    fn read_object(
        &self,
        key: &Key,
        mut file: UnfinishedFile<'a>,
    ) -> Result<(UnfinishedFile<'a>, u64), BackupError> {
        let content = self.runtime.block_on(self.storage.get(key, None))?.content;
        let (sender, chunks) = mpsc::sync_channel::<Bytes>(CHUNKS_AHEAD);
        let (digest, written) = std::thread::scope(|scope| {
            let writer = scope
                .spawn(move || chunks.iter().try_for_each(|chunk| file.write_all(&chunk)).map(|()| file));
            let pass = |chunk: &Bytes| {
                check_halt(self.reporter)?;
                let pace = self.pace.iter();
                pace.for_each(|pace| pace.wait_while(chunk.len() as u64, || !self.reporter.is_halted()));
                // The thread ended if it could not write; its error is returned below.
                sender
                    .send(chunk.clone())
                    .map_err(|_| BackupError::Refused("the file cannot be written".to_owned()))
            };
            let digest = self.runtime.block_on(content.digest(pass));
            drop(sender);
            (digest, writer.join())
        });
        let written = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let file = written.map_err(BackupError::io("write to", &self.folder.location("")))?;
        let digest = digest?;
        if digest.sha256 != *key.digest() {
            let reason = format!("has the SHA-256 {}", digest.sha256);
            return Err(BackupError::damaged(Path::new(&key.path()), reason));
        }
        Ok((file, digest.size))
    }
}
