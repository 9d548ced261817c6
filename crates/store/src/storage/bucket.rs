//! Files in a bucket that are not objects of a storage class: backups. Their names are paths below a prefix.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::s3::S3;
use super::{BucketFile, StorageError};
use base::config::S3Location;

const MEDIA_TYPE: &str = "application/octet-stream";

/// A bucket, or the part of it below a prefix.
#[derive(Clone)]
pub struct Bucket(Arc<S3>);

impl Bucket {
    /// Creates the client without sending a request. Temporary files are in a directory of this user below `temp_dir`.
    ///
    /// # Errors
    /// The connection properties are invalid, or the directory cannot be written.
    pub async fn open(location: &S3Location, temp_dir: &Path) -> Result<Bucket, StorageError> {
        let s3 = S3::open(location, temp_dir).await?;
        s3.prepare()?;
        Ok(Bucket(Arc::new(s3)))
    }

    /// Returns the address of a file, for messages.
    pub fn address(&self, path: &str) -> String {
        self.0.name(&self.0.path(path))
    }

    /// Creates a temporary file without a name; it is deleted when its last descriptor is closed.
    pub fn temporary_file(&self) -> Result<File, StorageError> {
        self.0.unnamed_file()
    }

    /// Returns the size of a file; `None` if it does not exist.
    ///
    /// # Errors
    /// The bucket does not answer, or refuses the request.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        self.0.size_at(&self.0.path(path)).await
    }

    /// Reads a file: its size and its bytes.
    ///
    /// # Errors
    /// As [`Bucket::size`]; [`StorageError::NotFound`].
    pub async fn read(
        &self,
        path: &str,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, StorageError>>), StorageError> {
        self.0.get_body(&self.0.path(path), None, None).await
    }

    /// Writes a file; an existing one is replaced. A failed write leaves no partial file.
    ///
    /// # Errors
    /// As [`Bucket::size`]; the local file cannot be read.
    pub async fn write(&self, path: &str, file: File) -> Result<(), StorageError> {
        let length = file.metadata().map_err(|e| StorageError::io("read", Path::new(path), e))?.len();
        self.0.write_file(&self.0.path(path), &Arc::new(file), length, MEDIA_TYPE).await
    }

    /// Lists the files below a directory.
    pub async fn list(&self, directory: &str) -> Result<Vec<BucketFile>, StorageError> {
        self.0.list_below(&self.0.path(directory)).await
    }

    /// Removes a file; a missing one is not an error.
    pub async fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.0.delete_path(path).await
    }
}
