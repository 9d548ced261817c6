//! A cache of objects in an unnamed temporary file, for those that memory has no space for. The file has a fixed size; new
//! objects overwrite the oldest ones. It ends with the process.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use nix::fcntl::OFlag;
use parking_lot::Mutex;
use rustix::io::{ReadWriteFlags, preadv2};

use super::spool::available_bytes;
use base::model::digest::Sha256;

/// Maximum number of objects, each of which needs about 150 bytes of memory.
const MAX_OBJECTS: usize = 16 << 10;
/// Size of the smallest object, in bytes: the number of smaller ones would be limited by their memory.
const MIN_OBJECT_SIZE: usize = 4 << 10;
/// Maximum size in bytes of an object that is read, and compared with its digest, without another thread.
const MAX_CACHED_READ: usize = 1 << 20;

pub struct DiskCache {
    directory: PathBuf,
    /// Size of the file in bytes.
    capacity: u64,
    /// Created for the first object; `None` if that failed.
    file: OnceLock<Option<File>>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    by_key: HashMap<Sha256, CachedObject>,
    /// The keys in the order of positions.
    order: VecDeque<Sha256>,
    /// Number of bytes written so far, with gaps at the end of the file; positions are modulo the capacity.
    end: u64,
}

/// The place of an object in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedObject {
    key: Sha256,
    content: Sha256,
    position: u64,
    size: usize,
    /// CRC-64/NVME of the bytes.
    crc: u64,
    is_written: bool,
}

impl CachedObject {
    /// Returns the digest of the decoded content, which the writer stated.
    pub fn content(&self) -> Sha256 {
        self.content
    }
}

impl DiskCache {
    /// Creates an empty cache of `capacity` bytes. The file will be in `directory`.
    pub fn new(directory: PathBuf, capacity: u64) -> DiskCache {
        DiskCache { directory, capacity, file: OnceLock::new(), objects: Mutex::default() }
    }

    pub fn find(&self, key: &str) -> Option<CachedObject> {
        let key = Sha256::of(key);
        self.objects.lock().by_key.get(&key).copied().filter(|object| object.is_written)
    }

    /// Reads an object if the page cache has it, without waiting for a disk.
    pub fn read_cached(&self, object: CachedObject) -> Option<Bytes> {
        if object.size > MAX_CACHED_READ {
            return None;
        }
        self.read_with(object, |file, bytes, position| {
            preadv2(file, &mut [IoSliceMut::new(bytes)], position, ReadWriteFlags::NOWAIT)
                .is_ok_and(|count| count == object.size)
        })
    }

    /// Reads an object; `None` if it was overwritten meanwhile or is damaged. Blocking.
    pub fn read(&self, object: CachedObject) -> Option<Bytes> {
        self.read_with(object, |file, bytes, position| file.read_exact_at(bytes, position).is_ok())
    }

    fn read_with(
        &self,
        object: CachedObject,
        read: impl FnOnce(&File, &mut [u8], u64) -> bool,
    ) -> Option<Bytes> {
        let file = self.file.get()?.as_ref()?;
        let mut bytes = vec![0; object.size];
        if !read(file, &mut bytes, object.position % self.capacity) {
            return None;
        }
        let is_intact = crc(&bytes) == object.crc;
        let mut objects = self.objects.lock();
        if objects.by_key.get(&object.key) != Some(&object) {
            // Other bytes may have been written to its place.
            return None;
        }
        if !is_intact {
            objects.by_key.remove(&object.key);
        }
        is_intact.then(|| bytes.into())
    }

    /// Writes an object, unless it is present, very small, or larger than an eighth of the file. Errors are not reported:
    /// the object is not in the cache then. Blocking.
    pub fn write(&self, key: &str, content: Sha256, bytes: &[u8]) {
        let size = bytes.len();
        if size < MIN_OBJECT_SIZE || size as u64 > self.capacity / 8 {
            return;
        }
        let Some(file) = self.file.get_or_init(|| self.create()) else { return };
        let key = Sha256::of(key);
        let object = CachedObject { key, content, position: 0, size, crc: crc(bytes), is_written: false };
        let Some(position) = self.objects.lock().reserve(self.capacity, object) else { return };
        // A part of the disk stays free for what cannot be generated again.
        let free = available_bytes(file).unwrap_or(0);
        let is_written = free > self.capacity && file.write_all_at(bytes, position % self.capacity).is_ok();
        let mut objects = self.objects.lock();
        if free < self.capacity / 2 {
            *objects = Objects::default();
            let _ = file.set_len(0);
        } else if objects.by_key.get(&key).is_some_and(|object| object.position == position) {
            match is_written {
                true => drop(objects.by_key.insert(key, CachedObject { position, is_written, ..object })),
                false => drop(objects.by_key.remove(&key)),
            }
        }
    }

    /// Creates a file that never has a name. A network file system has none: it would be slower than generating the objects.
    fn create(&self) -> Option<File> {
        let log = |error: &io::Error| {
            tracing::info!(directory = %self.directory.display(), %error, "generated pages that do not fit into memory are not kept: no file without a name can be created");
        };
        let flags = OFlag::O_TMPFILE.bits();
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&self.directory)
            .inspect_err(log)
            .ok()
    }
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

impl Objects {
    /// Adds an object that is not written yet and removes those that it overwrites. Returns its position; `None` if an object
    /// with this key is present.
    fn reserve(&mut self, capacity: u64, object: CachedObject) -> Option<u64> {
        let key = object.key;
        if self.by_key.contains_key(&key) {
            return None;
        }
        let (size, rest) = (object.size as u64, capacity - self.end % capacity);
        let position = if rest < size { self.end + rest } else { self.end };
        self.end = position + size;
        while let Some(oldest) = self.order.front() {
            let is_overwritten =
                self.by_key.get(oldest).is_none_or(|object| object.position + capacity < self.end);
            if !is_overwritten && self.order.len() < MAX_OBJECTS {
                break;
            }
            self.by_key.remove(oldest);
            self.order.pop_front();
        }
        self.order.push_back(key);
        self.by_key.insert(key, CachedObject { position, ..object });
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Sha256 = Sha256([7; 32]);

    fn read(cache: &DiskCache, key: &str) -> Option<Bytes> {
        let object = cache.find(key)?;
        assert_eq!(object.content(), CONTENT);
        let bytes = cache.read(object);
        // The page cache need not have it.
        let cached = cache.read_cached(object);
        assert!(cached.is_none() || cached == bytes, "{key}");
        bytes
    }

    #[test]
    fn new_objects_overwrite_the_oldest_ones() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path().to_owned(), 100_000);
        assert_eq!(cache.find("0"), None);
        let bytes = |number: u8| vec![number; 9_000];
        let first = {
            cache.write("0", CONTENT, &bytes(0));
            cache.find("0").unwrap()
        };
        for number in 1..=30 {
            cache.write(&number.to_string(), CONTENT, &bytes(number));
            assert_eq!(read(&cache, &number.to_string()).unwrap(), bytes(number));
        }
        assert_eq!(cache.read(first), None, "other bytes are in its place");
        let present = (0..=30).filter(|number: &u8| read(&cache, &number.to_string()).is_some());
        assert_eq!(present.collect::<Vec<_>>(), (20..=30).collect::<Vec<_>>());
        assert_eq!(cache.file.get().unwrap().as_ref().unwrap().metadata().unwrap().len(), 99_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn objects_of_other_sizes_are_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path().to_owned(), 100_000);
        cache.write("small", CONTENT, &[1; 100]);
        cache.write("large", CONTENT, &[1; 20_000]);
        assert_eq!((cache.find("small"), cache.find("large")), (None, None));
        let unwritable = DiskCache::new(folder.path().join("missing"), 100_000);
        unwritable.write("page", CONTENT, &[1; 9_000]);
        assert_eq!(unwritable.find("page"), None);
    }

    #[test]
    fn a_damaged_object_is_not_returned() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path().to_owned(), 100_000);
        cache.write("page", CONTENT, &[1; 9_000]);
        cache.file.get().unwrap().as_ref().unwrap().write_all_at(&[2], 5_000).unwrap();
        assert_eq!(read(&cache, "page"), None);
    }
}
