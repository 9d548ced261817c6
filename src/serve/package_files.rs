//! The files of a package, read from its stored archive when a page shows them.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{RepoError, Repositories};
use crate::r::archive::{ArchiveError, Limits, MemberKind, Members};
use crate::r::zip::{Zip, ZipFormat};
use crate::storage::{Key, StorageError};

/// Maximum size of an archive that is read, in bytes; limited because the client waits for the result.
const MAX_ARCHIVE_BYTES: u64 = 32 << 20;
/// Maximum decompressed size, in bytes.
const MAX_INFLATED_BYTES: u64 = 256 << 20;
/// Maximum number of listed files; more are counted.
pub const MAX_FILES: usize = 2_000;
/// Maximum length of a text, in bytes; longer files are truncated.
pub const MAX_TEXT: u64 = 256 << 10;
/// Maximum length of a path, in bytes.
const MAX_PATH: usize = 1_000;
/// `Retry-After` in seconds while too many archives are read.
const RETRY_AFTER: u64 = 5;

/// Limits the archives that are read concurrently: decompression is CPU-bound.
static READS: Semaphore = Semaphore::const_new(2);
/// Limits the requests that read an archive or wait for one.
static REQUESTS: Semaphore = Semaphore::const_new(32);

/// The formats of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A compressed tar file whose members are in one folder: R packages and Python source distributions.
    Tar,
    /// A wheel: a zip file without that folder.
    Wheel,
}

/// A stored archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredArchive {
    /// Its key in storage.
    pub key: Key,
    /// Its size, in bytes.
    pub size: u64,
    /// Its format.
    pub kind: ArchiveKind,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path below the folder of the package.
    pub path: String,
    /// Its size, in bytes.
    pub size: u64,
}

/// The files of an archive by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageFiles {
    /// The first [`MAX_FILES`] files.
    pub files: Vec<PackageFile>,
    /// Number of all files with a path that can be shown.
    pub total: usize,
}

/// The contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileText {
    /// Its path below the folder of the package.
    pub path: String,
    /// Its size, in bytes.
    pub size: u64,
    /// Its first [`MAX_TEXT`] bytes as text, with U+FFFD for bytes that are not UTF-8; `None` if it is not text.
    pub text: Option<String>,
}

/// Returns the files of an archive.
///
/// # Errors
/// [`RepoError::Invalid`] for an archive that is too large or damaged, [`RepoError::Busy`] while too many are read,
/// storage errors.
pub async fn list(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
) -> Result<PackageFiles, RepoError> {
    read(repositories, archive, move |bytes| {
        let mut files: Vec<PackageFile> = Vec::new();
        let mut total = 0;
        for_each_file(bytes, archive.kind, |path, size, _| {
            total += 1;
            if files.len() < MAX_FILES {
                files.push(PackageFile { path, size });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(PackageFiles { files, total })
    })
    .await
}

/// Returns the first of these files, by the order of `paths`, that the archive has.
///
/// # Errors
/// As [`list`].
pub async fn first(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
    paths: Vec<String>,
) -> Result<Option<FileText>, RepoError> {
    read(repositories, archive, move |bytes| {
        let mut best: Option<(usize, FileText)> = None;
        for_each_file(bytes, archive.kind, |path, size, text| {
            let rank = paths.iter().position(|wanted| *wanted == path);
            let Some(rank) = rank.filter(|rank| best.as_ref().is_none_or(|(other, _)| rank < other)) else {
                return Ok(ControlFlow::Continue(()));
            };
            best = Some((rank, FileText { path, size, text: text()? }));
            Ok(if rank == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(best.map(|(_, file)| file))
    })
    .await
}

async fn read<T: Send + 'static>(
    repositories: &Repositories,
    archive: StoredArchive,
    read: impl FnOnce(&[u8]) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, RepoError> {
    if archive.size > MAX_ARCHIVE_BYTES {
        let text =
            format!("the archive is larger than {MAX_ARCHIVE_BYTES} bytes, so that its files are not shown");
        return Err(RepoError::Invalid(text));
    }
    let _request = REQUESTS.try_acquire().map_err(|_| RepoError::Busy { retry_after: RETRY_AFTER })?;
    let permit = READS.acquire().await.map_err(|_| RepoError::Busy { retry_after: RETRY_AFTER })?;
    let bytes = repositories.state.storage.read(&archive.key).await?;
    let task = tokio::task::spawn_blocking(move || {
        // Held by the task, which continues after its client disconnects.
        let _permit = permit;
        read(&bytes)
    });
    let result = task.await.map_err(|error| StorageError::Other(error.to_string()))?;
    result.map_err(|error| RepoError::Invalid(format!("the archive cannot be read: {error}")))
}

/// Reads the beginning of a file as text; `None` if it is not text.
type ReadText<'a> = &'a mut dyn FnMut() -> Result<Option<String>, ArchiveError>;

/// Calls `visit` with the path, the size in bytes and the text of each file that an address can name, until it returns
/// `Break`.
fn for_each_file(
    bytes: &[u8],
    kind: ArchiveKind,
    mut visit: impl FnMut(String, u64, ReadText<'_>) -> Result<ControlFlow<()>, ArchiveError>,
) -> Result<(), ArchiveError> {
    let limits = Limits { inflated: MAX_INFLATED_BYTES, ..Limits::default() };
    match kind {
        ArchiveKind::Tar => {
            let mut members = Members::new(bytes, limits)?;
            while let Some(member) = members.advance()? {
                let name = std::str::from_utf8(&member.name).ok();
                let name = name.map(|name| name.strip_prefix("./").unwrap_or(name));
                let path = name.and_then(|name| name.split_once('/')).map(|(_, path)| path);
                let Some(path) = path.filter(|path| member.kind == MemberKind::File && is_plain(path)) else {
                    continue;
                };
                if visit(path.to_owned(), member.size, &mut || tar_text(&mut members))?.is_break() {
                    break;
                }
            }
        }
        ArchiveKind::Wheel => {
            let mut file = Cursor::new(bytes);
            let zip = Zip::open(&mut file, ZipFormat::Wheel, limits)?;
            for member in zip.members.iter().filter(|member| !member.is_folder() && is_plain(&member.name)) {
                let mut text = || {
                    let mut text = TextStart::default();
                    member.for_each_piece(&mut file, |piece| {
                        text.add(piece);
                        Ok(())
                    })?;
                    Ok(text.into_text())
                };
                if visit(member.name.clone(), member.size, &mut text)?.is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Returns true if an address can name a path.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.split('/').all(|part| !["", ".", ".."].contains(&part))
        && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | '%'))
}

/// Reads the beginning of the current member; `None` if it is not text.
fn tar_text(members: &mut Members<&[u8]>) -> Result<Option<String>, ArchiveError> {
    let mut text = TextStart::default();
    while !text.is_full() {
        let Some(chunk) = members.chunk()? else { break };
        text.add(chunk);
    }
    Ok(text.into_text())
}

/// The first [`MAX_TEXT`] bytes of a file.
#[derive(Default)]
struct TextStart(Vec<u8>);

impl TextStart {
    fn missing(&self) -> usize {
        usize::try_from(MAX_TEXT).unwrap_or(usize::MAX) - self.0.len()
    }

    fn is_full(&self) -> bool {
        self.missing() == 0
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[..bytes.len().min(self.missing())]);
    }

    /// Returns the text, with U+FFFD for bytes that are not UTF-8; `None` for bytes that are not text.
    fn into_text(self) -> Option<String> {
        (!self.0.contains(&0)).then(|| String::from_utf8_lossy(&self.0).into_owned())
    }
}
