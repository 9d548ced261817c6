//! Requests a comparison of classes with the database while the server runs, as a directory was replaced; waits for it.

use std::sync::atomic::Ordering;

use super::condition::COMPARISON_TIMEOUT;
use super::disk::Disk;
use super::{Backend, Storage, StorageError, blocking};
use base::model::kind::StorageClass;

impl Storage {
    /// Waits for a request to compare all classes with the database, because a directory was replaced.
    pub async fn wait_for_comparison_request(&self) {
        self.0.comparison_request.notified().await;
    }

    /// Ends the waits of store operations for a requested comparison.
    pub fn end_comparison(&self) {
        self.0.comparison_count.send_modify(|count| *count += 1);
    }

    /// Requests a comparison and waits for it, if this process compares its classes.
    pub(super) async fn compare_again(&self) {
        if self.0.is_comparison_required.load(Ordering::Relaxed) {
            let mut comparison_count = self.0.comparison_count.subscribe();
            self.0.comparison_request.notify_one();
            // After a timeout, the caller refuses with the current reason.
            let _ = tokio::time::timeout(COMPARISON_TIMEOUT, comparison_count.changed()).await;
        }
    }

    /// Requests a comparison and waits for it if an operation was refused because the directory of its class was
    /// replaced; returns true in this case. The operation may be repeated if [`Storage::may_store`] still allows it.
    pub(super) async fn compare_if_refused<T>(&self, result: &Result<T, StorageError>) -> bool {
        let is_refused = matches!(result, Err(StorageError::Refused { .. }));
        if is_refused {
            self.compare_again().await;
        }
        is_refused
    }

    /// Like [`Storage::compare_if_refused`], without waiting; returns the result unchanged.
    pub(super) fn request_comparison_if_refused<T>(
        &self,
        result: Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if let Err(StorageError::Refused { .. }) = &result {
            self.0.comparison_request.notify_one();
        }
        result
    }

    /// Returns whether the path of a class names a different directory than when its marker was last read.
    pub(super) async fn is_replaced(&self, class: StorageClass) -> bool {
        match self.backend(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.is_replaced(class)).await.unwrap_or(false),
            Backend::S3(_) => false,
        }
    }

    /// Returns whether a refused class should be compared again: another directory may have been mounted.
    pub(super) async fn needs_comparison(&self, class: StorageClass) -> bool {
        let is_missing = self.0.condition.lock().ownership(class).is_missing();
        let check = move |disk: &Disk| match is_missing {
            true => disk.needs_comparison(class),
            false => disk.is_replaced(class),
        };
        match self.backend(class) {
            Backend::Disk(disk) => blocking(disk, check).await.unwrap_or(false),
            Backend::S3(_) => false,
        }
    }

    /// Accepts the directory in which the marker of a class was last read.
    pub(super) fn accept(&self, class: StorageClass) {
        if let Backend::Disk(disk) = self.backend(class) {
            disk.accept(class);
        }
    }
}
