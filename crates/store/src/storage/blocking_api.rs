//! Blocking variants for callers that are already outside of the async threads: two thread switches take longer than
//! writing a small file.

use super::disk::Disk;
use super::{Backend, IfExists, Key, Spool, Storage, StorageError};
use base::model::storage_class::StorageClass;

impl Storage {
    /// Like [`Storage::spool`], but without waiting for a comparison: call [`Storage::may_store`] first. Blocks.
    pub fn spool_blocking(&self, class: StorageClass) -> Result<Spool, StorageError> {
        self.may_store_now(class)?;
        match self.backend(class) {
            Backend::Disk(disk) => self.request_comparison_if_refused(disk.spool(class)),
            Backend::S3(s3) => s3.spool(class),
        }
    }

    /// Returns true if objects of a class are files of this machine.
    pub fn is_on_disk(&self, class: StorageClass) -> bool {
        matches!(self.backend(class), Backend::Disk(_))
    }

    /// Like [`Storage::replace`], for objects [on a disk](Storage::is_on_disk). Blocks.
    pub fn replace_blocking(&self, spool: Spool, key: &Key) -> Result<(), StorageError> {
        spool.check_class(key)?;
        self.may_store_now(key.class())?;
        self.request_comparison_if_refused(self.disk(key)?.commit(spool, key, IfExists::Replace))?;
        self.invalidate(key);
        Ok(())
    }

    /// Like [`Storage::put`], for objects [on a disk](Storage::is_on_disk). Blocks.
    pub fn put_blocking(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        self.may_store_now(key.class())?;
        self.request_comparison_if_refused(self.disk(key)?.put(key, bytes))?;
        self.invalidate(key);
        Ok(())
    }

    fn disk(&self, key: &Key) -> Result<&Disk, StorageError> {
        match self.backend(key.class()) {
            Backend::Disk(disk) => Ok(disk),
            Backend::S3(_) => Err(StorageError::Other(format!("{key} is not on a disk"))),
        }
    }
}
