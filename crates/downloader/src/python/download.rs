//! Fetches a file, its METADATA and its provenance, compares them with the digests on the page, and stores them under the
//! SHA-256 of the file, which is computed if the page declares another digest or none. METADATA of a wheel for which the
//! index has none is read from the wheel.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Hasher, Sha512};

use super::plan::PlannedFile;
use super::source::Source;
use crate::buffer::{Budget, CompleteFile, FileBuffer};
use crate::destination::{self, Destination};
use crate::file::{DownloadFailure, for_each_piece};
use crate::progress::Output;
use base::model::digest::{Md5, Sha256};
use base::model::project_page::MetadataFile;
use base::model::time::Day;
use formats::bundle::layout::{METADATA_EXTENSION, PROVENANCE_EXTENSION};
use formats::bundle::python_record::{FileObject, FileRecord, MetadataObject, object_extension};
use formats::bundle::{Product, self_digest};
use formats::python::archive::{WHEEL_LIMITS, wheel};
use formats::python::file_name::FileKind;
use formats::python::provenance;
use formats::python::simple::page::PageFile;
use upstream::UpstreamError;

/// Source, destination and memory limit of downloads.
#[derive(Clone)]
pub(super) struct DownloadContext {
    pub(super) source: Arc<Source>,
    pub(super) destination: Destination,
    pub(super) budget: Arc<Budget>,
    /// The day for records of files whose upload time the index does not state.
    pub(super) today: Day,
    pub(super) output: Output,
}

/// Fetches a file, unless the destination has it from an interrupted run. Returns its record, dated to its upload.
pub(super) async fn fetch(
    context: &DownloadContext,
    planned: &PlannedFile,
) -> Result<FileRecord, DownloadFailure> {
    let file = &planned.file;
    let refused =
        |reason: String| DownloadFailure::Mirror(UpstreamError::Refused { url: file.url.clone(), reason });
    let extension = object_extension(file.name.as_str()).map_err(refused)?;
    let path = |sha256: Sha256| context.destination.path(&Product::Pypi.object_path(sha256, &extension));
    let existing = match file.sha256() {
        Some(sha256) => {
            let (existing_path, path) = (path(sha256), path(sha256));
            let existing = blocking(&path, move || Ok(digests(&existing_path).ok())).await?;
            existing.filter(|object| object.sha256 == sha256)
        }
        None => None,
    };
    let object = match existing {
        Some(object) => object,
        None => download(context, file, &extension).await?,
    };
    let (sha256, object_path) = (object.sha256, path(object.sha256));
    let metadata_path = context.destination.path(&Product::Pypi.object_path(sha256, METADATA_EXTENSION));
    let metadata = match (file.core_metadata, file.name.kind()) {
        (MetadataFile::None, FileKind::Wheel) => {
            let (path, name) = (object_path.clone(), file.name.as_str().to_owned());
            let work = move || metadata_in_wheel(&path, &name, MetadataFile::None);
            blocking(&object_path, work).await?
        }
        (MetadataFile::None, _) => None,
        (declared, kind) => match context.source.metadata(file).await {
            Err(UpstreamError::Missing(_)) if kind == FileKind::Wheel => {
                let (path, name) = (object_path.clone(), file.name.as_str().to_owned());
                blocking(&object_path, move || metadata_in_wheel(&path, &name, declared)).await?
            }
            result => Some(result.map_err(DownloadFailure::Mirror)?),
        },
    };
    let meta = store(metadata_path, metadata).await?;
    let provenance_path = context.destination.path(&Product::Pypi.object_path(sha256, PROVENANCE_EXTENSION));
    let prov = store(provenance_path, read_provenance(context, file, sha256).await).await?;
    Ok(FileRecord {
        project: planned.project.clone(),
        version: planned.version.clone(),
        name: file.name.as_str().to_owned(),
        day: file.upload_time.map_or(context.today, |time| time.day()),
        upload: file.upload_time,
        obj: object,
        rp: file.requires_python.clone(),
        meta,
        prov,
        yanked: file.yanked.as_ref().map(|yank| yank.reason.clone()),
    })
}

/// Stores an object beside a file.
async fn store(path: PathBuf, bytes: Option<Bytes>) -> Result<Option<MetadataObject>, DownloadFailure> {
    let Some(bytes) = bytes else { return Ok(None) };
    let object = MetadataObject { sha256: self_digest::digest(&bytes), size: bytes.len() as u64 };
    let target = path.clone();
    blocking(&path, move || write(&target, &bytes)).await?;
    Ok(Some(object))
}

/// Reads and checks the provenance object of a file. A file is complete without it, so errors are warnings.
async fn read_provenance(context: &DownloadContext, file: &PageFile, sha256: Sha256) -> Option<Bytes> {
    let url = file.provenance.as_deref()?;
    let checked = match context.source.provenance(url).await {
        Ok(bytes) => match provenance::check(&bytes, &file.name, sha256) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    match checked {
        Ok(bytes) => Some(bytes),
        Err(reason) => {
            context.output.warn(&format!("{}: its provenance is left out: {reason}", file.name));
            None
        }
    }
}

/// Reads METADATA from a stored wheel. This is needed if the index declares none, or declares a metadata file and does
/// not have it, as on partial mirrors. Returns `None` if METADATA of the wheel is missing, invalid, or has another
/// digest than the index declares: installers then read the wheel.
fn metadata_in_wheel(path: &Path, name: &str, declared: MetadataFile) -> io::Result<Option<Bytes>> {
    let metadata = wheel::read_metadata(&mut File::open(path)?, name, WHEEL_LIMITS).ok();
    let bytes = metadata.map(|(_, raw)| Bytes::from(raw));
    Ok(bytes.filter(|bytes| match declared {
        MetadataFile::Sha256(sha256) => self_digest::digest(bytes) == sha256,
        MetadataFile::None | MetadataFile::Unverified => true,
    }))
}

/// Downloads a file, and stores it unless a digest differs from the one that the page declares.
async fn download(
    context: &DownloadContext,
    file: &PageFile,
    extension: &str,
) -> Result<FileObject, DownloadFailure> {
    let (mirror, file_path) = context.source.file(file).map_err(DownloadFailure::Mirror)?;
    let folder = context.destination.path(&Product::Pypi.objects_dir());
    let mut buffer = FileBuffer::new(folder, context.budget.clone());
    if let Err(error) = mirror.download(&file_path, file.size, &mut buffer).await {
        return Err(match buffer.take_error() {
            Some((error, dir)) => DownloadFailure::Destination(error, dir),
            None => DownloadFailure::Mirror(error),
        });
    }
    let (destination, extension) = (context.destination.clone(), extension.to_owned());
    let declared_file = file.clone();
    let work = move || {
        let download = buffer.finish()?;
        let object = FileObject { sha256: download.sha256, size: download.size, md5: download.md5 };
        if let Some(difference) = difference(&declared_file, &download)? {
            return Ok(Err(difference));
        }
        let path = destination.path(&Product::Pypi.object_path(object.sha256, &extension));
        let complete = download.into_file(path.parent().unwrap_or(&path))?;
        destination::set_published_time(complete.as_file(), declared_file.upload_time);
        destination::persist(complete, &path)?;
        Ok(Ok(object))
    };
    let objects = context.destination.path(&Product::Pypi.objects_dir());
    blocking(&objects, work).await?.map_err(|difference| {
        let reason = format!("{difference}: the file was changed on the index or in transit");
        DownloadFailure::Mirror(UpstreamError::Refused { url: file.url.clone(), reason })
    })
}

/// Returns the difference between a file's digest and the one that the page declares: SHA-256, else SHA-512, else MD5.
fn difference(file: &PageFile, download: &CompleteFile) -> io::Result<Option<String>> {
    let declared = |algorithm: &str| file.hashes.get(algorithm).cloned();
    let (algorithm, declared, computed) = if let Some(sha256) = declared("sha256") {
        ("sha256", sha256, download.sha256.to_string())
    } else if let Some(sha512) = declared("sha512") {
        let mut hasher = Sha512::new();
        for_each_piece(&mut download.open()?, |piece| hasher.update(piece))?;
        ("sha512", sha512, hex::encode(hasher.finalize()))
    } else if let Some(md5) = declared("md5") {
        ("md5", md5, download.md5.to_string())
    } else {
        return Ok(None);
    };
    let is_same = declared.eq_ignore_ascii_case(&computed);
    Ok((!is_same).then(|| format!("its {algorithm} is {computed}, but the page states {declared}")))
}

/// Runs `work` on another thread. Its error is returned as a failure to write `path`.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DownloadFailure> {
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|error| DownloadFailure::Destination(error, path.to_owned()))
}

/// Writes a small file atomically.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)?;
    let mut file = Destination::temp_file(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    destination::persist(file, path)
}

/// Returns the digests and the size of a file.
fn digests(path: &Path) -> io::Result<FileObject> {
    let (mut sha256, mut md5, mut size) = (Hasher::new(), Md5Hasher::new(), 0);
    for_each_piece(&mut File::open(path)?, |piece| {
        sha256.update(piece);
        md5.update(piece);
        size += piece.len() as u64;
    })?;
    Ok(FileObject { sha256: Sha256(sha256.finalize().into()), size, md5: Md5(md5.finalize().into()) })
}
