//! Lists the objects of a storage class in pages.

use super::{Area, Backend, Key, ListedObject, Storage, StorageError, blocking};
use base::model::storage_class::StorageClass;

impl Storage {
    /// Returns up to `limit` objects of a class after `after` in listing order (by kind, then digest); an empty result
    /// means the end. Objects stored or deleted meanwhile may or may not be listed.
    pub async fn list(
        &self,
        class: StorageClass,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        self.list_in(Area::Live, class, after, limit).await
    }

    /// Like [`Storage::list`], for an area.
    pub async fn list_in(
        &self,
        area: Area,
        class: StorageClass,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        let mut objects = Vec::new();
        for first in Key::directories(class) {
            let (from, inclusive) = match after {
                None => (first, true),
                Some(after) if after.directory() == first.directory() => (*after, false),
                Some(after) if *after > first => continue,
                Some(_) => (first, true),
            };
            let remaining = limit - objects.len();
            if remaining == 0 {
                break;
            }
            objects.extend(self.list_directory(area, from, inclusive, remaining).await?);
        }
        Ok(objects)
    }

    /// Returns up to `limit` objects of the directory of `from`: those after `from`, or if `inclusive`, from it on.
    /// Fewer than `limit` mean that there are no more.
    pub async fn list_directory(
        &self,
        area: Area,
        from: Key,
        inclusive: bool,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        match self.backend(from.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.list(area, &from, inclusive, limit)).await,
            Backend::S3(s3) => s3.list(area, &from, inclusive, limit).await,
        }
    }
}
