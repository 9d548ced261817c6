//! Package bytes and rendered indexes by digest, on disk or S3, per storage class.

mod background;
mod bucket;
mod chunks;
mod comparison;
pub mod condition;
mod disk;
pub mod disk_cache;
pub mod error;
pub mod key;
mod marker;
pub mod memory_cache;
mod pace;
mod probe;
mod s3;
pub mod space;
mod spool;
mod trash;

pub use background::{BackgroundReader, ObjectRead, is_damage};
pub use bucket::Bucket;
pub use chunks::{ReadRequest, Reservation, chunk_size, content, read_to_memory, reserve_memory};
pub use condition::{Condition, Ownership};
pub use error::{StorageError, UnusableLocation};
pub use key::{Area, Key, MarkerKey};
pub use marker::{Marker, MarkerContent, NodeMarker};
pub use pace::Pace;
pub use probe::virtual_file_system;
pub use spool::Spool;
pub use trash::{GRACE, GracePeriod, day_of};

use base::config::{ClassLocation, StorageConfig};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use bytes::Bytes;
use disk::Disk;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use memory_cache::MemoryCache;
use pace::Demand;
use parking_lot::Mutex;
use s3::S3;
use sha2::Digest;
use space::DirectorySpace;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;
use tokio::sync::{Notify, watch};

/// Handles of the nine classes; clones share them.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    /// In the order of [`StorageClass::ALL`].
    backends: Vec<Backend>,
    /// Objects are immutable, and only bytes with their digest are inserted, so an entry can never be stale or wrong.
    cache: MemoryCache<Key, Bytes>,
    /// The requests of clients, to which background readers yield.
    demand: Arc<Demand>,
    /// The classes on each file system that was too full at the last check.
    directories: Mutex<Vec<DirectorySpace>>,
    condition: Mutex<Condition>,
    /// Notified when a class was compared with the database.
    comparison_end: Notify,
    /// Whether store operations wait for the first comparison.
    is_comparison_required: AtomicBool,
    /// Notified when all classes should be compared again.
    comparison_request: Notify,
    /// Number of requested comparisons that ended.
    comparison_count: watch::Sender<u64>,
}

/// The backend of a class. Classes with the same configuration share one.
#[derive(Clone)]
enum Backend {
    Disk(Arc<Disk>),
    S3(Arc<S3>),
}

pub struct OpenObject {
    /// The size of the whole object in bytes, even if a range was requested.
    pub size: u64,
    pub content: Content,
}

enum BackendObject {
    /// A small object, whole, for the memory cache.
    Whole(Bytes),
    /// The requested part of a large object.
    Part(OpenObject),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfExists {
    /// Keep it, unless its size differs: the same digest means the same bytes.
    Keep,
    /// Replace it: its bytes are not trusted.
    Replace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    pub key: Key,
    /// The size in bytes.
    pub size: u64,
    /// Time at which it was stored, by the clock of the disk or the bucket.
    pub modified: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketFile {
    /// The path of the file below the prefix.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// Time at which it was written, by the clock of the bucket.
    pub modified: SystemTime,
}

impl Storage {
    /// Opens every location: creates missing directories (mode 0700), writes, reads and deletes a probe object, and
    /// removes the spools of processes that ended. [`StorageError::Unusable`] names every location that failed, the
    /// effective user and the command that fixes it. A directory whose disk or quota is full is opened, logged and
    /// recorded in [`Storage::condition`].
    pub async fn open(config: &StorageConfig) -> Result<Storage, StorageError> {
        let locations = probe::distinct_locations(config);
        let results =
            join_all(locations.iter().map(|(location, classes)| open(location, classes, config))).await;
        let mut backends: [Option<Backend>; StorageClass::ALL.len()] = Default::default();
        let (mut failures, mut full_locations) = (Vec::new(), Vec::new());
        for ((_, classes), result) in locations.iter().zip(results) {
            match result {
                Ok((backend, unusable)) => {
                    classes.iter().for_each(|c| backends[*c as usize] = Some(backend.clone()));
                    full_locations.extend(unusable.map(|unusable| (classes, unusable)));
                }
                Err(unusable) => failures.push(unusable),
            }
        }
        if !failures.is_empty() {
            return Err(StorageError::Unusable(failures));
        }
        let storage = Storage::from_backends(backends.into_iter().flatten().collect());
        for (classes, unusable) in full_locations {
            tracing::warn!("{unusable}");
            storage.set_full(classes, true);
        }
        storage.remove_abandoned_spools().await?;
        Ok(storage)
    }

    /// Opens the configured locations for reading: creates nothing and sends no request to a bucket.
    ///
    /// # Errors
    /// The settings of a bucket are invalid.
    pub async fn open_read_only(config: &StorageConfig) -> Result<Storage, StorageError> {
        let mut backends = Vec::with_capacity(StorageClass::ALL.len());
        for class in StorageClass::ALL {
            backends.push(match config.location(class) {
                ClassLocation::File(location) => Backend::Disk(Arc::new(Disk::new(&location.location))),
                ClassLocation::S3(location) => {
                    Backend::S3(Arc::new(S3::open(location, &config.spool_dir).await?))
                }
            });
        }
        Ok(Storage::from_backends(backends))
    }

    /// Adds a request of a client to the demand, to which background readers yield.
    pub fn add_demand(&self) {
        self.0.demand.add();
    }

    fn from_backends(backends: Vec<Backend>) -> Storage {
        Storage(Arc::new(Inner {
            backends,
            cache: MemoryCache::default(),
            demand: Arc::default(),
            directories: Mutex::default(),
            condition: Mutex::default(),
            comparison_end: Notify::new(),
            is_comparison_required: AtomicBool::new(false),
            comparison_request: Notify::new(),
            comparison_count: watch::Sender::new(0),
        }))
    }

    /// Returns the result of [`Storage::open`] for each class whose location `is_included`, in the order of
    /// [`StorageClass::ALL`], without creating a directory.
    pub async fn probe(
        config: &StorageConfig,
        is_included: impl Fn(&ClassLocation) -> bool,
    ) -> Vec<(StorageClass, Result<(), StorageError>)> {
        let mut locations = probe::distinct_locations(config);
        locations.retain(|(location, _)| is_included(location));
        let results =
            join_all(locations.iter().map(|(location, classes)| probe_location(location, classes, config)))
                .await;
        let mut by_class: Vec<_> = locations
            .iter()
            .zip(results)
            .flat_map(|((_, classes), result)| classes.iter().map(move |class| (*class, result.clone())))
            .map(|(class, result)| (class, result.map_err(|unusable| StorageError::Unusable(vec![unusable]))))
            .collect();
        by_class.sort_unstable_by_key(|(class, _)| *class);
        by_class
    }

    /// Opens a spool for objects of `class`, if [`Storage::may_store`] allows it.
    pub async fn spool(&self, class: StorageClass) -> Result<Spool, StorageError> {
        self.may_store(class).await?;
        match self.backend(class) {
            Backend::Disk(disk) => {
                let result = blocking(disk, move |disk| disk.spool(class)).await;
                if !self.compare_if_refused(&result).await {
                    return result;
                }
                self.may_store_now(class)?;
                blocking(disk, move |disk| disk.spool(class)).await
            }
            Backend::S3(s3) => blocking(s3, move |s3| s3.spool(class)).await,
        }
    }

    /// Turns the spool into the object `key`, durably: fsync, rename, fsync of the directory; a multipart upload on S3.
    /// An existing object is not replaced (same digest, same bytes), unless it has a different size and is therefore
    /// damaged. On an error nothing is stored and the spool is removed.
    pub async fn commit(&self, spool: Spool, key: &Key) -> Result<(), StorageError> {
        self.commit_spool(spool, key, IfExists::Keep).await
    }

    /// Like [`Storage::commit`], replacing an existing object: repairs an object that is damaged but has the right
    /// size. Readers of the old object are not affected.
    pub async fn replace(&self, spool: Spool, key: &Key) -> Result<(), StorageError> {
        self.commit_spool(spool, key, IfExists::Replace).await
    }

    async fn commit_spool(&self, spool: Spool, key: &Key, if_exists: IfExists) -> Result<(), StorageError> {
        let key = *key;
        spool.check_class(&key)?;
        self.may_store(key.class()).await?;
        match self.backend(key.class()) {
            Backend::Disk(disk) => {
                let result = blocking(disk, move |disk| disk.commit(spool, &key, if_exists)).await;
                if self.compare_if_refused(&result).await {
                    self.may_store_now(key.class())?;
                }
                result?;
            }
            Backend::S3(s3) => s3.commit(spool, &key, if_exists).await?,
        }
        self.invalidate(&key);
        Ok(())
    }

    /// Stores bytes, durably, unless the object exists.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let key = *key;
        self.may_store(key.class()).await?;
        match self.backend(key.class()) {
            Backend::Disk(disk) => {
                let copy = bytes.clone();
                let result = blocking(disk, move |disk| disk.put(&key, &bytes)).await;
                if self.compare_if_refused(&result).await {
                    self.may_store_now(key.class())?;
                    blocking(disk, move |disk| disk.put(&key, &copy)).await?;
                } else {
                    result?;
                }
            }
            Backend::S3(s3) => s3.put(&key, bytes).await?,
        }
        self.invalidate(&key);
        Ok(())
    }

    /// Opens an object, or a range of it (end exclusive; it may lie beyond the end of the object). Small objects are
    /// returned in memory, large ones as a stream. An object in the trash is restored first: the caller has a row that
    /// refers to it. An object that was recorded as lost and is found is no longer recorded as lost.
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<OpenObject, StorageError> {
        if let Some(object) = self.0.cache.get(key) {
            return slice(&object, range.as_ref(), key);
        }
        let object = match self.find(key, range.clone()).await {
            Err(StorageError::NotFound(_)) if Box::pin(self.restore(key)).await? => {
                tracing::warn!(object = %key, "restored an object from the trash: it was requested");
                Box::pin(self.find(key, range.clone())).await?
            }
            result => result?,
        };
        self.remove_lost(key);
        match object {
            BackendObject::Whole(bytes) => {
                // One read can be wrong; bytes in memory would remain so.
                if Sha256::of(&bytes) == *key.digest() {
                    self.0.cache.insert(*key, bytes.clone());
                }
                slice(&bytes, range.as_ref(), key)
            }
            BackendObject::Part(blob) => Ok(blob),
        }
    }

    async fn find(&self, key: &Key, range: Option<Range<u64>>) -> Result<BackendObject, StorageError> {
        let key = *key;
        match self.backend(key.class()) {
            Backend::Disk(disk) => {
                let result = blocking(disk, move |disk| disk.get(&key, range.as_ref())).await;
                // If the class was unmounted, the comparison reports the class instead of each of its objects.
                if let Err(StorageError::NotFound(_)) = &result
                    && Box::pin(self.is_replaced(key.class())).await
                {
                    Box::pin(self.compare_again()).await;
                }
                result
            }
            Backend::S3(s3) => Box::pin(s3.get(&key, range)).await,
        }
    }

    /// Reads a whole object, which must be known to be small.
    pub async fn read(&self, key: &Key) -> Result<Bytes, StorageError> {
        match self.get(key, None).await?.content {
            Content::Memory(bytes) => Ok(bytes),
            Content::Stream(mut stream) => {
                let mut object = bytes::BytesMut::new();
                while let Some(chunk) = stream.next().await {
                    object.extend_from_slice(&chunk?);
                }
                Ok(object.freeze())
            }
        }
    }

    /// Reads an object from its location, not from memory, and returns its digest.
    pub async fn digest(&self, key: &Key) -> Result<ObjectDigest, StorageError> {
        self.0.cache.remove(key);
        self.get(key, None).await?.content.digest(|_| Ok(())).await
    }

    /// Returns the size of an object in bytes; `None` if it does not exist. Queries the backend, never the cache.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>, StorageError> {
        let key = *key;
        match self.backend(key.class()) {
            Backend::Disk(disk) => {
                let size = blocking(disk, move |disk| disk.size(&key)).await?;
                if size.is_none() && self.is_replaced(key.class()).await {
                    // Without waiting: comparisons also query sizes.
                    self.0.comparison_request.notify_one();
                }
                Ok(size)
            }
            Backend::S3(s3) => s3.size(&key).await,
        }
    }

    /// Deletes an object; a missing one is not an error.
    pub async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        self.delete_from(Area::Live, key).await
    }

    /// Deletes spools whose writer has ended and returns their number; spools being written stay.
    pub async fn remove_abandoned_spools(&self) -> Result<usize, StorageError> {
        let mut removed_count = 0;
        for backend in &self.0.backends {
            removed_count += match backend {
                Backend::Disk(disk) => blocking(disk, |disk| disk.remove_abandoned_spools()).await?,
                Backend::S3(s3) => blocking(s3, |s3| s3.remove_abandoned_spools()).await?,
            };
        }
        Ok(removed_count)
    }

    /// Returns the classes on each file system that is over [`space::FULL_PERCENT`] percent full, as of the last check
    /// of [`space::watch`].
    pub fn full_file_systems(&self) -> Vec<Vec<StorageClass>> {
        let mut full = BTreeMap::<u64, Vec<StorageClass>>::new();
        for directory in self.0.directories.lock().iter().filter(|directory| directory.is_full()) {
            full.entry(directory.device).or_default().extend(&directory.classes);
        }
        full.into_values().collect()
    }

    /// Returns the directories of storage classes on disk, as they were at the last check; empty before the first one.
    pub fn directories(&self) -> Vec<DirectorySpace> {
        self.0.directories.lock().clone()
    }

    /// Invalidates cached data after an object was written.
    fn invalidate(&self, key: &Key) {
        self.0.cache.remove(key);
        self.0.condition.lock().record_stored(key);
    }

    fn backend(&self, class: StorageClass) -> &Backend {
        &self.0.backends[class as usize]
    }
}

/// Opens one location and probes it. The second value describes a location without space.
async fn open(
    location: &ClassLocation,
    classes: &[StorageClass],
    config: &StorageConfig,
) -> Result<(Backend, Option<UnusableLocation>), UnusableLocation> {
    match location {
        ClassLocation::File(location) => {
            let (location, classes) = (location.clone(), classes.to_vec());
            let task = tokio::task::spawn_blocking(move || {
                let (disk, full) = probe::open(&location, &classes)?;
                Ok((Backend::Disk(Arc::new(disk)), full))
            });
            task.await.expect("opening a directory does not panic")
        }
        ClassLocation::S3(location) => {
            let unusable = |e: &StorageError| probe::unusable_s3(location, classes, "", e);
            let s3 = Arc::new(S3::open(location, &config.spool_dir).await.map_err(|e| unusable(&e))?);
            s3.prepare().map_err(|e| probe::unusable_spools(&config.spool_dir, classes, &e))?;
            probe::s3(location, classes, &s3).await?;
            Ok((Backend::S3(s3), None))
        }
    }
}

/// Probes one location without creating directories.
async fn probe_location(
    location: &ClassLocation,
    classes: &[StorageClass],
    config: &StorageConfig,
) -> Result<(), UnusableLocation> {
    match location {
        ClassLocation::File(location) => {
            let (location, classes) = (location.clone(), classes.to_vec());
            let task = tokio::task::spawn_blocking(move || probe::disk(&location, &classes));
            task.await.expect("probing a directory does not panic")
        }
        ClassLocation::S3(location) => {
            let s3 = S3::open(location, &config.spool_dir).await;
            let s3 = s3.map_err(|e| probe::unusable_s3(location, classes, "", &e))?;
            probe::s3(location, classes, &Arc::new(s3)).await
        }
    }
}

/// Returns a part of an object in memory, without copying it.
fn slice(object: &Bytes, range: Option<&Range<u64>>, key: &Key) -> Result<OpenObject, StorageError> {
    let size = object.len() as u64;
    let Range { start, end } = clamp_range(range, size, key)?;
    let index = |offset: u64| usize::try_from(offset).expect("within the bytes in memory");
    Ok(OpenObject { size, content: Content::Memory(object.slice(index(start)..index(end))) })
}

/// Returns the range to read of an object of `size` bytes.
fn clamp_range(range: Option<&Range<u64>>, size: u64, key: &Key) -> Result<Range<u64>, StorageError> {
    match range {
        None => Ok(0..size),
        Some(range) if range.start < range.end && range.start < size => Ok(range.start..range.end.min(size)),
        Some(range) if range.start == range.end && range.start <= size => Ok(range.clone()),
        Some(range) => Err(StorageError::Range { object: key.to_string(), range: range.clone(), size }),
    }
}

/// Runs blocking work of a backend outside of the async threads. It finishes even if the caller is dropped.
async fn blocking<B, T, F>(backend: &Arc<B>, work: F) -> Result<T, StorageError>
where
    B: Send + Sync + 'static,
    T: Send + 'static,
    F: FnOnce(&B) -> Result<T, StorageError> + Send + 'static,
{
    let backend = Arc::clone(backend);
    let result = tokio::task::spawn_blocking(move || work(&backend)).await;
    result.unwrap_or_else(|e| Err(StorageError::Other(format!("a storage task ended early: {e}"))))
}

/// Installs *ring* as the process-wide rustls provider; calling it again does nothing. Without a provider, reqwest and
/// object_store panic on their first client, even for plain `http://`. Not only the daemon calls it at start, but every module
/// that creates a TLS client, for tests and tools.
pub fn install_tls_provider() {
    // An error only means that a provider is already installed: this one, or that of a test.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The bytes of an object, in memory or as a stream.
pub enum Content {
    /// The bytes of a small object, from the memory cache or read whole.
    Memory(Bytes),
    /// A stream of chunks, read on demand. Ends with an error unless exactly the requested bytes were read.
    Stream(BoxStream<'static, Result<Bytes, StorageError>>),
}

/// The digest and the size of the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectDigest {
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

impl Content {
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, StorageError>> {
        match self {
            Content::Memory(bytes) => stream::iter([Ok(bytes)]).boxed(),
            Content::Stream(stream) => stream,
        }
    }

    /// Reads all bytes, passes them to `inspect`, and returns their digest.
    pub async fn digest<E: From<StorageError>>(
        self,
        mut inspect: impl FnMut(&Bytes) -> Result<(), E>,
    ) -> Result<ObjectDigest, E> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut stream = self.into_stream();
        while let Some(chunk) = stream.try_next().await? {
            hasher.update(&chunk);
            size += chunk.len() as u64;
            inspect(&chunk)?;
        }
        Ok(ObjectDigest { sha256: Sha256(hasher.finalize().into()), size })
    }
}

/// Blocking variants for callers outside of the async threads: two thread switches take longer than writing a small file.
impl Storage {
    /// Like [`Storage::spool`], but without waiting for a comparison: call [`Storage::may_store`] first. Blocks.
    pub fn spool_blocking(&self, class: StorageClass) -> Result<Spool, StorageError> {
        self.may_store_now(class)?;
        match self.backend(class) {
            Backend::Disk(disk) => self.request_comparison_if_refused(disk.spool(class)),
            Backend::S3(s3) => s3.spool(class),
        }
    }

    /// Returns whether objects of a class are files of this machine.
    pub fn is_on_disk(&self, class: StorageClass) -> bool {
        matches!(self.backend(class), Backend::Disk(_))
    }

    /// Like [`Storage::replace`], for objects [on a disk](Storage::is_on_disk). Blocks.
    pub fn replace_blocking(&self, spool: Spool, key: &Key) -> Result<(), StorageError> {
        spool.check_class(key)?;
        self.may_store_now(key.class())?;
        self.request_comparison_if_refused(self.disk(key)?.commit(spool, key, IfExists::Replace))?;
        self.invalidate(key);
        Ok(())
    }

    /// Like [`Storage::put`], for objects [on a disk](Storage::is_on_disk). Blocks.
    pub fn put_blocking(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        self.may_store_now(key.class())?;
        self.request_comparison_if_refused(self.disk(key)?.put(key, bytes))?;
        self.invalidate(key);
        Ok(())
    }

    fn disk(&self, key: &Key) -> Result<&Disk, StorageError> {
        match self.backend(key.class()) {
            Backend::Disk(disk) => Ok(disk),
            Backend::S3(_) => Err(StorageError::Other(format!("{key} is not on a disk"))),
        }
    }
}

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
