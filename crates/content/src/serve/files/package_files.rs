//! The files of a package, read from its stored archive when a page shows them.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::serve::{RepoError, Repositories, error};
use base::model::project_page::ArchiveKind;
use formats::r::archive::{ArchiveError, ArchiveLimits, MemberKind, Members};
use formats::r::zip::{Zip, ZipFormat};
use store::storage::{Key, memory_cache};

/// Maximum size of an archive that is read, in bytes; limited because the client waits for the result.
const MAX_ARCHIVE_BYTES: u64 = 32 << 20;
/// Maximum decompressed size, in bytes.
const MAX_INFLATED_BYTES: u64 = 256 << 20;
/// Maximum number of listed files; more are counted.
pub const MAX_FILES: usize = 2_000;
/// Maximum length of a text, in bytes; longer files are truncated.
pub const MAX_TEXT: u64 = 256 << 10;
/// Maximum size of a figure, in bytes.
pub const MAX_FIGURE: u64 = 2 << 20;
const MAGIC_BYTES: u64 = 12;
/// Maximum number of figures of an archive.
const MAX_FIGURES: usize = 500;
const FIGURE_ENTRIES: usize = 1_000;
const FIGURE_BYTES: u64 = 8 << 20;
/// A shard must hold a few of the largest entries (0.5 MB); by default, there are more on more processors.
const FIGURE_SHARDS: usize = 2;
/// Size of an entry without its paths, in bytes.
const FIGURE_OVERHEAD: usize = 200;
/// Maximum length of a path, in bytes.
const MAX_PATH: usize = 1_000;
/// `Retry-After` in seconds while too many archives are read.
const RETRY_AFTER: u64 = 5;
/// Maximum time that a request waits for its archive to be read.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Maximum number of requests that read an archive or wait: over HTTP/2, browsers request all figures at once.
const MAX_REQUESTS: usize = 1_000;

/// Limits the archives that are read concurrently: decompression is CPU-bound.
static READS: Semaphore = Semaphore::const_new(2);
/// Limits the archives that are read for a figure, so that a README with many figures does not delay pages.
static FIGURE_READS: Semaphore = Semaphore::const_new(1);
/// Limits the requests that read an archive or wait for one.
static REQUESTS: Semaphore = Semaphore::const_new(MAX_REQUESTS);

type FigureCache = Cache<Key, Arc<[String]>, PathWeighter>;

/// The paths of the figures of the archives read last.
static FIGURES: LazyLock<FigureCache> = LazyLock::new(figure_cache);

#[derive(Clone)]
struct PathWeighter;

impl Weighter<Key, Arc<[String]>> for PathWeighter {
    fn weight(&self, _: &Key, paths: &Arc<[String]>) -> u64 {
        let bytes = paths.iter().map(|path| size_of::<String>() + path.len()).sum::<usize>();
        (FIGURE_OVERHEAD + bytes) as u64
    }
}

fn figure_cache() -> FigureCache {
    memory_cache::with_shards(FIGURE_SHARDS, FIGURE_BYTES, FIGURE_ENTRIES, PathWeighter)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredArchive {
    pub key: Key,
    pub size: u64,
    pub kind: ArchiveKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path below the folder of the package.
    pub path: String,
    pub size: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageFiles {
    /// The first [`MAX_FILES`] files.
    pub files: Vec<PackageFile>,
    /// Number of all files with a path that can be shown.
    pub total: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileText {
    /// Its path below the folder of the package.
    pub path: String,
    pub size: u64,
    /// Its first [`MAX_TEXT`] bytes as text, with U+FFFD for bytes that are not UTF-8; `None` if it is not text.
    pub text: Option<String>,
}

/// Returns the files of an archive. Fails for one that is too large or damaged, or while too many are read.
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
pub async fn first(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
    paths: Vec<String>,
) -> Result<Option<FileText>, RepoError> {
    read(repositories, archive, move |bytes| {
        let mut best: Option<(usize, FileText)> = None;
        for_each_file(bytes, archive.kind, |path, size, start| {
            let rank = paths.iter().position(|wanted| *wanted == path);
            let Some(rank) = rank.filter(|rank| best.as_ref().is_none_or(|(other, _)| rank < other)) else {
                return Ok(ControlFlow::Continue(()));
            };
            best = Some((rank, FileText { path, size, text: into_text(start(MAX_TEXT)?) }));
            Ok(if rank == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(best.map(|(_, file)| file))
    })
    .await
}

/// Returns true for the path of a raster image. Vector images are excluded, because they may contain scripts.
pub fn is_figure(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["png", "jpg", "jpeg", "gif", "webp"].contains(&extension.as_str()))
}

/// Returns the paths of the figures of an archive: raster images of at most [`MAX_FIGURE`]. They are read
/// once, then cached. An archive that is too large or damaged has none.
pub async fn figures(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
) -> Result<Arc<[String]>, RepoError> {
    if let Some(figures) = FIGURES.get(&archive.key) {
        return Ok(figures);
    }
    let paths = read(repositories, archive, move |bytes| {
        let mut figures: Vec<String> = Vec::new();
        for_each_file(bytes, archive.kind, |path, size, start| {
            if is_figure(&path) && size <= MAX_FIGURE && image_type(&start(MAGIC_BYTES)?).is_some() {
                figures.push(path);
            }
            let is_full = figures.len() >= MAX_FIGURES;
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(figures)
    });
    let figures: Arc<[String]> = match paths.await {
        Ok(paths) => paths.into(),
        // Reading it again has the same result.
        Err(RepoError::Invalid(_)) => Arc::default(),
        Err(error) => return Err(error),
    };
    FIGURES.insert(archive.key, Arc::clone(&figures));
    Ok(figures)
}

/// Returns media type and bytes of a figure; `None` for a missing or larger file, or no raster image.
pub async fn figure(
    repositories: &Arc<Repositories>,
    archive: StoredArchive,
    wanted: String,
) -> Result<Option<(&'static str, Vec<u8>)>, RepoError> {
    let request = request()?;
    let _permit = permit(&FIGURE_READS).await?;
    read_for(request, repositories, archive, move |bytes| {
        let mut figure = None;
        for_each_file(bytes, archive.kind, |path, size, start| {
            if path != wanted {
                return Ok(ControlFlow::Continue(()));
            }
            if size <= MAX_FIGURE {
                let bytes = start(MAX_FIGURE)?;
                figure = image_type(&bytes).map(|media_type| (media_type, bytes));
            }
            Ok(ControlFlow::Break(()))
        })?;
        Ok(figure)
    })
    .await
}

/// Returns the media type of a raster image by its first bytes. SECURITY: the extension of a file may be wrong.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A permit of [`REQUESTS`]: to read an archive, or to wait for it.
type Request = SemaphorePermit<'static>;

/// Returns a permit of [`REQUESTS`]; [`RepoError::Busy`] if too many wait.
fn request() -> Result<Request, RepoError> {
    REQUESTS.try_acquire().map_err(|_| RepoError::Busy { retry_after: RETRY_AFTER })
}

/// Waits for a permit; [`RepoError::Busy`] after [`MAX_WAIT`].
async fn permit(semaphore: &'static Semaphore) -> Result<SemaphorePermit<'static>, RepoError> {
    let permit = tokio::time::timeout(MAX_WAIT, semaphore.acquire()).await.ok().and_then(Result::ok);
    permit.ok_or(RepoError::Busy { retry_after: RETRY_AFTER })
}

async fn read<T: Send + 'static>(
    repositories: &Repositories,
    archive: StoredArchive,
    read: impl FnOnce(&[u8]) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, RepoError> {
    read_for(request()?, repositories, archive, read).await
}

/// Reads an archive; `request` is dropped after that.
async fn read_for<T: Send + 'static>(
    request: Request,
    repositories: &Repositories,
    archive: StoredArchive,
    read: impl FnOnce(&[u8]) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, RepoError> {
    if archive.size > MAX_ARCHIVE_BYTES {
        let text =
            format!("the archive is larger than {MAX_ARCHIVE_BYTES} bytes, so that its files are not shown");
        return Err(RepoError::Invalid(text));
    }
    let _request = request;
    let permit = permit(&READS).await?;
    let bytes = repositories.state.storage.read(&archive.key).await?;
    let result = error::run_blocking(move || {
        // Held by the task, which continues after its client disconnects.
        let _permit = permit;
        read(&bytes)
    });
    result.await?.map_err(|error| RepoError::Invalid(format!("the archive cannot be read: {error}")))
}

/// Reads the beginning of a file, at most this number of bytes.
type ReadStart<'a> = &'a mut dyn FnMut(u64) -> Result<Vec<u8>, ArchiveError>;

/// Calls `visit` with path, size in bytes and beginning of each file with an address, until it returns `Break`.
fn for_each_file(
    bytes: &[u8],
    kind: ArchiveKind,
    mut visit: impl FnMut(String, u64, ReadStart<'_>) -> Result<ControlFlow<()>, ArchiveError>,
) -> Result<(), ArchiveError> {
    let limits = ArchiveLimits { inflated: MAX_INFLATED_BYTES, ..ArchiveLimits::default() };
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
                let (path, size) = (path.to_owned(), member.size);
                if visit(path, size, &mut |limit| tar_start(&mut members, limit))?.is_break() {
                    break;
                }
            }
        }
        ArchiveKind::Wheel => {
            let mut file = Cursor::new(bytes);
            let zip = Zip::open(&mut file, ZipFormat::Wheel, limits)?;
            for member in zip.members.iter().filter(|member| !member.is_folder() && is_plain(&member.name)) {
                let mut read_start = |limit| {
                    let mut start = Start::new(limit);
                    member.for_each_piece(&mut file, |piece| {
                        start.add(piece);
                        Ok(())
                    })?;
                    Ok(start.bytes)
                };
                if visit(member.name.clone(), member.size, &mut read_start)?.is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Returns whether an address can name a path.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.split('/').all(|part| !["", ".", ".."].contains(&part))
        && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | '%'))
}

fn tar_start(members: &mut Members<&[u8]>, limit: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut start = Start::new(limit);
    while start.missing() > 0 {
        let Some(chunk) = members.chunk()? else { break };
        start.add(chunk);
    }
    Ok(start.bytes)
}

struct Start {
    bytes: Vec<u8>,
    limit: usize,
}

impl Start {
    fn new(limit: u64) -> Start {
        Start { bytes: Vec::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    fn missing(&self) -> usize {
        self.limit - self.bytes.len()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(self.missing())]);
    }
}

/// Returns bytes as text, with U+FFFD for those that are not UTF-8; `None` for bytes that are not text.
fn into_text(bytes: Vec<u8>) -> Option<String> {
    (!bytes.contains(&0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Sha256;

    #[test]
    fn the_cache_of_figures_is_limited_in_bytes() {
        let cache = figure_cache();
        let path = "a".repeat(MAX_PATH);
        let largest: Arc<[String]> = vec![path; MAX_FIGURES].into();
        let key = |number: u8| Key::Readme(Sha256([number; 32]));
        for number in 0..100 {
            cache.insert(key(number), Arc::clone(&largest));
        }
        let cached = (0..100).filter(|number| cache.get(&key(*number)).is_some()).count();
        let bytes = (cached * MAX_FIGURES * MAX_PATH) as u64;
        assert!(cached > 1 && bytes <= FIGURE_BYTES, "{cached} archives with {bytes} bytes");
    }

    #[test]
    fn only_the_bytes_of_raster_images_have_a_media_type() {
        for (bytes, expected) in [
            (b"\x89PNG\r\n\x1a\n\0".as_slice(), Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"GIF87a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", None),
            (b"<script>", None),
            (b"\x89PNG", None),
            (b"", None),
        ] {
            assert_eq!(image_type(bytes), expected, "{bytes:?}");
        }
    }
}
