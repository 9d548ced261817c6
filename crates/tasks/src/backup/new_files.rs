//! Adds many files to a folder of backups. In a directory, files get their names in batches, each after one flush
//! of the file system; to a bucket, several files are uploaded at the same time.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::thread::JoinHandle;

use tempfile::{NamedTempFile, TempPath};
use tokio::task::JoinSet;

use super::bucket::BucketFolder;
use super::directory::Directory;
use super::error::BackupError;
use super::folder::Folder;
use super::unfinished_file::UnfinishedFile;
use store::storage::StorageError;

/// Maximum number of files in a batch.
const MAX_BATCH_FILES: usize = 256;
/// Maximum size of a batch in bytes.
const MAX_BATCH_BYTES: u64 = 256 << 20;
const PARALLEL_UPLOADS: usize = 4;

/// Files that are added to a folder.
pub(super) enum NewFiles<'a> {
    Batch(Batch<'a>),
    Uploads(&'a BucketFolder, JoinSet<Result<(), StorageError>>),
}

impl NewFiles<'_> {
    pub(super) fn of(folder: &Folder) -> NewFiles<'_> {
        match folder {
            Folder::Directory(directory) => {
                let (files, directories) = (Vec::new(), HashSet::new());
                NewFiles::Batch(Batch { directory, files, bytes: 0, previous: None, directories })
            }
            Folder::Bucket(bucket) => NewFiles::Uploads(bucket, JoinSet::new()),
        }
    }

    /// Adds a complete file. It may get its name later.
    pub(super) fn add(&mut self, file: UnfinishedFile, path: String, size: u64) -> Result<(), BackupError> {
        match (self, file) {
            (NewFiles::Batch(batch), UnfinishedFile::Directory(file)) => batch.add(file, &path, size),
            (NewFiles::Uploads(folder, uploads), UnfinishedFile::Bucket(file)) => {
                while uploads.len() >= PARALLEL_UPLOADS {
                    wait(folder, uploads)?;
                }
                let bucket = folder.bucket.clone();
                uploads.spawn_on(async move { bucket.write(&path, file).await }, &folder.runtime);
                Ok(())
            }
            (NewFiles::Batch(_) | NewFiles::Uploads(..), _) => {
                Err(BackupError::Refused(format!("{path} was not written for this folder")))
            }
        }
    }

    /// Waits until all files have their names, durably.
    pub(super) fn finish(self) -> Result<(), BackupError> {
        match self {
            NewFiles::Batch(mut batch) => batch.finish(),
            NewFiles::Uploads(folder, mut uploads) => {
                while !uploads.is_empty() {
                    wait(folder, &mut uploads)?;
                }
                Ok(())
            }
        }
    }
}

/// Waits for the end of one upload. After an error, the caller drops the set, which aborts the other uploads.
fn wait(folder: &BucketFolder, uploads: &mut JoinSet<Result<(), StorageError>>) -> Result<(), BackupError> {
    match folder.runtime.block_on(uploads.join_next()) {
        Some(Ok(result)) => Ok(result?),
        Some(Err(error)) => BackupError::of_task(error),
        None => Ok(()),
    }
}

/// Complete files of a directory that do not have their final names yet. A thread flushes a full batch while the next
/// batch is written.
pub(super) struct Batch<'a> {
    directory: &'a Directory,
    /// The files with their final paths.
    files: Vec<(TempPath, PathBuf)>,
    bytes: u64,
    /// The thread that flushes the previous batch, and returns the new value of `directories`.
    previous: Option<JoinHandle<Result<HashSet<PathBuf>, BackupError>>>,
    /// Directories of files that are known to exist.
    directories: HashSet<PathBuf>,
}

impl Batch<'_> {
    fn add(&mut self, file: NamedTempFile, path: &str, size: u64) -> Result<(), BackupError> {
        self.files.push((file.into_temp_path(), self.directory.root().join(path)));
        self.bytes += size;
        if self.files.len() < MAX_BATCH_FILES && self.bytes < MAX_BATCH_BYTES {
            return Ok(());
        }
        self.wait_for_previous()?;
        let directory = self.directory.clone();
        let files = std::mem::take(&mut self.files);
        let mut directories = std::mem::take(&mut self.directories);
        self.bytes = 0;
        let install = move || install(&directory, files, &mut directories).map(|()| directories);
        let thread = std::thread::Builder::new().name("flush".to_owned()).spawn(install);
        self.previous = Some(thread.map_err(BackupError::io("start a thread for", self.directory.root()))?);
        Ok(())
    }

    fn wait_for_previous(&mut self) -> Result<(), BackupError> {
        if let Some(thread) = self.previous.take() {
            self.directories = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    }

    /// Waits until all files have their names, durably.
    fn finish(&mut self) -> Result<(), BackupError> {
        self.wait_for_previous()?;
        install(self.directory, std::mem::take(&mut self.files), &mut self.directories)?;
        if self.directories.is_empty() { Ok(()) } else { self.directory.sync() }
    }
}

impl Drop for Batch<'_> {
    /// Waits for the thread: after an error, it must not add files when the lock of the folder is already
    /// released.
    fn drop(&mut self) {
        if let Some(thread) = self.previous.take() {
            drop(thread.join());
        }
    }
}

/// Writes complete files to disk and gives them their names.
fn install(
    directory: &Directory,
    files: Vec<(TempPath, PathBuf)>,
    directories: &mut HashSet<PathBuf>,
) -> Result<(), BackupError> {
    if files.is_empty() {
        return Ok(());
    }
    directory.sync()?;
    for (file, path) in files {
        let parent = path.parent().unwrap_or(directory.root()).to_owned();
        if !directories.contains(&parent) {
            let result = DirBuilder::new().mode(0o700).recursive(true).create(&parent);
            result.map_err(BackupError::io("create the directory", &parent))?;
            directories.insert(parent);
        }
        file.persist(&path).map_err(|error| BackupError::io("create", &path)(error.error))?;
    }
    Ok(())
}
