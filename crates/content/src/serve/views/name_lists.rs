//! The cache of the names that points list. Its memory is limited in bytes, because the names of all of CRAN take several
//! megabytes, those of PyPI twenty, and those of most local sources little.

use std::sync::Arc;

use quick_cache::Weighter;

use super::listing::Names;
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

/// Weighs a list by its bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct NamesWeighter;

impl Weighter<Vec<PointTree>, Arc<Names>> for NamesWeighter {
    fn weight(&self, trees: &Vec<PointTree>, names: &Arc<Names>) -> u64 {
        (ENTRY_OVERHEAD + size_of_val(trees.as_slice()) + names.memory()) as u64
    }
}

/// Returns an empty cache.
pub(in crate::serve) fn new() -> NameLists {
    with_capacity(MAX_BYTES)
}

fn with_capacity(bytes: u64) -> NameLists {
    // One shard: a list of PyPI must not exceed its capacity.
    memory_cache::with_shards(1, bytes, ESTIMATED_ENTRIES, NamesWeighter)
}

#[cfg(test)]
mod tests {
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
}
