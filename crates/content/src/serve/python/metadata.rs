//! The metadata of a release: METADATA of a wheel, otherwise PKG-INFO of a source distribution, fetched if necessary.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use quick_cache::Weighter;

use crate::serve::files::file;
use crate::serve::files::located::{FileBody, LocatedFile};
use crate::serve::project::detail::ProjectRelease;
use crate::serve::project::file::{RequestBudget, locate};
use crate::serve::{RepoError, Repositories, error};
use base::model::digest::Sha256;
use base::model::point::Point;
use base::model::project_path::FilePart;
use formats::python::archive::{PackageError, SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use formats::python::curated::candidates::Unreadable;
use formats::python::facts::FileFacts;
use formats::python::file_name::{FileKind, FileName};
use formats::python::metadata::{BadMetadata, MAX_METADATA, Metadata};
use store::db::project_file::ListedFile;
use upstream::UpstreamError;

/// Maximum size of an archive whose METADATA or PKG-INFO is read, in bytes.
const MAX_ARCHIVE: u64 = 32 << 20;

/// Metadata by the digest of the distribution, which is read once.
pub(in crate::serve) type Cache = quick_cache::sync::Cache<Sha256, Arc<Metadata>, MetadataWeighter>;

const CACHE_ENTRIES: usize = 1000;
const CACHE_BYTES: u64 = 8 << 20;
/// Size of an entry without the metadata, in bytes.
const ENTRY_BYTES: usize = 512;

#[derive(Clone)]
pub(in crate::serve) struct MetadataWeighter;

impl Weighter<Sha256, Arc<Metadata>> for MetadataWeighter {
    fn weight(&self, _: &Sha256, metadata: &Arc<Metadata>) -> u64 {
        (ENTRY_BYTES + metadata.memory_size()) as u64
    }
}

/// The metadata of a release, and the kind of the file that it describes.
#[derive(Clone, Debug)]
pub(super) struct ReleaseMetadata {
    pub(super) metadata: Arc<Metadata>,
    /// A wheel, or a source distribution, whose metadata may differ from that of the wheels that are built from it.
    pub(super) kind: FileKind,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error(transparent)]
    Metadata(#[from] BadMetadata),
    #[error(transparent)]
    Archive(#[from] PackageError),
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("the server is stopping")]
    Shutdown,
    #[error(
        "it is not in storage, and the response has already made the maximum number of requests to the index"
    )]
    Budget,
}

pub(in crate::serve) fn cache() -> Cache {
    Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, MetadataWeighter)
}

/// Returns the metadata of a release at a point; `None` if no file has any, or if it cannot be read, which is logged.
pub async fn of_release(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
) -> Option<Arc<Metadata>> {
    of_release_within(repositories, point, release, None).await
}

/// Like [`of_release`]; with a budget, a file that is not in storage is fetched only while the budget lasts.
pub async fn of_release_within(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
    budget: Option<&RequestBudget>,
) -> Option<Arc<Metadata>> {
    for (file, name) in metadata_files(release) {
        if let Some(metadata) = repositories.python.metadata.get(&file.sha256) {
            return Some(metadata);
        }
        let part = if name.kind() == FileKind::Wheel { FilePart::Metadata } else { FilePart::Distribution };
        match read(repositories, point, file, &name, part, budget).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                repositories.python.metadata.insert(file.sha256, Arc::clone(&metadata));
                return Some(metadata);
            }
            // A wheel without METADATA of its own.
            Err(ReadError::Repo(RepoError::NotFound(_))) => {}
            Err(ReadError::Budget) => return None,
            Err(error) => {
                tracing::info!(file = %file.name, %error, "could not read the metadata of a Python package");
                return None;
            }
        }
    }
    None
}

/// Returns the files that describe the release: a wheel, and a source distribution if the wheel has no METADATA.
fn metadata_files(release: &ProjectRelease) -> impl Iterator<Item = (&ListedFile, FileName)> {
    let files = || release.files.iter().filter_map(|file| Some((file, FileName::parse(&file.name).ok()?)));
    let is_small = |file: &ListedFile| u64::try_from(file.size).is_ok_and(|size| size <= MAX_ARCHIVE);
    let wheel = files()
        .find(|(file, name)| name.kind() == FileKind::Wheel && has_metadata(file))
        .or_else(|| files().find(|(_, name)| name.kind() == FileKind::Wheel));
    let sdist = files().find(|(file, name)| name.kind() == FileKind::Sdist && is_small(file));
    wheel.into_iter().chain(sdist)
}

/// Reads the metadata of a release whatever it costs: if the index has no METADATA, the smallest wheel is
/// read, and if that fails a source distribution. Fails with the reason of the last attempt.
pub(super) async fn of_any_file(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
) -> Result<ReleaseMetadata, Unreadable> {
    let mut last_error =
        Unreadable { reason: "it has no wheel and no source distribution".to_owned(), is_temporary: false };
    for (file, name, part) in all_metadata_files(release) {
        let kind = name.kind();
        if let Some(metadata) = repositories.python.metadata.get(&file.sha256) {
            return Ok(ReleaseMetadata { metadata, kind });
        }
        match read(repositories, point, file, &name, part, None).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                repositories.python.metadata.insert(file.sha256, Arc::clone(&metadata));
                return Ok(ReleaseMetadata { metadata, kind });
            }
            Err(error) => {
                let is_temporary = error.is_temporary();
                last_error = Unreadable { reason: format!("{}: {error}", file.name), is_temporary };
                if is_temporary {
                    break;
                }
            }
        }
    }
    Err(last_error)
}

fn all_metadata_files(release: &ProjectRelease) -> Vec<(&ListedFile, FileName, FilePart)> {
    let named = release.files.iter().filter_map(|file| Some((file, FileName::parse(&file.name).ok()?)));
    let mut files: Vec<(&ListedFile, FileName)> = named.collect();
    // The index does not state the size of all files.
    files.sort_by(|(a, _), (b, _)| (a.size < 0, a.size, &a.name).cmp(&(b.size < 0, b.size, &b.name)));
    let of_kind = |kind: FileKind| files.iter().filter(move |(_, name)| name.kind() == kind);
    let declared = of_kind(FileKind::Wheel).find(|(file, _)| has_metadata(file));
    let wheel = declared.or_else(|| of_kind(FileKind::Wheel).next());
    let metadata = wheel.map(|(file, name)| (*file, name.clone(), FilePart::Metadata));
    let archives = [of_kind(FileKind::Wheel).next(), of_kind(FileKind::Sdist).next()].into_iter().flatten();
    let archives = archives.map(|(file, name)| (*file, name.clone(), FilePart::Distribution));
    metadata.into_iter().chain(archives).collect()
}

fn has_metadata(file: &ListedFile) -> bool {
    file.metadata.is_some() || FileFacts::read(&file.facts).metadata().is_some()
}

impl ReadError {
    fn is_temporary(&self) -> bool {
        match self {
            ReadError::Repo(RepoError::NotFound(_) | RepoError::Damaged { .. }) => false,
            ReadError::Repo(RepoError::Upstream { source, .. }) => {
                matches!(source, UpstreamError::Unavailable { .. })
            }
            ReadError::Repo(_) | ReadError::Shutdown | ReadError::Budget => true,
            ReadError::Metadata(_) | ReadError::Archive(_) | ReadError::TooLarge(_) => false,
        }
    }
}

async fn read(
    repositories: &Repositories,
    point: &Point,
    file: &ListedFile,
    name: &FileName,
    part: FilePart,
    budget: Option<&RequestBudget>,
) -> Result<Metadata, ReadError> {
    let located = locate(repositories, point, file.sha256, name.as_str(), part).await?;
    if located.key().is_none() && budget.is_some_and(|budget| !budget.take()) {
        return Err(ReadError::Budget);
    }
    if part == FilePart::Metadata {
        let bytes = read_file(repositories, &located, MAX_METADATA).await?;
        return Ok(Metadata::parse(&bytes)?);
    }
    if located.size.is_some_and(|size| size > MAX_ARCHIVE) {
        return Err(ReadError::TooLarge(MAX_ARCHIVE));
    }
    // One archive at a time: decompression is CPU-bound, and the archive is in memory.
    let _guard = repositories.python.sdist_lock.lock().await;
    let bytes = read_file(repositories, &located, MAX_ARCHIVE).await?;
    let name = name.clone();
    let work = move || {
        let mut bytes = Cursor::new(bytes);
        match name.kind() {
            FileKind::Wheel => wheel::read_metadata(&mut bytes, name.as_str(), WHEEL_LIMITS),
            _ => sdist::read_metadata(&mut bytes, &name, SDIST_LIMITS),
        }
    };
    let (metadata, _) = error::run_blocking(work).await.map_err(|_| ReadError::Shutdown)??;
    Ok(metadata)
}

pub(super) async fn read_file(
    repositories: &Repositories,
    located: &LocatedFile,
    limit: u64,
) -> Result<Bytes, ReadError> {
    match file::open(repositories, located, None).await?.body {
        FileBody::Memory(bytes) if bytes.len() as u64 <= limit => Ok(bytes),
        FileBody::Memory(_) => Err(ReadError::TooLarge(limit)),
        FileBody::Stream(mut pieces) => {
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                if (bytes.len() + piece.len()) as u64 > limit {
                    return Err(ReadError::TooLarge(limit));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_has_its_size_whatever_fields_are_long() {
        let cache = cache();
        for number in 0..200u8 {
            let text = format!(
                "Metadata-Version: 2.4\nName: odd\nVersion: 1.{number}\nKeywords: {}\n",
                "a".repeat(100_000)
            );
            let metadata = Metadata::parse(text.as_bytes()).expect("metadata");
            cache.insert(Sha256([number; 32]), Arc::new(metadata));
        }
        let held: usize = (0..200u8)
            .filter_map(|number| cache.get(&Sha256([number; 32])))
            .map(|metadata| metadata.keywords.as_ref().map_or(0, String::len))
            .sum();
        assert!(held > 0 && held as u64 <= CACHE_BYTES, "{held}");
    }
}
