//! Backups in a bucket: blocking access to its files, and its lock.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::error::BackupError;
use base::config::{Config, S3Location};
use base::model::ids::Identity;
use store::storage::{Bucket, BucketFile, StorageError};

const PARALLEL_REMOVALS: usize = 8;

/// A bucket with backups, or the part of it below a prefix.
pub struct BucketFolder {
    pub(super) bucket: Bucket,
    pub(super) runtime: Handle,
}

impl BucketFolder {
    pub(super) fn open(
        bucket: &str,
        prefix: &str,
        config: &Config,
        runtime: Handle,
    ) -> Result<BucketFolder, BackupError> {
        let location = S3Location {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            ..config.storage.backups.clone()
        };
        let bucket = runtime.block_on(Bucket::open(&location, &config.storage.spool_dir))?;
        Ok(BucketFolder { bucket, runtime })
    }

    /// Returns the address of a file, for messages.
    pub(super) fn address(&self, path: &str) -> String {
        self.bucket.address(path).trim_end_matches('/').to_owned()
    }

    pub(super) fn temporary_file(&self) -> Result<File, BackupError> {
        Ok(self.bucket.temporary_file()?)
    }

    pub(super) fn size(&self, path: &str) -> Result<Option<u64>, BackupError> {
        Ok(self.runtime.block_on(self.bucket.size(path))?)
    }

    pub(super) fn list(&self, path: &str) -> Result<Vec<BucketFile>, BackupError> {
        Ok(self.runtime.block_on(self.bucket.list(path))?)
    }

    pub(super) fn write(&self, path: &str, file: File) -> Result<(), BackupError> {
        Ok(self.runtime.block_on(self.bucket.write(path, file))?)
    }

    pub(super) fn remove(&self, paths: &[String]) -> Result<(), BackupError> {
        let removals = stream::iter(paths).map(|path| self.bucket.remove(path));
        let all = removals.buffer_unordered(PARALLEL_REMOVALS).try_collect::<Vec<()>>();
        Ok(self.runtime.block_on(all).map(drop)?)
    }

    pub(super) fn open_file(&self, path: &str) -> Result<(Box<dyn Read + Send>, u64), BackupError> {
        match self.runtime.block_on(self.bucket.read(path)) {
            Ok((size, stream)) => {
                let reader = BodyReader { runtime: self.runtime.clone(), stream, chunk: Bytes::new() };
                Ok((Box::new(reader), size))
            }
            Err(StorageError::NotFound(_)) => {
                Err(BackupError::damaged(self.address(path).as_ref(), "is missing"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads a response on a blocking thread.
struct BodyReader {
    runtime: Handle,
    stream: BoxStream<'static, Result<Bytes, StorageError>>,
    chunk: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.try_next()) {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

const LOCKS: &str = "locks";
const EXCLUSIVE: &str = "exclusive-";
/// Prefix of the object of a program that adds files.
const WRITER: &str = "writer-";
/// Prefix of the object of a reader.
const SHARED: &str = "shared-";
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// Validity of a lock that is not renewed.
const TERM: Duration = Duration::from_secs(600);
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The lock of a bucket: an object for each program that uses it, `locks/<kind>-<id>`, renewed every minute, and
/// removed on drop. Valid for ten minutes by the bucket's clock, so that the lock of a killed program expires.
pub struct BucketLock {
    bucket: Bucket,
    path: String,
    runtime: Handle,
    renewed_at: Arc<Mutex<Instant>>,
    renewal: JoinHandle<()>,
}

impl BucketLock {
    /// Takes the lock that excludes all others.
    pub(super) fn exclusive(folder: &BucketFolder) -> Result<BucketLock, BackupError> {
        let lock = BucketLock::write(folder, EXCLUSIVE)?;
        let expired_locks = lock.compare(folder, &["", EXCLUSIVE])?;
        folder.remove(&expired_locks)?;
        Ok(lock)
    }

    /// Takes the lock of a program that adds files; it excludes programs that add or remove files.
    pub(super) fn to_add(folder: &BucketFolder) -> Result<BucketLock, BackupError> {
        let lock = BucketLock::write(folder, WRITER)?;
        let expired_locks = lock.compare(folder, &[EXCLUSIVE, WRITER])?;
        folder.remove(&expired_locks)?;
        Ok(lock)
    }

    /// Takes the lock that readers share; `None` if this program may not write to the bucket.
    pub(super) fn shared(folder: &BucketFolder) -> Result<Option<BucketLock>, BackupError> {
        match BucketLock::write(folder, SHARED) {
            Ok(lock) => lock.compare(folder, &[EXCLUSIVE]).map(|_| Some(lock)),
            Err(error) => {
                tracing::debug!(%error, "the bucket of the backups is read without a lock");
                Ok(None)
            }
        }
    }

    fn write(folder: &BucketFolder, kind: &str) -> Result<BucketLock, BackupError> {
        let id = Identity(rand::random());
        let (bucket, path) = (folder.bucket.clone(), format!("{LOCKS}/{kind}{id}"));
        let renewed_at = Arc::new(Mutex::new(Instant::now()));
        folder.runtime.block_on(write_lock(&bucket, &path))?;
        let renewal = folder.runtime.spawn({
            let (bucket, path, renewed_at) = (bucket.clone(), path.clone(), Arc::clone(&renewed_at));
            async move {
                loop {
                    tokio::time::sleep(RENEWAL_INTERVAL).await;
                    let start = Instant::now();
                    // If the bucket does not answer, the next interval is another attempt.
                    if write_lock(&bucket, &path).await.is_ok() {
                        *renewed_at.lock() = start;
                    }
                }
            }
        });
        Ok(BucketLock { bucket, path, runtime: folder.runtime.clone(), renewed_at, renewal })
    }

    /// Fails if others have valid locks of these kinds; returns the paths of expired locks. If two programs
    /// write their locks at the same time, both fail.
    fn compare(&self, folder: &BucketFolder, kinds: &[&str]) -> Result<Vec<String>, BackupError> {
        let locks = folder.list(LOCKS)?;
        let now = locks.iter().find(|lock| lock.path == self.path).map(|lock| lock.modified);
        let now = now.unwrap_or_else(SystemTime::now);
        let is_expired = |lock: &BucketFile| now.duration_since(lock.modified).is_ok_and(|age| age > TERM);
        let (expired_locks, valid_locks): (Vec<_>, Vec<_>) =
            locks.into_iter().filter(|lock| lock.path != self.path).partition(is_expired);
        let excludes =
            |lock: &&BucketFile| kinds.iter().any(|kind| lock.path.starts_with(&format!("{LOCKS}/{kind}")));
        match valid_locks.iter().find(excludes) {
            None => Ok(expired_locks.into_iter().map(|lock| lock.path).collect()),
            Some(lock) => Err(BackupError::InUse(format!(
                "{} is in use: another program makes, reads or prunes backups in it, or a program that did so was \
                 interrupted in the last ten minutes; try again later, or wait with --lock-timeout=1h; or, if no such \
                 program runs, remove {}",
                folder.address(""),
                folder.address(&lock.path)
            ))),
        }
    }

    pub(super) fn check(&self) -> Result<(), BackupError> {
        if self.renewed_at.lock().elapsed() < TERM {
            return Ok(());
        }
        Err(BackupError::Refused(format!(
            "{} did not answer for ten minutes, so another program may have changed it; repeat the command",
            self.bucket.address("").trim_end_matches('/')
        )))
    }
}

impl Drop for BucketLock {
    fn drop(&mut self) {
        self.renewal.abort();
        let (bucket, path, runtime) = (self.bucket.clone(), self.path.clone(), self.runtime.clone());
        // The lock is removed on a separate thread, because async threads may not block on a future.
        let removal = std::thread::spawn(move || {
            runtime.block_on(async { tokio::time::timeout(REMOVAL_TIMEOUT, bucket.remove(&path)).await })
        });
        if !matches!(removal.join(), Ok(Ok(Ok(())))) {
            tracing::warn!(
                lock = self.path,
                "could not remove the lock of a bucket; it expires in ten minutes"
            );
        }
    }
}

async fn write_lock(bucket: &Bucket, path: &str) -> Result<(), StorageError> {
    let mut file = bucket.temporary_file()?;
    let text = format!("process {}\n", std::process::id());
    file.write_all(text.as_bytes())
        .map_err(|e| StorageError::Other(format!("could not write a lock: {e}")))?;
    bucket.write(path, file).await
}
