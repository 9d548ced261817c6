//! Package bytes and rendered indexes by digest, on disk or S3, per storage class.

pub mod error;
pub mod key;
pub mod tls_provider;

pub use error::{StorageError, Unusable};
pub use key::Key;
pub use tls_provider::install_tls_provider;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::ops::Range;

/// Handles of the nine classes; cloning shares them.
#[derive(Clone)]
pub struct Storage {}

/// An object being read.
pub struct Blob {
    /// The whole object's size in bytes, also when a range was asked for.
    pub size: u64,
    /// The bytes of the range asked for.
    pub content: Content,
}

/// Bytes at hand, or on their way.
pub enum Content {
    /// Small and hot: from the memory cache.
    Memory(Bytes),
    /// Read in large chunks, one ahead.
    Stream(BoxStream<'static, Result<Bytes, StorageError>>),
}

/// A file being written that is not an object yet: in the class's own directory (disk) or in a local directory
/// (S3). Dropped without [`Storage::commit`], it is removed.
pub struct Spool {}

impl Spool {
    /// The file, so that others can read what is written so far.
    pub fn path(&self) -> &std::path::Path {
        todo!()
    }
    /// Appends. Blocking: call it off the async threads, or with small pieces.
    pub fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let _ = bytes;
        todo!()
    }
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        todo!()
    }
}

/// An object found by [`Storage::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored, by the clock of the disk or the bucket.
    pub modified: std::time::SystemTime,
}

impl Storage {
    /// Opens every place: creates missing directories (mode 0700), writes, reads and deletes a probe object, and
    /// removes the spools of processes that ended. [`StorageError::Unusable`] names every place that failed, the
    /// effective user and the command that mends it.
    pub async fn open(config: &crate::config::StorageConfig) -> Result<Storage, StorageError> {
        let _ = config;
        todo!()
    }
    /// What [`Storage::open`] would say of each class, in the order of [`crate::config::StorageClass::ALL`],
    /// without creating a directory.
    pub async fn probe(
        config: &crate::config::StorageConfig,
    ) -> Vec<(crate::config::StorageClass, Result<(), StorageError>)> {
        let _ = config;
        todo!()
    }
    /// Up to `limit` objects of a class that come after `after` in listing order; none: the end is reached.
    pub async fn list(
        &self,
        class: crate::config::StorageClass,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Stored>, StorageError> {
        let _ = (class, after, limit);
        todo!()
    }
    /// Removes spools whose writer is gone and tells how many; spools being written stay.
    pub async fn sweep(&self) -> Result<usize, StorageError> {
        todo!()
    }
    /// Opens a spool for objects of `class`.
    pub async fn spool(&self, class: crate::config::StorageClass) -> Result<Spool, StorageError> {
        let _ = class;
        todo!()
    }
    /// Makes the spool the object `key`, durably: fsync, rename, fsync of the directory; a multipart put on S3.
    /// An object that is there already stays (same digest, same bytes).
    pub async fn commit(&self, spool: Spool, key: &Key) -> Result<(), StorageError> {
        let _ = (spool, key);
        todo!()
    }
    /// Stores bytes at hand, durably, unless the object exists.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let _ = (key, bytes);
        todo!()
    }
    /// Opens an object, or a range of it.
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Blob, StorageError> {
        let _ = (key, range);
        todo!()
    }
    /// The size of an object, `None` when it is not there.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>, StorageError> {
        let _ = key;
        todo!()
    }
    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        let _ = key;
        todo!()
    }
}
