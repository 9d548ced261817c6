//! The queue of reads of the list of projects of an index.

use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::serve::RepoError;

/// The queue of reads of the list of projects of an index, one at a time: reading the names of PyPI takes a second and a
/// hundred megabytes. Clients choose the days, so the length is limited.
pub(in crate::serve) struct IndexNamesQueue {
    turn: Mutex<()>,
    places: Semaphore,
}

/// Maximum number of reads that wait for their turn.
const QUEUE_PLACES: usize = 16;
/// `Retry-After` when the queue is full, in seconds.
const QUEUE_RETRY_AFTER: u64 = 10;

impl Default for IndexNamesQueue {
    fn default() -> IndexNamesQueue {
        IndexNamesQueue { turn: Mutex::default(), places: Semaphore::new(QUEUE_PLACES) }
    }
}

impl IndexNamesQueue {
    /// Waits until no other read is running.
    ///
    /// # Errors
    /// [`RepoError::Busy`] if too many wait.
    pub(in crate::serve) async fn wait(&self) -> Result<MutexGuard<'_, ()>, RepoError> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| RepoError::Busy { retry_after: QUEUE_RETRY_AFTER })?;
        Ok(self.turn.lock().await)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn too_many_waiting_reads_of_names_are_refused() {
        let queue = IndexNamesQueue::default();
        let turn = queue.wait().await.expect("nothing is running");
        let mut waiting: Vec<_> = (0..QUEUE_PLACES).map(|_| Box::pin(queue.wait())).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        assert!(matches!(queue.wait().await, Err(RepoError::Busy { retry_after: QUEUE_RETRY_AFTER })));
        drop((turn, waiting));
        drop(queue.wait().await.expect("nothing is running any more"));
    }
}
