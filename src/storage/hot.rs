//! Which small objects are kept in memory: the ones asked for again, within a fixed number of bytes.

use super::Key;
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Bytes kept in all.
const CAPACITY: u64 = 16 << 20;
/// The largest object that is kept, in bytes; larger ones stream.
pub(super) const LARGEST: u64 = 1 << 20;
/// Each shard holds `CAPACITY / SHARDS` and must hold a few of the largest objects. The crate's default grows with
/// the number of processors until a shard is smaller than one object, which would then never be kept.
const SHARDS: usize = 2;
/// What an entry costs besides its bytes: key, counters, allocation.
const OVERHEAD: u64 = 160;

/// The memory cache. Objects are immutable, so an entry can never be stale.
pub(super) struct Hot(Cache<Key, Bytes, Weigh>);

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Bytes> for Weigh {
    fn weight(&self, _: &Key, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

impl Hot {
    pub(super) fn new() -> Hot {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(CAPACITY)
            .estimated_items_capacity(1024)
            .build()
            .expect("capacity and item estimate are set");
        Hot(Cache::with_options(options, Weigh, DefaultHashBuilder::default(), DefaultLifecycle::default()))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Bytes> {
        self.0.get(key)
    }

    /// Keeps a whole object. The bytes must own exactly their own allocation, or more memory is held than counted.
    pub(super) fn keep(&self, key: Key, bytes: Bytes) {
        if bytes.len() as u64 <= LARGEST {
            self.0.insert(key, bytes);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Sha256;

    #[test]
    fn memory_stays_within_its_bound_and_the_largest_object_is_kept() {
        let hot = Hot::new();
        for i in 0..64u8 {
            hot.keep(Key::Readme(Sha256([i; 32])), Bytes::from(vec![i; LARGEST as usize]));
        }
        assert!(hot.0.weight() <= CAPACITY);
        assert!(hot.0.len() >= 8, "{}", hot.0.len());
        hot.keep(Key::Index(Sha256([0; 32])), Bytes::from(vec![0; LARGEST as usize + 1]));
        assert!(hot.get(&Key::Index(Sha256([0; 32]))).is_none());
    }
}
