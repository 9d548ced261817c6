//! Reads DESCRIPTION and README from stored archives of mirrors, when the details of a package are requested.
//! Each change increases `state.detail_updates`, and cached data of a point is read again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::serve::{Repositories, error};
use base::model::digest::Sha256;
use base::model::ids::ReleaseId;
use formats::r::archive::{self, ArchiveError, ArchiveLimits};
use store::db::detail::{self, ReleaseDescription};
use store::db::{DbError, blob};
use store::storage::{Key, StorageError};

/// Maximum size of an archive that is read, in bytes; limited because the client waits for the result.
const MAX_ARCHIVE_BYTES: u64 = 32 << 20;
/// Maximum decompressed size, in bytes.
const MAX_INFLATED_BYTES: u64 = 512 << 20;

/// Releases whose archive was read since the start; they are not read again.
pub(in crate::serve) type Cache = quick_cache::sync::Cache<ReleaseId, ()>;

pub(in crate::serve) const CACHE_ENTRIES: usize = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct UnreadArchive {
    pub(in crate::serve) release: ReleaseId,
    pub(in crate::serve) key: Key,
    pub(in crate::serve) size: u64,
}

struct ArchiveDetails {
    description: Vec<u8>,
    system_requirements: Option<String>,
    readme: Option<(Sha256, Bytes)>,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum DetailsError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads an archive, once; returns true if details were stored. Errors are only logged: a response without a
/// README is better than none. If storage could not be read, the next request does it again.
pub(in crate::serve) async fn read_once(repositories: &Arc<Repositories>, archive: UnreadArchive) -> bool {
    if archive.size > MAX_ARCHIVE_BYTES || repositories.files.read_archives.get(&archive.release).is_some() {
        return false;
    }
    // In a separate task: a client that disconnects must not cancel it between its steps.
    let repositories = Arc::clone(repositories);
    let task = tokio::spawn(async move { read_locked(&repositories, archive).await });
    task.await.unwrap_or(false)
}

async fn read_locked(repositories: &Repositories, archive: UnreadArchive) -> bool {
    // One archive at a time: decompression is CPU-bound.
    let _guard = repositories.files.archive_lock.lock().await;
    if repositories.files.read_archives.get(&archive.release).is_some() {
        return false;
    }
    let result = store(repositories, archive).await;
    if matches!(result, Ok(()) | Err(DetailsError::Archive(_))) {
        repositories.files.read_archives.insert(archive.release, ());
    }
    result
        .inspect_err(|error| {
            tracing::info!(release = %archive.release, %error, "could not read the details of a package from its archive");
        })
        .is_ok()
}

async fn store(repositories: &Repositories, archive: UnreadArchive) -> Result<(), DetailsError> {
    let state = &repositories.state;
    let ArchiveDetails { description, system_requirements, readme } =
        read_stored(repositories, &archive.key).await?;
    // Prevents the sweep from removing the README's blob before its row is written.
    let _blob_guard = repositories.fetches.blob_lock.read().await;
    let blob_row = match readme {
        None => None,
        Some((sha256, text)) => {
            let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
            let key = Key::Readme(sha256);
            state.storage.put(&key, text).await?;
            let class = key.directory().to_owned();
            Some(blob::Blob { sha256, class, size, created_at: (state.clock)() })
        }
    };
    let row = ReleaseDescription { release: archive.release, description, system_requirements };
    state
        .db
        .write(move |c| {
            if let Some(blob_row) = &blob_row {
                blob::insert(c, blob_row)?;
            }
            detail::put_from_archive(c, &row, blob_row.as_ref().map(|blob| blob.sha256))
        })
        .await?;
    // Increased also for a package without requirements, because the graph has listed its requirements as unknown.
    state.detail_updates.fetch_add(1, Ordering::Release);
    Ok(())
}

pub(in crate::serve) async fn readme(
    repositories: &Repositories,
    key: &Key,
) -> Result<Option<(Sha256, Bytes)>, DetailsError> {
    Ok(read_stored(repositories, key).await?.readme)
}

/// Reads name and version from the DESCRIPTION of a stored archive; `None` if it is too large.
pub(in crate::serve) async fn name_and_version(
    repositories: &Repositories,
    key: &Key,
) -> Result<Option<Result<(String, String), ArchiveError>>, StorageError> {
    if repositories.state.storage.size(key).await?.is_none_or(|size| size > MAX_ARCHIVE_BYTES) {
        return Ok(None);
    }
    let bytes = repositories.state.storage.read(key).await?;
    let limits = ArchiveLimits { inflated: MAX_INFLATED_BYTES, ..ArchiveLimits::default() };
    let result = error::run_blocking(move || archive::read_identity(&bytes[..], None, limits)).await?;
    Ok(Some(result.map(|identity| (identity.name, identity.version))))
}

async fn read_stored(repositories: &Repositories, key: &Key) -> Result<ArchiveDetails, DetailsError> {
    // An archive that cannot be read is not read again, so its bytes must be right.
    let bytes = repositories.fetches.integrity.read_verified(key).await?;
    let bytes = bytes.ok_or_else(|| StorageError::NotFound(key.path()))?;
    Ok(error::run_blocking(move || read(&bytes)).await??)
}

fn read(bytes: &Bytes) -> Result<ArchiveDetails, ArchiveError> {
    let limits = ArchiveLimits { inflated: MAX_INFLATED_BYTES, ..ArchiveLimits::default() };
    let contents = archive::read(&bytes[..], None, limits)?;
    let readme = contents.readme.map(|(_, text)| (Sha256::of(&text), Bytes::from(text)));
    let system_requirements = contents.description.non_empty("SystemRequirements").map(str::to_owned);
    Ok(ArchiveDetails { description: contents.description_raw, system_requirements, readme })
}
