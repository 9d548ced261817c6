//! Serves package files directly from a bundle in a local directory, without a second copy, after verifying their
//! digest.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use sha2::Digest;

use super::file::{FileBody, Located, OpenFile};
use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::storage::hot::{Hot, LARGEST};
use crate::storage::{Content, StorageError};
use crate::upstream::mirror::Lent;
use crate::upstream::{Mirror, UpstreamError};

/// Entries of [`Compared::files`], about 100 bytes each.
const FILES: usize = 200_000;
/// Read size while a file is hashed, in bytes.
const PIECE: usize = 1 << 20;
/// How long a file whose bytes are in memory is served without checking the file again: for popular files the check
/// takes longer than the answer.
const FRESH: Duration = Duration::from_millis(100);

/// Verified files of bundles.
pub(super) struct Compared {
    /// Digests of files, valid while the file keeps its identity.
    files: quick_cache::sync::Cache<Identity, Sha256>,
    /// Small files that were requested repeatedly, by digest.
    small: Hot<Sha256, Kept>,
}

impl Default for Compared {
    fn default() -> Compared {
        Compared { files: quick_cache::sync::Cache::new(FILES), small: Hot::default() }
    }
}

/// The identity of a file: replacing it or writing to it changes one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The bytes of a verified file.
#[derive(Clone)]
struct Kept {
    bytes: Bytes,
    identity: Identity,
    /// When its identity was last checked.
    seen: Instant,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Repo {
    /// Opens a file of a bundle; `None` when packages do not come from a bundle in a directory.
    ///
    /// # Errors
    /// [`RepoError::NotFound`] when the bundle lacks it, [`RepoError::Damaged`] when it has another digest.
    pub(super) async fn open_in_place(
        &self,
        located: &Located,
        range: Option<&Range<u64>>,
    ) -> Result<Option<OpenFile>, RepoError> {
        let Some((mirror, product)) = self.bundle_of(located) else { return Ok(None) };
        let Some(digest) = located.sha256 else { return Ok(None) };
        let cached = self.compared.small.get(&digest);
        if let Some(cached) = cached.as_ref().filter(|cached| cached.seen.elapsed() < FRESH) {
            return part(located, &cached.bytes, range).map(Some);
        }
        let Some(path) = mirror.object(&product, digest, &located.name) else { return Ok(None) };
        let opened = self.lend(located, &mirror, &path).await?;
        let identity = Identity::of(&opened.metadata);
        if let Some(cached) = cached.filter(|cached| cached.identity == identity) {
            let open = part(located, &cached.bytes, range);
            self.compared.small.keep(digest, Kept { seen: Instant::now(), ..cached });
            return open.map(Some);
        }
        if identity.size <= LARGEST {
            let bytes = self.small(located, digest, identity, opened).await?;
            return part(located, &bytes, range).map(Some);
        }
        let compared = self.compared.files.get_or_insert_async(&identity, read_through(&opened)).await?;
        is_what_it_should_be(located, digest, compared, &opened.path)?;
        let wanted = within(located, range, identity.size)?;
        let content = blocking(move || crate::storage::content(opened.file, &opened.path, wanted)).await?;
        let body = match content {
            Content::Memory(bytes) => FileBody::Memory(bytes),
            Content::Stream(stream) => FileBody::Stream(stream.map_err(RepoError::from).boxed()),
        };
        Ok(Some(OpenFile { size: Some(identity.size), range: range.cloned(), body }))
    }

    async fn lend(&self, located: &Located, mirror: &Mirror, path: &str) -> Result<Lent, RepoError> {
        match mirror.lend(path).await {
            Ok(opened) => Ok(opened),
            Err(UpstreamError::Missing(file)) => {
                let what = format!("{} is not in the bundle that packages are served from", located.name);
                tracing::warn!(
                    %file,
                    "{what}; copy the whole bundle, or see what it lacks with rspm-offline-downloader validate --packages"
                );
                Err(RepoError::NotFound(what))
            }
            Err(source) => Err(RepoError::Upstream { source, retry_after: 60 }),
        }
    }

    /// Reads a small file. It is kept in memory when it is requested again.
    async fn small(
        &self,
        located: &Located,
        digest: Sha256,
        identity: Identity,
        opened: Lent,
    ) -> Result<Bytes, RepoError> {
        let known = self.compared.files.get(&identity);
        if let Some(known) = known {
            is_what_it_should_be(located, digest, known, &opened.path)?;
        }
        let (size, path) = (identity.size, opened.path.clone());
        let (bytes, found, after) = blocking(move || {
            let bytes = crate::storage::whole(&opened.file, &opened.path, &(0..size))?;
            let found = known.unwrap_or_else(|| Sha256(sha2::Sha256::digest(&bytes).into()));
            let after = opened.file.metadata().map_err(|e| StorageError::io("read", &opened.path, e))?;
            Ok((bytes, found, Identity::of(&after)))
        })
        .await?;
        // If the file changed while it was read, the next request verifies it again.
        if after == identity {
            self.compared.files.insert(identity.clone(), found);
        }
        is_what_it_should_be(located, digest, found, &path)?;
        if known.is_some() && after == identity {
            let cached = Kept { bytes: bytes.clone(), identity, seen: Instant::now() };
            self.compared.small.keep(digest, cached);
        }
        Ok(bytes)
    }
}

fn is_what_it_should_be(
    located: &Located,
    digest: Sha256,
    found: Sha256,
    path: &Path,
) -> Result<(), RepoError> {
    if found == digest {
        return Ok(());
    }
    let why = format!("{} has the SHA-256 {found}", path.display());
    Err(RepoError::Damaged { file: located.name.clone(), why })
}

fn within(located: &Located, range: Option<&Range<u64>>, size: u64) -> Result<Range<u64>, RepoError> {
    let range = range.cloned().unwrap_or(0..size);
    if range.end <= size && range.start <= range.end {
        return Ok(range);
    }
    Err(RepoError::Storage(StorageError::Range { object: located.name.clone(), range, size }))
}

/// Opens a range of a file whose bytes are in memory.
fn part(located: &Located, bytes: &Bytes, range: Option<&Range<u64>>) -> Result<OpenFile, RepoError> {
    let size = bytes.len() as u64;
    let Range { start, end } = within(located, range, size)?;
    let index = |at: u64| usize::try_from(at).expect("within the bytes in memory");
    let body = FileBody::Memory(bytes.slice(index(start)..index(end)));
    Ok(OpenFile { size: Some(size), range: range.cloned(), body })
}

/// Hashes a file.
async fn read_through(opened: &Lent) -> Result<Sha256, RepoError> {
    let (file, path) = (opened.file.try_clone(), opened.path.clone());
    blocking(move || {
        let file = file.map_err(|e| StorageError::io("read", &path, e))?;
        digest_of(&file, &path)
    })
    .await
}

fn digest_of(file: &File, path: &Path) -> Result<Sha256, StorageError> {
    let (mut hasher, mut buffer, mut at) = (sha2::Sha256::new(), vec![0; PIECE], 0);
    loop {
        match file.read_at(&mut buffer, at).map_err(|e| StorageError::io("read", path, e))? {
            0 => return Ok(Sha256(hasher.finalize().into())),
            read => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, RepoError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| Err(StorageError::Other(error.to_string())))?)
}
