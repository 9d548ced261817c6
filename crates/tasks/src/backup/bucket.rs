//! Backups in a bucket: blocking access to its files.

use std::fs::File;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::runtime::Handle;

use super::error::BackupError;
use base::config::{Config, S3Location};
use store::storage::{Bucket, BucketFile, StorageError};

const PARALLEL_REMOVALS: usize = 8;

/// A bucket with backups, or the part of it below a prefix.
pub struct BucketFolder {
    pub(super) bucket: Bucket,
    pub(super) runtime: Handle,
}

impl BucketFolder {
    /// Creates the client, with the connection properties of the configuration.
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
