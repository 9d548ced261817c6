//! The files of a package, read from its stored archive when a page shows them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{RepoError, Repositories};
use crate::r::archive::{ArchiveError, Limits, Member, MemberKind, Members};
use crate::storage::{Key, StorageError};

/// Maximum size of an archive that is read, in bytes; limited because the client waits for the result.
const MAX_ARCHIVE_BYTES: u64 = 32 << 20;
/// Maximum decompressed size, in bytes.
const MAX_INFLATED_BYTES: u64 = 256 << 20;
/// Maximum number of listed files; more are counted.
pub const MAX_FILES: usize = 2_000;
/// Maximum length of a text, in bytes; of a longer file, the beginning is read.
pub const MAX_TEXT: u64 = 256 << 10;
/// Maximum length of a path, in bytes.
const MAX_PATH: usize = 1_000;
/// `Retry-After` in seconds while too many archives are read.
const RETRY_AFTER: u64 = 5;

/// Archives that are read at a time: decompression is CPU-bound.
static READS: Semaphore = Semaphore::const_new(2);
/// Requests that read an archive or wait for it.
static REQUESTS: Semaphore = Semaphore::const_new(32);

/// A stored archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredArchive {
    /// Its key in storage.
    pub key: Key,
    /// Its size, in bytes.
    pub size: u64,
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
    /// The first [`MAX_FILES`] ones.
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
    /// Its first [`MAX_TEXT`] bytes as text, with U+FFFD for what is not UTF-8; `None` if it is not a text.
    pub text: Option<String>,
}

/// Returns the files of an archive.
///
/// # Errors
/// [`RepoError::Invalid`] for an archive that is too large or damaged, [`RepoError::Busy`] while too many are read, storage
/// errors.
pub async fn list(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
) -> Result<PackageFiles, RepoError> {
    read(repositories, archive, |bytes| {
        let mut files: Vec<PackageFile> = Vec::new();
        let mut total = 0;
        let mut members = members(bytes)?;
        while let Some(member) = members.advance()? {
            let Some(path) = path(&member) else { continue };
            total += 1;
            if files.len() < MAX_FILES {
                files.push(PackageFile { path, size: member.size });
            }
        }
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
        let mut members = members(bytes)?;
        while let Some(member) = members.advance()? {
            let Some(path) = path(&member) else { continue };
            let rank = paths.iter().position(|wanted| *wanted == path);
            let Some(rank) = rank.filter(|rank| best.as_ref().is_none_or(|(other, _)| rank < other)) else {
                continue;
            };
            let text = text(&mut members)?;
            best = Some((rank, FileText { path, size: member.size, text }));
            if rank == 0 {
                break;
            }
        }
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
        // A client that disconnects does not end the task.
        let _permit = permit;
        read(&bytes)
    });
    let result = task.await.map_err(|error| StorageError::Other(error.to_string()))?;
    result.map_err(|error| RepoError::Invalid(format!("the archive cannot be read: {error}")))
}

fn members(bytes: &[u8]) -> Result<Members<&[u8]>, ArchiveError> {
    Members::new(bytes, Limits { inflated: MAX_INFLATED_BYTES, ..Limits::default() })
}

/// The path of a file below the folder of the package; `None` for other members, and for a path that no address can have.
fn path(member: &Member) -> Option<String> {
    if member.kind != MemberKind::File || member.name.len() > MAX_PATH {
        return None;
    }
    let name = std::str::from_utf8(&member.name).ok()?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let (_, path) = name.split_once('/')?;
    let is_plain = path.split('/').all(|part| !["", ".", ".."].contains(&part));
    (is_plain && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | '%'))).then(|| path.to_owned())
}

/// Reads the beginning of the current member; `None` if it is not a text.
fn text(members: &mut Members<&[u8]>) -> Result<Option<String>, ArchiveError> {
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(chunk) = members.chunk()? {
        bytes.extend_from_slice(chunk);
        if bytes.len() as u64 > MAX_TEXT {
            break;
        }
    }
    bytes.truncate(usize::try_from(MAX_TEXT).unwrap_or(usize::MAX));
    let is_text = !bytes.contains(&0);
    Ok(is_text.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}
