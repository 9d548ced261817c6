//! Copies objects from storage into the folder of backups: each is hashed while it is read, and gets its name after its
//! bytes are on disk.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use sha2::Digest;
use tempfile::TempPath;
use tokio::runtime::Handle;

use super::error::BackupError;
use super::folder::Folder;
use super::objects::StoredObject;
use crate::db::durable_object::DurableObject;
use crate::jobs::Reporter;
use crate::model::digest::Sha256;
use crate::storage::{Content, Key, Storage, StorageError};

/// Maximum number of files that get their names together, after one flush of the file system.
const MAX_BATCH_FILES: usize = 256;
/// The same limit in bytes.
const MAX_BATCH_BYTES: u64 = 256 << 20;

/// The result of copying.
#[derive(Default)]
pub(super) struct CopyResult {
    /// All objects that are in the folder.
    pub(super) objects: Vec<StoredObject>,
    /// Objects that are missing or damaged in storage, each with the reason.
    pub(super) missing: Vec<String>,
    /// Number of objects that were copied.
    pub(super) new_count: u64,
    /// Their size in bytes.
    pub(super) new_bytes: u64,
}

/// Copies the objects that the folder does not have. Blocks, outside the async threads.
pub(super) fn copy(
    storage: &Storage,
    folder: &Folder,
    objects: &[DurableObject],
    reporter: &Reporter,
) -> Result<CopyResult, BackupError> {
    let total = objects.len() as u64;
    let mut copier = Copier {
        storage,
        folder,
        runtime: Handle::current(),
        batch: Vec::new(),
        batch_bytes: 0,
        directories: HashSet::new(),
        batch_digests: HashSet::new(),
        result: CopyResult::default(),
    };
    for (object, done) in objects.iter().zip(0..) {
        if reporter.is_halted() {
            return Err(BackupError::Refused(
                "the backup was interrupted: the server stops or goes offline".to_owned(),
            ));
        }
        reporter.progress(format!("copying files, {} new", copier.result.new_count), done, Some(total));
        copier.copy(object)?;
    }
    copier.install_batch()?;
    if copier.result.new_count > 0 {
        folder.sync()?;
    }
    Ok(copier.result)
}

struct Copier<'a> {
    storage: &'a Storage,
    folder: &'a Folder,
    runtime: Handle,
    /// Complete files without a name, each with its path.
    batch: Vec<(TempPath, PathBuf)>,
    batch_bytes: u64,
    /// Directories that exist.
    directories: HashSet<PathBuf>,
    /// Digests of the batches: equal bytes in two directories of storage are one file.
    batch_digests: HashSet<Sha256>,
    result: CopyResult,
}

impl Copier<'_> {
    fn copy(&mut self, object: &DurableObject) -> Result<(), BackupError> {
        let Some(key) = Key::in_directory(&object.directory, object.sha256) else {
            let DurableObject { directory, sha256, .. } = object;
            self.result.missing.push(format!("{directory}/{sha256}: there is no such directory in storage"));
            return Ok(());
        };
        let path = self.folder.blob(&object.sha256);
        if let Some(size) = self.existing_size(object, &key, &path)? {
            self.result.objects.push(StoredObject { key, size });
            return Ok(());
        }
        match self.read_object(&key) {
            Ok((file, size)) => {
                self.result.objects.push(StoredObject { key, size });
                self.result.new_count += 1;
                self.result.new_bytes += size;
                self.batch.push((file, path));
                self.batch_bytes += size;
                self.batch_digests.insert(object.sha256);
            }
            Err(BackupError::Storage(StorageError::NotFound(_)) | BackupError::Damaged { .. })
                if object.is_replaceable => {}
            Err(BackupError::Storage(StorageError::NotFound(_))) => {
                self.result.missing.push(format!("{key}: is not in storage"));
            }
            Err(BackupError::Damaged { reason, .. }) => self.result.missing.push(format!("{key}: {reason}")),
            Err(error) => return Err(error),
        }
        if self.batch.len() >= MAX_BATCH_FILES || self.batch_bytes >= MAX_BATCH_BYTES {
            self.install_batch()?;
        }
        Ok(())
    }

    /// Returns the size of an object that the folder or the batch has; `None` if it must be copied.
    fn existing_size(
        &self,
        object: &DurableObject,
        key: &Key,
        path: &Path,
    ) -> Result<Option<u64>, BackupError> {
        let batch_file = match self.batch_digests.contains(&object.sha256) {
            true => self.batch.iter().find(|(_, target)| target == path).map(|(file, _)| file.to_path_buf()),
            false => None,
        };
        let existing_size = match batch_file {
            Some(file) => Some(file.metadata().map_err(BackupError::io("read", &file))?.len()),
            None => self.folder.size(path)?,
        };
        let Some(existing_size) = existing_size else { return Ok(None) };
        let size = match object.size {
            Some(size) => Some(size),
            None => self.runtime.block_on(self.storage.size(key))?,
        };
        Ok(size.filter(|size| *size == existing_size))
    }

    /// Reads an object into an unnamed file.
    fn read_object(&self, key: &Key) -> Result<(TempPath, u64), BackupError> {
        let mut file = self.folder.unfinished()?;
        let failed = |source| BackupError::io("write to", self.folder.root())(source);
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut write = |chunk: &[u8]| {
            hasher.update(chunk);
            size += chunk.len() as u64;
            file.write_all(chunk).map_err(failed)
        };
        match self.runtime.block_on(self.storage.get(key, None))?.content {
            Content::Memory(bytes) => write(&bytes)?,
            Content::Stream(mut chunks) => {
                while let Some(chunk) = self.runtime.block_on(chunks.next()) {
                    write(&chunk?)?;
                }
            }
        }
        let sha256 = Sha256(hasher.finalize().into());
        if sha256 != *key.digest() {
            return Err(BackupError::damaged(Path::new(&key.path()), format!("has the SHA-256 {sha256}")));
        }
        Ok((file.into_temp_path(), size))
    }

    /// Writes the files of the batch to disk and gives them their names.
    fn install_batch(&mut self) -> Result<(), BackupError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.folder.sync()?;
        for (file, path) in std::mem::take(&mut self.batch) {
            let directory = path.parent().unwrap_or(self.folder.root()).to_owned();
            if !self.directories.contains(&directory) {
                let result = DirBuilder::new().mode(0o700).recursive(true).create(&directory);
                result.map_err(BackupError::io("create the directory", &directory))?;
                self.directories.insert(directory);
            }
            file.persist(&path).map_err(|error| BackupError::io("create", &path)(error.error))?;
        }
        self.batch_bytes = 0;
        self.batch_digests.clear();
        Ok(())
    }
}
