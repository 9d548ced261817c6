//! Files that are added to a folder of backups. In a directory, they get their names in batches, each after
//! one flush of the file system; to a bucket, several are uploaded at the same time.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::thread::JoinHandle;

use tempfile::{NamedTempFile, TempPath};
use tokio::task::JoinSet;

use super::bucket::BucketFolder;
use super::directory::Directory;
use super::error::BackupError;
use store::storage::StorageError;

const MAX_BATCH_FILES: usize = 256;
const MAX_BATCH_BYTES: u64 = 256 << 20;
const PARALLEL_UPLOADS: usize = 4;

/// A file of a folder that gets its name when it is complete.
pub(super) enum UnfinishedFile<'a> {
    Directory(&'a Directory, NamedTempFile),
    /// A temporary file of this machine.
    Bucket(&'a BucketFolder, File),
}

impl UnfinishedFile<'_> {
    fn file(&mut self) -> &mut File {
        match self {
            UnfinishedFile::Directory(_, file) => file.as_file_mut(),
            UnfinishedFile::Bucket(_, file) => file,
        }
    }

    /// Gives the file its final path, durably. An existing file at that path is replaced only if `replaces` is set.
    pub(super) fn install(self, path: &str, replaces: bool) -> Result<(), BackupError> {
        match self {
            UnfinishedFile::Directory(directory, file) => {
                directory.install(file, &directory.root().join(path), replaces)
            }
            UnfinishedFile::Bucket(bucket, _) if !replaces && bucket.size(path)?.is_some() => {
                Err(BackupError::Refused(format!("{} exists already", bucket.address(path))))
            }
            UnfinishedFile::Bucket(bucket, file) => bucket.write(path, file),
        }
    }
}

impl Write for UnfinishedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// Files that are added to a folder: a batch in a directory, or uploads to a bucket.
#[derive(Default)]
pub(super) struct NewFiles<'a> {
    batch: Option<Batch<'a>>,
    uploads: Option<RunningUploads<'a>>,
}

impl<'a> NewFiles<'a> {
    /// Adds a complete file. It may get its name later.
    pub(super) fn add(
        &mut self,
        file: UnfinishedFile<'a>,
        path: String,
        size: u64,
    ) -> Result<(), BackupError> {
        match file {
            UnfinishedFile::Directory(directory, file) => {
                self.batch.get_or_insert_with(|| Batch::new(directory)).add(file, &path, size)
            }
            UnfinishedFile::Bucket(folder, file) => self
                .uploads
                .get_or_insert_with(|| RunningUploads { folder, running: JoinSet::new() })
                .add(file, path),
        }
    }

    pub(super) fn finish(self) -> Result<(), BackupError> {
        if let Some(mut batch) = self.batch {
            batch.finish()?;
        }
        self.uploads.map_or(Ok(()), RunningUploads::finish)
    }
}

/// Uploads to a bucket. Dropping them, as after an error, aborts those that are running.
struct RunningUploads<'a> {
    folder: &'a BucketFolder,
    running: JoinSet<Result<(), StorageError>>,
}

impl RunningUploads<'_> {
    fn add(&mut self, file: File, path: String) -> Result<(), BackupError> {
        while self.running.len() >= PARALLEL_UPLOADS {
            self.wait()?;
        }
        let bucket = self.folder.bucket.clone();
        self.running.spawn_on(async move { bucket.write(&path, file).await }, &self.folder.runtime);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), BackupError> {
        match self.folder.runtime.block_on(self.running.join_next()) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(error)) => BackupError::of_task(error),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), BackupError> {
        while !self.running.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}

/// Complete files without their final names. A thread flushes a full batch while the next one is written.
struct Batch<'a> {
    directory: &'a Directory,
    files: Vec<(TempPath, PathBuf)>,
    bytes: u64,
    /// The thread that flushes the previous batch, and returns the new value of `directories`.
    previous: Option<JoinHandle<Result<HashSet<PathBuf>, BackupError>>>,
    /// Directories of files that are known to exist.
    directories: HashSet<PathBuf>,
}

impl<'a> Batch<'a> {
    fn new(directory: &'a Directory) -> Batch<'a> {
        let (files, directories) = (Vec::new(), HashSet::new());
        Batch { directory, files, bytes: 0, previous: None, directories }
    }

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
    /// Waits for the thread: after an error, it must not add files when the lock of the folder is already released.
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
