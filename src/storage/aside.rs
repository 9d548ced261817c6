//! Objects out of service: moved aside within their class, brought back, deleted for good.

use super::{Area, Backend, Key, Marker, Owner, Storage, StorageError, blocking};
use crate::config::StorageClass;
use crate::model::identity::Identity;
use std::time::Duration;

/// How long a removed object can be brought back.
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Storage {
    /// Moves an object to the trash; false when it is not there.
    pub async fn discard(&self, key: &Key) -> Result<bool, StorageError> {
        self.withdraw(key, Area::Trash).await
    }

    /// Moves an object whose bytes are not those of its digest to where it is never served from; false when it is not
    /// there.
    pub async fn set_aside(&self, key: &Key) -> Result<bool, StorageError> {
        let moved = self.withdraw(key, Area::Damaged).await?;
        if moved {
            self.0.condition.lock().damaged.insert(*key);
        }
        Ok(moved)
    }

    async fn withdraw(&self, key: &Key, to: Area) -> Result<bool, StorageError> {
        let key = *key;
        let moved = match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.withdraw(&key, to)).await?,
            Backend::S3(s3) => s3.transfer(&key, Area::Live, to).await?,
        };
        self.0.hot.forget(&key);
        Ok(moved)
    }

    /// Brings an object back from the trash; false when it is not there, or one is in service.
    pub async fn restore(&self, key: &Key) -> Result<bool, StorageError> {
        let key = *key;
        let restored = match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.restore(&key, Area::Trash)).await?,
            Backend::S3(s3) if s3.size(&key).await?.is_some() => false,
            Backend::S3(s3) => s3.transfer(&key, Area::Trash, Area::Live).await?,
        };
        if restored {
            self.changed(&key);
        }
        Ok(restored)
    }

    /// Removes an object from an area for good; one that is not there is no error.
    pub async fn delete_from(&self, area: Area, key: &Key) -> Result<(), StorageError> {
        let key = *key;
        match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.delete(area, &key)).await?,
            Backend::S3(s3) => s3.delete(area, &key).await?,
        }
        if area == Area::Live {
            self.0.hot.forget(&key);
        }
        Ok(())
    }

    /// The marker of a class, as it is now.
    pub async fn marker(&self, class: StorageClass) -> Result<Marker, StorageError> {
        let owner = Owner(class);
        let bytes = match self.place(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.owner(owner)).await?,
            Backend::S3(s3) => s3.owner(owner).await?.map(|bytes| bytes.to_vec()),
        };
        Ok(bytes.map_or(Marker::None, |bytes| Marker::read(&bytes)))
    }

    /// Writes the marker of a class, and reads it again: of two servers that write at once, one is named. Unless it
    /// `replaces`, a marker that is there stays.
    pub async fn mark(
        &self,
        class: StorageClass,
        identity: Identity,
        replaces: bool,
    ) -> Result<Marker, StorageError> {
        let (owner, bytes) = (Owner(class), format!("{identity}\n").into_bytes());
        match self.place(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.mark(owner, &bytes, replaces)).await?,
            Backend::S3(s3) => s3.mark(owner, bytes.into(), replaces).await?,
        }
        self.marker(class).await
    }
}
