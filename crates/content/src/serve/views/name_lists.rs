//! The cache of the names that points list, and the queue of reads of the list of an index. The memory of the cache is
//! limited in bytes, because the names of all of CRAN take several megabytes, those of PyPI twenty, and those of most
//! local sources little.

use std::sync::Arc;

use quick_cache::Weighter;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::listing::Names;
use crate::serve::RepoError;
use base::model::point::PointTree;
use store::storage::memory_cache;

/// Maximum memory of the lists in the cache, in bytes.
const MAX_BYTES: u64 = 96 << 20;
/// Estimated number of lists in the cache.
const ESTIMATED_ENTRIES: usize = 64;
/// Memory of an entry besides its names, in bytes.
const ENTRY_OVERHEAD: usize = 256;

/// The names of the most recently used points.
pub(in crate::serve) type NameLists = quick_cache::sync::Cache<Vec<PointTree>, Arc<Names>, NamesWeighter>;

#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct NamesWeighter;

impl Weighter<Vec<PointTree>, Arc<Names>> for NamesWeighter {
    fn weight(&self, trees: &Vec<PointTree>, names: &Arc<Names>) -> u64 {
        (ENTRY_OVERHEAD + size_of_val(trees.as_slice()) + names.memory()) as u64
    }
}

pub(in crate::serve) fn new() -> NameLists {
    with_capacity(MAX_BYTES)
}

fn with_capacity(bytes: u64) -> NameLists {
    // One shard: a list of PyPI must not exceed its capacity.
    memory_cache::with_shards(1, bytes, ESTIMATED_ENTRIES, NamesWeighter)
}

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
    use base::model::ids::{Seq, SourceId, TreeId};

    #[test]
    fn small_lists_stay_beside_each_other_and_their_bytes_are_limited() {
        let cache = with_capacity(100 * ENTRY_OVERHEAD as u64);
        let point = |tree| {
            vec![PointTree { source: SourceId(1), tree: TreeId(tree), seq: Seq(1), base: None, rules: None }]
        };
        let weight = NamesWeighter.weight(&point(1), &Arc::new(Names::R(Vec::new())));
        let insert = |tree| cache.insert(point(tree), Arc::new(Names::R(Vec::new())));
        (0..30).for_each(insert);
        assert!((0..30).all(|tree| cache.get(&point(tree)).is_some()));
        (30..1000).for_each(insert);
        assert!(cache.weight() <= 100 * ENTRY_OVERHEAD as u64 && cache.len() as u64 >= 50, "{}", cache.len());
        assert!(weight > ENTRY_OVERHEAD as u64, "{weight}");
    }

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
