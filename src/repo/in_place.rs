//! Package files that a bundle in a directory has: served from where they lie, without a second copy, once their bytes were
//! compared with their digest.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt};
use sha2::Digest;

use super::file::{FileBody, Located, OpenFile};
use super::{Repo, RepoError};
use crate::bundle::Product;
use crate::catalog::Tree;
use crate::model::digest::Sha256;
use crate::storage::{Content, StorageError};
use crate::upstream::mirror::Lent;
use crate::upstream::{Mirror, UpstreamError};

/// Files whose bytes are what their names say, as long as they are these files.
pub(super) type Cache = quick_cache::sync::Cache<Identity, Sha256>;

/// Entries of the [`Cache`], of about a hundred bytes.
pub(super) const CACHED: usize = 200_000;

/// Who replaces a file, or writes into it, changes one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One read while a file is compared, in bytes.
const PIECE: usize = 1 << 20;

impl Repo {
    /// Opens a file where a bundle has it; `None` where no bundle in a directory is what packages come from.
    ///
    /// # Errors
    /// [`RepoError::NotFound`] when the bundle lacks it, [`RepoError::Damaged`] when it is not what it should be.
    pub(super) async fn open_in_place(
        &self,
        located: &Located,
        range: Option<&Range<u64>>,
    ) -> Result<Option<OpenFile>, RepoError> {
        let Some(digest) = located.sha256.filter(|_| !located.stored) else { return Ok(None) };
        let Some((mirror, path)) = self.in_bundle(located, digest)? else { return Ok(None) };
        let lent = match mirror.lend(&path).await {
            Ok(lent) => lent,
            Err(UpstreamError::Missing(file)) => {
                let what = format!("{} is not in the bundle that packages are served from", located.name);
                tracing::warn!(
                    %file,
                    "{what}; copy the whole bundle, or see what it lacks with rspm-offline-downloader validate --packages"
                );
                return Err(RepoError::NotFound(what));
            }
            Err(source) => return Err(RepoError::Upstream { source, retry_after: 60 }),
        };
        let lent = self.compared(located, digest, lent).await?;
        let size = lent.metadata.len();
        let wanted = range.cloned().unwrap_or(0..size);
        if wanted.end > size || wanted.start > wanted.end {
            return Err(RepoError::Storage(StorageError::Range {
                object: located.name.clone(),
                range: wanted,
                size,
            }));
        }
        let content = blocking(move || crate::storage::content(lent.file, &lent.path, wanted)).await?;
        let body = match content {
            Content::Memory(bytes) => FileBody::Memory(bytes),
            Content::Stream(stream) => FileBody::Stream(stream.map_err(RepoError::from).boxed()),
        };
        Ok(Some(OpenFile { size: Some(size), range: range.cloned(), body }))
    }

    /// The bundle that has a file, and where it lies there.
    fn in_bundle(&self, located: &Located, digest: Sha256) -> Result<Option<(Mirror, String)>, RepoError> {
        let config = self.state.config.load();
        let part = self.state.catalog.get().tree(located.tree().tree).and_then(Tree::part);
        let (url, product) = match (&located.built, part) {
            (Some(platform), _) => (&config.cran.url, Product::Binaries(platform.to_string())),
            (None, Some(part)) => (&config.bioconductor.url, Product::Bioconductor(part.version.to_string())),
            (None, None) => (&config.cran.url, Product::Cran),
        };
        if !url.starts_with("file:") || !self.may_be_fetched(located) {
            return Ok(None);
        }
        let mirror = self.state.upstream.load().mirror(url);
        let mirror = mirror.map_err(|source| RepoError::Upstream { source, retry_after: 60 })?;
        let path = mirror.object(&product, digest, &located.name);
        Ok(path.map(|path| (mirror, path)))
    }

    /// Reads a file to its end unless that was done before.
    async fn compared(&self, located: &Located, digest: Sha256, lent: Lent) -> Result<Lent, RepoError> {
        let metadata = &lent.metadata;
        let identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let read = async {
            let (file, path) = (lent.file.try_clone(), lent.path.clone());
            blocking(move || {
                let file = file.map_err(|e| StorageError::io("read", &path, e))?;
                read_through(&file, &path)
            })
            .await
        };
        let found = self.lent.get_or_insert_async(&identity, read).await?;
        if found == digest {
            return Ok(lent);
        }
        let why = format!("{} has the SHA-256 {found}", lent.path.display());
        Err(RepoError::Damaged { file: located.name.clone(), why })
    }
}

fn read_through(file: &File, path: &Path) -> Result<Sha256, StorageError> {
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
    Ok(done.unwrap_or_else(|late| Err(StorageError::Other(late.to_string())))?)
}
