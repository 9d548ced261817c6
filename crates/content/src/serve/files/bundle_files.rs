//! Serves verified package files directly from a bundle in a local directory. Their READMEs are read on
//! request, because the archives are not stored.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::Digest;

use super::bundles;
use super::located::{FileBody, LocatedFile, OpenFile};
use crate::serve::{RepoError, Repositories, error};
use base::model::digest::Sha256;
use base::model::ids::TreeId;
use store::storage::memory_cache::{MAX_OBJECT_SIZE, MemoryCache};
use store::storage::{self, Reservation, StorageError};
use upstream::transport::dir::InPlaceFile;
use upstream::{Mirror, UpstreamError};

/// Maximum number of entries of [`VerifiedFiles::digests`], about 100 bytes each.
const DIGEST_ENTRIES: usize = 200_000;
const READ_BYTES: usize = 1 << 20;
/// Minimum interval between checks of a file in memory: for popular files the check takes longer than the response.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

pub(in crate::serve) struct VerifiedFiles {
    /// Digests of files, valid while the file keeps its identity.
    digests: quick_cache::sync::Cache<FileIdentity, Sha256>,
    /// Small files that were requested repeatedly, by digest.
    small_files: MemoryCache<Sha256, VerifiedBytes>,
}

impl Default for VerifiedFiles {
    fn default() -> VerifiedFiles {
        VerifiedFiles {
            digests: quick_cache::sync::Cache::new(DIGEST_ENTRIES),
            small_files: MemoryCache::default(),
        }
    }
}

/// The identity of a file: replacing it or writing to it changes one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modification_time: (i64, i64),
    change_time: (i64, i64),
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> FileIdentity {
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modification_time: (metadata.mtime(), metadata.mtime_nsec()),
            change_time: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Clone)]
struct VerifiedBytes {
    bytes: Bytes,
    identity: FileIdentity,
    /// Time of the last check of its identity.
    checked_at: Instant,
}

impl AsRef<[u8]> for VerifiedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Opens a bundle's file; `None` if packages come from no bundle directory. Fails for a missing or damaged file.
pub(in crate::serve) async fn open(
    repositories: &Repositories,
    located: &LocatedFile,
    range: Option<&Range<u64>>,
) -> Result<Option<OpenFile>, RepoError> {
    let Some(in_bundle) = bundles::of_file(repositories, located) else { return Ok(None) };
    let Some(digest) = located.sha256 else { return Ok(None) };
    let cached = repositories.files.verified.small_files.get(&digest);
    if let Some(cached) = cached.as_ref().filter(|cached| cached.checked_at.elapsed() < RECHECK_INTERVAL) {
        return open_range(located, &cached.bytes, range).map(Some);
    }
    let Some((mirror, path)) = in_bundle.path(repositories, digest, &located.name) else { return Ok(None) };
    let bundle_file = open_file(located, &mirror, &path).await?;
    let identity = FileIdentity::of(&bundle_file.metadata);
    if let Some(cached) = cached.filter(|cached| cached.identity == identity) {
        let open = open_range(located, &cached.bytes, range);
        repositories
            .files
            .verified
            .small_files
            .insert(digest, VerifiedBytes { checked_at: Instant::now(), ..cached });
        return open.map(Some);
    }
    if identity.size <= MAX_OBJECT_SIZE
        && let Some(reservation) = storage::reserve_memory(identity.size)
    {
        let bytes = read_small(repositories, located, digest, identity, bundle_file, reservation).await?;
        return open_range(located, &bytes, range).map(Some);
    }
    let actual_digest =
        repositories.files.verified.digests.get_or_insert_async(&identity, hash_file(&bundle_file)).await?;
    check_digest(located, digest, actual_digest, &bundle_file.path)?;
    let requested_range = checked_range(located, range, identity.size)?;
    let content =
        blocking(move || storage::content(bundle_file.file, &bundle_file.path, requested_range)).await?;
    Ok(Some(OpenFile { size: Some(identity.size), range: range.cloned(), body: content.into() }))
}

async fn open_file(located: &LocatedFile, mirror: &Mirror, path: &str) -> Result<InPlaceFile, RepoError> {
    match mirror.open_in_place(path).await {
        Ok(bundle_file) => Ok(bundle_file),
        Err(UpstreamError::Missing(file)) => {
            let message = format!("{} is not in the bundle from which packages are served", located.name);
            tracing::warn!(
                %file,
                "{message}; copy the whole bundle, or list its missing files with rspm-offline-downloader validate --packages"
            );
            Err(RepoError::NotFound(message))
        }
        Err(source) => Err(RepoError::Upstream { source, retry_after: 60 }),
    }
}

/// Reads a small file, and caches its bytes if its digest was verified before.
async fn read_small(
    repositories: &Repositories,
    located: &LocatedFile,
    digest: Sha256,
    identity: FileIdentity,
    bundle_file: InPlaceFile,
    reservation: Reservation,
) -> Result<Bytes, RepoError> {
    let known_digest = repositories.files.verified.digests.get(&identity);
    if let Some(known_digest) = known_digest {
        check_digest(located, digest, known_digest, &bundle_file.path)?;
    }
    let (size, path) = (identity.size, bundle_file.path.clone());
    let (bytes, actual_digest, identity_after) = blocking(move || {
        let bytes = storage::read_to_memory(&bundle_file.file, &bundle_file.path, &(0..size), reservation)?;
        let actual_digest = known_digest.unwrap_or_else(|| Sha256::of(&bytes));
        let metadata =
            bundle_file.file.metadata().map_err(|e| StorageError::io("read", &bundle_file.path, e))?;
        Ok((bytes, actual_digest, FileIdentity::of(&metadata)))
    })
    .await?;
    // If the file changed while it was read, the next request verifies it again.
    if identity_after == identity {
        repositories.files.verified.digests.insert(identity.clone(), actual_digest);
    }
    check_digest(located, digest, actual_digest, &path)?;
    if known_digest.is_some() && identity_after == identity {
        let verified = VerifiedBytes { bytes: bytes.clone(), identity, checked_at: Instant::now() };
        repositories.files.verified.small_files.insert(digest, verified);
    }
    Ok(bytes)
}

fn check_digest(
    located: &LocatedFile,
    digest: Sha256,
    actual_digest: Sha256,
    path: &Path,
) -> Result<(), RepoError> {
    if actual_digest == digest {
        return Ok(());
    }
    let reason = format!("{} has the SHA-256 {actual_digest}", path.display());
    Err(RepoError::Damaged { file: located.name.clone(), reason })
}

fn checked_range(
    located: &LocatedFile,
    range: Option<&Range<u64>>,
    size: u64,
) -> Result<Range<u64>, RepoError> {
    let range = range.cloned().unwrap_or(0..size);
    if range.end <= size && range.start <= range.end {
        return Ok(range);
    }
    Err(RepoError::Storage(StorageError::Range { object: located.name.clone(), range, size }))
}

fn open_range(
    located: &LocatedFile,
    bytes: &Bytes,
    range: Option<&Range<u64>>,
) -> Result<OpenFile, RepoError> {
    let size = bytes.len() as u64;
    let Range { start, end } = checked_range(located, range, size)?;
    let index = |offset: u64| usize::try_from(offset).expect("within the bytes in memory");
    let body = FileBody::Memory(bytes.slice(index(start)..index(end)));
    Ok(OpenFile { size: Some(size), range: range.cloned(), body })
}

async fn hash_file(bundle_file: &InPlaceFile) -> Result<Sha256, RepoError> {
    let (file, path) = (bundle_file.file.try_clone(), bundle_file.path.clone());
    blocking(move || {
        let file = file.map_err(|e| StorageError::io("read", &path, e))?;
        digest_of(&file, &path)
    })
    .await
}

fn digest_of(file: &File, path: &Path) -> Result<Sha256, StorageError> {
    let (mut hasher, mut buffer, mut offset) = (sha2::Sha256::new(), vec![0; READ_BYTES], 0);
    loop {
        match file.read_at(&mut buffer, offset).map_err(|e| StorageError::io("read", path, e))? {
            0 => return Ok(Sha256(hasher.finalize().into())),
            count => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, RepoError> {
    Ok(error::run_blocking(work).await??)
}

/// Maximum length of a README that is returned, in bytes.
pub(in crate::serve) const README_LIMIT: u64 = 1 << 20;

/// Cached READMEs, and the last error.
#[derive(Default)]
pub(in crate::serve) struct ReadmeCache {
    /// READMEs by the digest of the package file; an empty text for a package without a README.
    texts: MemoryCache<Sha256, Bytes>,
    last_error: Mutex<String>,
}

/// Returns the README of a package file in a bundle. Errors are only logged: a response without it is better than none.
pub(in crate::serve) async fn read(
    repositories: &Repositories,
    tree: TreeId,
    file: Sha256,
) -> Option<Vec<u8>> {
    let (mirror, product) = bundles::of_tree(repositories, tree, None)?;
    let cached_text = || repositories.files.readmes.texts.get(&file);
    let text = match cached_text() {
        Some(text) => text,
        None => {
            // One README at a time: decompression is CPU-bound.
            let _guard = repositories.files.archive_lock.lock().await;
            match cached_text() {
                Some(text) => text,
                None => {
                    let readme = mirror.readme(&product, file).await;
                    let readme = readme.map_err(|error| log_error(repositories, &error.to_string())).ok()?;
                    let text = readme.filter(|text| text.len() as u64 <= README_LIMIT);
                    // The allocation is exactly as large as the text.
                    let text = Bytes::from(text.unwrap_or_default().into_bytes().into_boxed_slice());
                    repositories.files.readmes.texts.insert(file, text.clone());
                    text
                }
            }
        }
    };
    (!text.is_empty()).then(|| text.to_vec())
}

/// Logs an error once, not for each package.
fn log_error(repositories: &Repositories, error: &str) {
    let mut last = repositories.files.readmes.last_error.lock();
    if *last != error {
        tracing::warn!(error, "could not read READMEs of the bundle; packages are listed without them");
        error.clone_into(&mut last);
    }
}
