//! Makes an uploaded object durable in the background, after its client was answered. Until then the upload is in
//! memory, and lost on a crash; a row that refers to an object must not be written before the object is durable.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

use store::storage::StorageError;

/// The write of an object that may not be durable yet; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingWrite(Arc<PendingState>);

#[derive(Debug, Default)]
struct PendingState {
    result: Mutex<Option<Result<(), StorageError>>>,
    completed: Condvar,
}

/// Guard of the task that makes the object durable.
pub(super) struct PendingWriteGuard(PendingWrite);

impl PendingWrite {
    /// Returns a pending write, and the guard that completes it: by [`PendingWriteGuard::complete`],
    /// or when dropped.
    pub(super) fn begin() -> (PendingWrite, PendingWriteGuard) {
        let pending_write = PendingWrite::default();
        (pending_write.clone(), PendingWriteGuard(pending_write))
    }

    /// Waits until the object is durable: about two fsyncs, because these uploads are small and on a local disk.
    /// Blocks.
    ///
    /// # Errors
    /// The storage error; calls after the first one return only its text, unless no space was left.
    pub(super) fn wait(&self) -> Result<(), StorageError> {
        let mut result = self.0.result.lock();
        while result.is_none() {
            self.0.completed.wait(&mut result);
        }
        match result.take() {
            Some(Err(error)) => {
                *result = Some(Err(match &error {
                    StorageError::Full(place) => StorageError::Full(place.clone()),
                    error => StorageError::Other(format!("a package was not stored: {error}")),
                }));
                Err(error)
            }
            other => {
                *result = other;
                Ok(())
            }
        }
    }
}

impl PendingWriteGuard {
    /// Sets the result and wakes all waiters.
    pub(super) fn complete(self, result: Result<(), StorageError>) {
        *self.0.0.result.lock() = Some(result);
        self.0.0.completed.notify_all();
    }
}

impl Drop for PendingWriteGuard {
    fn drop(&mut self) {
        let mut result = self.0.0.result.lock();
        result.get_or_insert_with(|| Err(StorageError::Other("the server is stopping".to_owned())));
        self.0.0.completed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiter_learns_that_no_space_was_left() {
        let (pending_write, writer) = PendingWrite::begin();
        writer.complete(Err(StorageError::Full("packages".to_owned())));
        for _ in 0..3 {
            assert!(matches!(pending_write.wait(), Err(StorageError::Full(_))));
        }
    }

    #[test]
    fn a_row_waits_for_its_bytes() {
        let (pending_write, writer) = PendingWrite::begin();
        let waiter = std::thread::spawn({
            let pending_write = pending_write.clone();
            move || pending_write.wait()
        });
        assert!(!waiter.is_finished());
        writer.complete(Ok(()));
        assert!(waiter.join().expect("no panic").is_ok());
        assert!(pending_write.wait().is_ok(), "a second call");
    }

    #[test]
    fn a_failed_write_stays_failed() {
        let (pending_write, writer) = PendingWrite::begin();
        writer.complete(Err(StorageError::Other("the disk is full".to_owned())));
        for _ in 0..2 {
            assert!(pending_write.wait().expect_err("never").to_string().contains("the disk is full"));
        }
        let (pending_write, writer) = PendingWrite::begin();
        drop(writer);
        assert!(pending_write.wait().expect_err("the guard was dropped").to_string().contains("stopping"));
    }
}
