//! Fetches one file from the mirror, verifies and inspects it, and stores it under its digest, which equal files share.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256 as Hasher};
use tokio::sync::Semaphore;

use super::buffer::{BUDGET, Budget, CompleteFile, FileBuffer};
use super::destination::{self, Destination};
use super::plan::PlannedFetch;
use super::workers::processors;
use base::model::digest::Sha256;
use formats::bundle::{Fields, Product, RecordObject};
use formats::r::archive::{self, ArchiveLimits, ReadExtent};
use formats::r::binary;
use formats::r::description::Description;
use formats::r::layout::PackageFile;
use formats::r::name::SourceFileName;
use formats::r::platform::Platform;
use upstream::{Mirror, UpstreamError};

/// The reason why a file could not be fetched.
#[derive(Debug)]
pub(super) enum DownloadFailure {
    /// The mirror failed: only this file is skipped.
    Mirror(UpstreamError),
    /// A file of the destination could not be written: the command ends.
    Destination(io::Error, PathBuf),
}

#[derive(Debug)]
pub(super) struct FetchedFile {
    pub(super) object: RecordObject,
    pub(super) contents: Contents,
}

pub(super) struct FileTarget<'a> {
    destination: &'a Destination,
    product: &'a Product,
    budget: Arc<Budget>,
    /// Limits concurrent inspections to twice the processors: more would need memory and not be faster.
    inspections: Arc<Semaphore>,
    /// The files that were fetched.
    claims: Claims,
}

impl<'a> FileTarget<'a> {
    pub(super) fn new(destination: &'a Destination, product: &'a Product) -> FileTarget<'a> {
        let inspections = Arc::new(Semaphore::new(2 * processors()));
        FileTarget {
            destination,
            product,
            budget: Budget::new(BUDGET),
            inspections,
            claims: Claims::default(),
        }
    }

    /// Fetches a file. If the file cannot be read as a package and has no checksum, fetches it a second time.
    pub(super) async fn fetch(
        &self,
        mirror: &Mirror,
        fetch: &PlannedFetch,
    ) -> Result<FetchedFile, DownloadFailure> {
        let first_copy = self.fetch_once(mirror, fetch).await?;
        if first_copy.contents.error.is_none() || fetch.file.is_verifiable() {
            return Ok(first_copy);
        }
        // The first copy may have been damaged in transit.
        let Ok(second_copy) = self.fetch_once(mirror, fetch).await else { return Ok(first_copy) };
        let RecordObject { sha256, ext, .. } = &first_copy.object;
        // Removes the first copy, unless the second copy or another package has the same bytes.
        let path = self.destination.path(&self.product.object_path(*sha256, ext));
        self.claims.release(&path).map_err(|e| DownloadFailure::Destination(e, path))?;
        Ok(second_copy)
    }

    /// Fetches a file from the first of its paths that has it.
    async fn fetch_once(
        &self,
        mirror: &Mirror,
        fetch: &PlannedFetch,
    ) -> Result<FetchedFile, DownloadFailure> {
        let file = &fetch.file;
        let mut last_error = None;
        for path in &file.paths {
            let mut buffer =
                FileBuffer::new(self.destination.path(&self.product.objects_dir()), self.budget.clone());
            match mirror.download(path, file.size, &mut buffer).await {
                Ok(_) => match self.process(buffer, fetch, path, mirror).await {
                    // The index may be older than the file at this path: the listed file may be at the next path.
                    Err(DownloadFailure::Mirror(error)) => last_error = Some(error),
                    result => return result,
                },
                Err(error) => match buffer.take_error() {
                    Some((error, dir)) => return Err(DownloadFailure::Destination(error, dir)),
                    None => {
                        let is_missing = matches!(error, UpstreamError::Missing(_));
                        let is_unavailable = matches!(error, UpstreamError::Unavailable { .. });
                        if last_error.is_none() || !is_missing {
                            last_error = Some(error);
                        }
                        if is_unavailable {
                            break;
                        }
                    }
                },
            }
        }
        let missing_error = || UpstreamError::Missing(file.paths.join(" or "));
        Err(DownloadFailure::Mirror(last_error.unwrap_or_else(missing_error)))
    }

    /// As [`process_blocking`], on another thread.
    async fn process(
        &self,
        buffer: FileBuffer,
        fetch: &PlannedFetch,
        path: &str,
        mirror: &Mirror,
    ) -> Result<FetchedFile, DownloadFailure> {
        let (destination, product, fetch) = (self.destination.clone(), self.product.clone(), fetch.clone());
        let claims = self.claims.clone();
        let url = format!("{}/{path}", mirror.address());
        // The semaphore is never closed.
        let permit = self.inspections.clone().acquire_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let result = process_blocking(buffer, &destination, &product, &fetch, url, &claims);
            drop(permit);
            result
        });
        task.await.unwrap_or_else(|e| Err(DownloadFailure::Destination(io::Error::other(e), PathBuf::new())))
    }
}

/// Verifies a downloaded file, inspects it, and stores it under its digest.
fn process_blocking(
    buffer: FileBuffer,
    destination: &Destination,
    product: &Product,
    fetch: &PlannedFetch,
    url: String,
    claims: &Claims,
) -> Result<FetchedFile, DownloadFailure> {
    let download = buffer
        .finish()
        .map_err(|e| DownloadFailure::Destination(e, destination.path(&product.objects_dir())))?;
    let file = &fetch.file;
    let object = RecordObject {
        sha256: download.sha256,
        size: download.size,
        md5: download.md5,
        ext: file.ext.clone(),
    };
    if let Some(reason) = mismatch(&object, fetch) {
        return Err(DownloadFailure::Mirror(UpstreamError::Refused { url, reason }));
    }
    let reads_contents = file.record.is_none() && fetch.expected_sha256.is_none();
    let contents = match product {
        Product::Binaries(tag) if reads_contents => {
            check_binary(&download, tag, fetch)
                .map_err(|reason| DownloadFailure::Mirror(UpstreamError::Refused { url, reason }))?;
            Contents::default()
        }
        Product::Cran | Product::Bioconductor(_) if reads_contents => {
            let extent = if file.md5.is_some() || file.sha256.is_some() {
                ReadExtent::Metadata
            } else {
                ReadExtent::Whole
            };
            read_contents(|| download.open(), &file_name(fetch), extent)
        }
        Product::Cran | Product::Bioconductor(_) | Product::Binaries(_) | Product::Projects(_) => {
            Contents::default()
        }
    };
    let path = destination.path(&product.object_path(object.sha256, &object.ext));
    // Claimed before the file is written, so that a concurrent fetch of the same bytes does not remove it.
    claims.claim(&path);
    let is_new =
        store(download, &path, &object, fetch).map_err(|e| DownloadFailure::Destination(e, path.clone()))?;
    if is_new {
        claims.set_new(&path);
    }
    Ok(FetchedFile { object, contents })
}

/// Reads a whole file and checks that it is a binary: indexes of binaries often have no checksum.
fn check_binary(download: &CompleteFile, tag: &str, fetch: &PlannedFetch) -> Result<(), String> {
    let (file, Some(platform)) = (file_name(fetch), Platform::parse(tag)) else {
        return Err(format!("'{tag}' is not a platform"));
    };
    let name =
        PackageFile::parse(&file).ok_or_else(|| format!("'{file}' is not the name of a package file"))?;
    let result = binary::check_file(|| download.open(), name, &platform, ArchiveLimits::default());
    result.map(drop).map_err(|e| e.to_string())
}

fn file_name(fetch: &PlannedFetch) -> String {
    format!("{}_{}.{}", fetch.file.name, fetch.file.version, fetch.file.ext)
}

/// Compares a file with the known size and checksums. Returns the difference as a clause, if there is one.
fn mismatch(object: &RecordObject, fetch: &PlannedFetch) -> Option<String> {
    let file = &fetch.file;
    if let Some(size) = file.size.filter(|size| *size != object.size) {
        return Some(format!("has {} bytes instead of the {size} that the mirror declares", object.size));
    }
    if let Some(sha256) = fetch.expected_sha256.or(file.sha256).filter(|sha256| *sha256 != object.sha256) {
        return Some(format!(
            "its sha256 is {} and not {sha256}: the file was changed on the mirror or in transit",
            object.sha256
        ));
    }
    let md5 = file.md5.filter(|md5| *md5 != object.md5)?;
    Some(format!(
        "its MD5 is {} and not the {md5} of the index: the mirror is being updated, or the file is damaged",
        object.md5
    ))
}

/// Stores a file; returns false if the file already existed.
fn store(
    download: CompleteFile,
    path: &Path,
    object: &RecordObject,
    fetch: &PlannedFetch,
) -> io::Result<bool> {
    // A different package may have the same bytes.
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == object.size)
        && fetch.expected_sha256.is_none()
        && has_digest(path, object.sha256)
    {
        return Ok(false);
    }
    let file = download.into_file(path.parent().unwrap_or(path))?;
    destination::set_published_time(file.as_file(), fetch.file.published);
    destination::persist(file, path)?;
    Ok(true)
}

/// Returns whether a file can be read and has this digest.
pub(super) fn has_digest(path: &Path, sha256: Sha256) -> bool {
    digest_of(path).is_ok_and(|digest| digest == sha256)
}

pub(super) fn digest_of(path: &Path) -> io::Result<Sha256> {
    let mut hasher = Hasher::new();
    for_each_piece(&mut File::open(path)?, |piece| hasher.update(piece))?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Size of a read, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Reads a file to its end, and passes each piece to `consume`.
pub(super) fn for_each_piece(source: &mut impl Read, mut consume: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => consume(&buffer[..count]),
        }
    }
}

/// The claims on fetched files, by path. Clones share the same table.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<PathBuf, Claim>>>);

#[derive(Default)]
struct Claim {
    /// Number of fetches that use the file.
    count: usize,
    /// Whether the destination did not have the file before.
    is_new: bool,
}

impl Claims {
    /// Adds a fetch that uses a file.
    pub(super) fn claim(&self, path: &Path) {
        self.0.lock().entry(path.to_owned()).or_default().count += 1;
    }

    /// Records that the destination did not have the file before.
    pub(super) fn set_new(&self, path: &Path) {
        self.0.lock().entry(path.to_owned()).or_default().is_new = true;
    }

    /// Removes a fetch of a file, and the file if it was new and no other fetch uses it. Fails if that is impossible.
    pub(super) fn release(&self, path: &Path) -> io::Result<()> {
        // Locked until the file is removed: a fetch that claims it meanwhile waits, and then writes it again.
        let mut claims = self.0.lock();
        let Some(claim) = claims.get_mut(path) else { return Ok(()) };
        claim.count = claim.count.saturating_sub(1);
        if claim.count > 0 || !claim.is_new {
            return Ok(());
        }
        claims.remove(path);
        std::fs::remove_file(path)
    }
}

/// DESCRIPTION, README and the need for compilation of a package file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) fields: Option<Fields>,
    /// Whether the package must be compiled; `None` if that is unknown.
    pub(super) needs_compilation: Option<bool>,
    /// File name and text of the README.
    pub(super) readme: Option<(String, String)>,
    /// The reason why the archive could not be read.
    pub(super) error: Option<String>,
}

/// Reads the archive of a source package; `reopen` opens the archive, for each of two attempts. Old archives have many
/// irregularities: if strict reading fails, only the DESCRIPTION is read; if that fails too, the file is accepted
/// without contents. An archive whose checksum matches the mirror's is read only up to the needed files.
fn read_contents<R: Read>(
    reopen: impl Fn() -> std::io::Result<R>,
    file: &str,
    extent: ReadExtent,
) -> Contents {
    let name = SourceFileName::parse_archived(file).ok();
    let open = || reopen().map_err(|e| e.to_string());
    let strict_result = open().and_then(|source| {
        archive::read_up_to(extent, source, name, ArchiveLimits::default()).map_err(|e| e.to_string())
    });
    let reason = match strict_result {
        Ok(package) => {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            return Contents {
                fields: Some(fields(&package.description)),
                needs_compilation: Some(package.needs_compilation),
                readme: package.readme.map(|(name, bytes)| (name, text(bytes))),
                error: None,
            };
        }
        Err(reason) => reason,
    };
    let lenient_result = open().and_then(|source| {
        archive::read_identity(source, name, ArchiveLimits::default()).map_err(|e| e.to_string())
    });
    match lenient_result {
        Ok(identity) => Contents {
            needs_compilation: identity.description.needs_compilation(),
            fields: Some(fields(&identity.description)),
            ..Contents::default()
        },
        Err(_) => Contents { error: Some(reason), ..Contents::default() },
    }
}

fn fields(description: &Description) -> Fields {
    Fields(description.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_file_that_no_other_fetch_uses_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        std::fs::write(&new, "x").unwrap();
        std::fs::write(&old, "x").unwrap();
        let claims = Claims::default();
        claims.claim(&new);
        claims.set_new(&new);
        claims.claim(&new);
        claims.release(&new).unwrap();
        assert!(new.exists(), "the other fetch uses it");
        claims.release(&new).unwrap();
        assert!(!new.exists());
        claims.claim(&old);
        claims.release(&old).unwrap();
        assert!(old.exists(), "the destination had it before");
        claims.release(&folder.path().join("unknown")).unwrap();
    }
}
