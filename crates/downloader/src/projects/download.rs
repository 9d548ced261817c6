//! Fetches a file, compares it with the page's digests, and stores it under its SHA-256, declared there or computed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Hasher, Sha512};

use super::Request;
use super::plan::PlannedFile;
use super::source::Source;
use crate::buffer::{Budget, CompleteFile, FileBuffer};
use crate::destination::{self, Destination};
use crate::file::{DownloadFailure, for_each_piece};
use crate::progress::Output;
use base::model::digest::{Md5, Sha256};
use base::model::project_page::UpstreamFile;
use base::model::time::Day;
use formats::bundle::Product;
use formats::bundle::project_record::{FileObject, FileRecord, MetadataObject};
use formats::language::Projects;
use upstream::UpstreamError;

/// Source, destination and memory limit of downloads.
#[derive(Clone)]
pub(super) struct DownloadContext {
    pub(super) projects: &'static dyn Projects,
    pub(super) product: Product,
    pub(super) request: Arc<Request>,
    pub(super) source: Arc<Source>,
    pub(super) destination: Destination,
    pub(super) budget: Arc<Budget>,
    /// The day for records of files whose upload time the index does not state.
    pub(super) today: Day,
    pub(super) output: Output,
}

impl DownloadContext {
    /// Returns the path of an object at the destination.
    pub(super) fn object_path(&self, sha256: Sha256, extension: &str) -> PathBuf {
        self.destination.path(&self.product.object_path(sha256, extension))
    }
}

/// What the index attaches to a file, in its record.
#[derive(Default)]
pub(super) struct AttachedObjects {
    pub(super) meta: Option<MetadataObject>,
    pub(super) prov: Option<MetadataObject>,
}

/// Fetches a file, unless the destination has it from an interrupted run. Returns its record, dated to its upload.
pub(super) async fn fetch(
    context: &DownloadContext,
    planned: &PlannedFile,
) -> Result<FileRecord, DownloadFailure> {
    let file = &planned.file;
    let refused =
        |reason: String| DownloadFailure::Mirror(UpstreamError::Refused { url: file.url.clone(), reason });
    let extension = context.projects.object_extension(&file.name).map_err(refused)?;
    let path = |sha256: Sha256| context.object_path(sha256, &extension);
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
    let AttachedObjects { meta, prov } =
        context.request.attached(context, file, object.sha256, path(object.sha256)).await?;
    Ok(FileRecord {
        project: planned.project.clone(),
        version: planned.version.clone(),
        name: file.name.clone(),
        day: file.uploaded_at.map_or(context.today, |time| time.day()),
        upload: file.uploaded_at,
        obj: object,
        rp: context.projects.record_facts(file),
        meta,
        prov,
        yanked: file.yanked.clone(),
    })
}

/// Downloads a file, and stores it unless a digest differs from the one that the page declares.
async fn download(
    context: &DownloadContext,
    file: &UpstreamFile,
    extension: &str,
) -> Result<FileObject, DownloadFailure> {
    let (mirror, file_path) = context.source.file(file).map_err(DownloadFailure::Mirror)?;
    let folder = context.destination.path(&context.product.objects_dir());
    let mut buffer = FileBuffer::new(folder, context.budget.clone());
    if let Err(error) = mirror.download(&file_path, file.size, &mut buffer).await {
        return Err(match buffer.take_error() {
            Some((error, dir)) => DownloadFailure::Destination(error, dir),
            None => DownloadFailure::Mirror(error),
        });
    }
    let (context, extension) = (context.clone(), extension.to_owned());
    let (objects, declared_file) = (context.destination.path(&context.product.objects_dir()), file.clone());
    let work = move || {
        let download = buffer.finish()?;
        let object = FileObject { sha256: download.sha256, size: download.size, md5: download.md5 };
        if let Some(difference) = difference(&declared_file, &download)? {
            return Ok(Err(difference));
        }
        let path = context.object_path(object.sha256, &extension);
        let complete = download.into_file(path.parent().unwrap_or(&path))?;
        destination::set_published_time(complete.as_file(), declared_file.uploaded_at);
        destination::persist(complete, &path)?;
        Ok(Ok(object))
    };
    blocking(&objects, work).await?.map_err(|difference| {
        let reason = format!("{difference}: the file was changed on the index or in transit");
        DownloadFailure::Mirror(UpstreamError::Refused { url: file.url.clone(), reason })
    })
}

/// Returns the difference between a file's digest and the one that the page declares: SHA-256, else SHA-512, else MD5.
fn difference(file: &UpstreamFile, download: &CompleteFile) -> io::Result<Option<String>> {
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
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DownloadFailure> {
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|error| DownloadFailure::Destination(error, path.to_owned()))
}

/// Writes a small file atomically.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
