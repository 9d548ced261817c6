//! Memory cache of small, frequently requested objects, limited in bytes.

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::hash::Hash;

/// Capacity in bytes.
const CAPACITY: u64 = 16 << 20;
/// The largest object that is cached, in bytes; larger ones are streamed.
pub const MAX_OBJECT_SIZE: u64 = 1 << 20;
/// Number of shards, each with `CAPACITY / SHARDS`, which must suffice for a few of the largest objects. The default of
/// quick_cache grows with the number of processors; an object larger than a shard would never be cached.
const SHARDS: usize = 2;
/// Overhead of an entry in bytes: key, counters, allocation.
const OVERHEAD: u64 = 160;

/// A memory cache of objects that own their bytes. If an object can change under the same key, `V` must
/// contain a value that identifies its state, which the caller must compare.
pub struct MemoryCache<K, V>(Cache<K, V, ByteWeighter>);

#[derive(Clone)]
struct ByteWeighter;

impl<K, V: AsRef<[u8]>> Weighter<K, V> for ByteWeighter {
    fn weight(&self, _: &K, object: &V) -> u64 {
        object.as_ref().len() as u64 + OVERHEAD
    }
}

/// Returns an empty cache whose entries may weigh `bytes` together, according to `weighter`; `entries` is an estimate of their
/// number. An entry must weigh less than the part of a shard, otherwise it is not cached.
pub fn with_shards<K: Eq + Hash, V: Clone, W: Weighter<K, V> + Clone>(
    shards: usize,
    bytes: u64,
    entries: usize,
    weighter: W,
) -> Cache<K, V, W> {
    let options = OptionsBuilder::new()
        .shards(shards)
        .weight_capacity(bytes)
        .estimated_items_capacity(entries)
        .build()
        .expect("capacity and item estimate are set");
    Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

impl<K: Clone + Eq + Hash, V: Clone + AsRef<[u8]>> Default for MemoryCache<K, V> {
    fn default() -> MemoryCache<K, V> {
        MemoryCache::with_capacity(CAPACITY)
    }
}

impl<K: Clone + Eq + Hash, V: Clone + AsRef<[u8]>> MemoryCache<K, V> {
    /// Returns an empty cache of `bytes` at most. An object of half of them or more is never cached.
    pub fn with_capacity(bytes: u64) -> MemoryCache<K, V> {
        MemoryCache(with_shards(SHARDS, bytes, 1024, ByteWeighter))
    }

    pub fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    /// Inserts a whole object, whose bytes must not be a part of a larger allocation, which would not be counted.
    pub fn insert(&self, key: K, object: V) {
        if object.as_ref().len() as u64 <= MAX_OBJECT_SIZE {
            self.0.insert(key, object);
        }
    }

    pub fn remove(&self, key: &K) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Key;
    use base::model::digest::Sha256;
    use bytes::Bytes;

    #[test]
    fn memory_is_limited_and_the_largest_object_is_cached() {
        let cache: MemoryCache<Key, Bytes> = MemoryCache::default();
        for i in 0..64u8 {
            cache.insert(Key::Readme(Sha256([i; 32])), Bytes::from(vec![i; MAX_OBJECT_SIZE as usize]));
        }
        assert!(cache.0.weight() <= CAPACITY);
        assert!(cache.0.len() >= 8, "{}", cache.0.len());
        cache.insert(Key::Index(Sha256([0; 32])), Bytes::from(vec![0; MAX_OBJECT_SIZE as usize + 1]));
        assert!(cache.get(&Key::Index(Sha256([0; 32]))).is_none());
    }
}
