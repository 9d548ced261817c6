//! A mirror in a directory (`file://`); files outside it are never read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::error::UpstreamError;
use super::mirror::{FileRequest, FileResponse, FileStream, InPlaceFile, Validators, segments};

/// Files that identify a directory as a bundle.
const MARKERS: [&str; 2] = ["v3/version.txt", "bioc/v4/version.txt"];
/// Maximum depth of a mirror's folders below a bundle: `packages/3.20/data/annotation`.
const SHOWN_DEPTH: usize = 5;

/// Bytes per read of a package file.
const CHUNK: usize = 256 * 1024;

/// A directory laid out as a mirror.
pub(super) struct DirMirror {
    root: Arc<Path>,
}

impl DirMirror {
    pub(super) fn new(root: PathBuf) -> DirMirror {
        DirMirror { root: root.into() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) async fn open_in_place(&self, path: &str) -> Result<InPlaceFile, UpstreamError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        blocking(move || {
            let LocalFile { path, file, metadata } = LocalFile::open(&root, &path)?;
            Ok(InPlaceFile { file, metadata, path })
        })
        .await
    }

    pub(super) async fn check(&self) -> Result<(), UpstreamError> {
        let root = self.root.clone();
        blocking(move || check(&root)).await
    }

    pub(super) async fn fetch(&self, fetch: &FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        let (root, path) = (self.root.clone(), fetch.path.to_owned());
        let (known, limit) = (fetch.known.clone(), fetch.limit);
        blocking(move || {
            let found = LocalFile::open(&root, &path)?;
            let validators = validators(&found.metadata);
            if known.is_some_and(|known| known.etag == validators.etag) {
                return Ok(FileResponse::Unchanged);
            }
            let bytes = found.read_whole(limit)?;
            Ok(FileResponse::Body { bytes, validators })
        })
        .await
    }

    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        blocking(move || {
            let mut found = LocalFile::open(&root, &path)?;
            let (size, validators) = (found.metadata.len(), validators(&found.metadata));
            let offset = match resume {
                Some((offset, known)) if known.etag == validators.etag && offset <= size => offset,
                Some(_) | None => 0,
            };
            found.file.seek(SeekFrom::Start(offset)).map_err(|e| found.error(&e))?;
            let rest = RemainingFile { source: found, left: size - offset };
            Ok(FileStream {
                size: Some(size),
                offset,
                validators,
                body: stream::unfold(Some(rest), next).boxed(),
            })
        })
        .await
    }
}

/// The unread rest of a file. The stream ends with an error if the file was truncated meanwhile.
struct RemainingFile {
    source: LocalFile,
    left: u64,
}

async fn next(rest: Option<RemainingFile>) -> Option<(Result<Bytes, UpstreamError>, Option<RemainingFile>)> {
    let mut rest = rest.filter(|rest| rest.left > 0)?;
    let chunk = blocking(move || {
        let want = usize::try_from(rest.left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; want];
        rest.source.file.read_exact(&mut chunk).map_err(|e| rest.source.error(&e))?;
        rest.left -= want as u64;
        Ok((Bytes::from(chunk), rest))
    });
    match chunk.await {
        Ok((bytes, rest)) => Some((Ok(bytes), Some(rest))),
        Err(error) => Some((Err(error), None)),
    }
}

/// An open regular file inside the mirror.
struct LocalFile {
    /// The requested path, for messages.
    path: PathBuf,
    file: File,
    metadata: Metadata,
}

impl LocalFile {
    fn open(root: &Path, relative: &str) -> Result<LocalFile, UpstreamError> {
        let mut path = root.to_owned();
        path.extend(segments(relative)?);
        let fail = |e: &io::Error| unreadable(&path, e);
        // Mirrors made by rsync hold links to old folder names. SECURITY: links may lead anywhere inside the mirror
        // and nowhere else.
        let real = path.canonicalize().map_err(|e| fail(&e))?;
        let inside = root.canonicalize().map_err(|e| fail(&e))?;
        if !real.starts_with(&inside) {
            return Err(refused(&path, "is a link that leads out of the mirror"));
        }
        // O_NONBLOCK: a FIFO must not block the thread; O_NOFOLLOW: the resolved path must not have become a link.
        let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let file = File::options().read(true).custom_flags(flags).open(&real).map_err(|e| fail(&e))?;
        let metadata = file.metadata().map_err(|e| fail(&e))?;
        if !metadata.is_file() {
            return Err(refused(&path, "is not a regular file"));
        }
        Ok(LocalFile { path, file, metadata })
    }

    fn read_whole(mut self, limit: u64) -> Result<Bytes, UpstreamError> {
        let size = self.metadata.len();
        if size > limit {
            return Err(refused(&self.path, &format!("has {size} bytes, more than the limit of {limit}")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        (&mut self.file).take(size + 1).read_to_end(&mut bytes).map_err(|e| self.error(&e))?;
        if bytes.len() as u64 != size {
            return Err(UpstreamError::Unavailable {
                url: self.path.display().to_string(),
                reason: "changed while it was read".to_owned(),
                retry_after: None,
            });
        }
        Ok(bytes.into())
    }

    fn error(&self, error: &io::Error) -> UpstreamError {
        unreadable(&self.path, error)
    }
}

/// Returns size, time and inode: rsync and `mv` change the inode, an edit in place the time.
fn validators(metadata: &Metadata) -> Validators {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    let etag = format!("{}-{seconds}.{nanos:09}-{}", metadata.len(), metadata.ino());
    Validators { etag: Some(etag), modified: None }
}

fn refused(path: &Path, reason: &str) -> UpstreamError {
    UpstreamError::Refused { url: path.display().to_string(), reason: reason.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> UpstreamError {
    let url = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => UpstreamError::Missing(url),
        io::ErrorKind::PermissionDenied => refused(
            path,
            "cannot be read by the user the server runs as; give it read access to the mirror and to the folders \
             above it",
        ),
        io::ErrorKind::UnexpectedEof => UpstreamError::Unavailable {
            url,
            reason: "was truncated while it was read".to_owned(),
            retry_after: None,
        },
        _ => UpstreamError::Unavailable { url, reason: error.to_string(), retry_after: None },
    }
}

fn check(root: &Path) -> Result<(), UpstreamError> {
    match std::fs::metadata(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let hidden = ["/home", "/root", "/run/user", "/tmp"].iter().any(|above| root.starts_with(above));
            return Err(refused(
                root,
                match hidden {
                    // The unit's ProtectHome= and PrivateTmp=.
                    true => {
                        "there is no such directory, or the sandbox of the service hides it: directories named in the \
                         configuration are visible after systemctl restart rstudio-pm"
                    }
                    false => "there is no such directory",
                },
            ));
        }
        Err(e) => return Err(unreadable(root, &e)),
        Ok(metadata) if !metadata.is_dir() => return Err(refused(root, "is not a directory")),
        Ok(_) => {}
    }
    let indexes = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];
    let mut denied = None;
    for index in indexes {
        match LocalFile::open(root, index) {
            Ok(_) => return Ok(()),
            Err(UpstreamError::Missing(_)) => {}
            Err(error) => denied = Some(error),
        }
    }
    if let Some(schema) = other_schema(root) {
        return Err(refused(
            root,
            &format!(
                "holds data of schema {schema} but this server reads v3 (CRAN) and bioc/v4 (Bioconductor): run \
                 rspm-offline-downloader of this version, and copy its output beside the old data"
            ),
        ));
    }
    Err(denied.unwrap_or_else(|| {
        refused(
            root,
            "is neither a CRAN-like mirror (looked for src/contrib/PACKAGES.gz, src/contrib/PACKAGES.rds and \
             src/contrib/PACKAGES) nor a bundle (looked for v3/version.txt)",
        )
    }))
}

/// Returns the bundle that contains a path, and the path inside it: a virtual folder of a mirror.
pub(super) fn bundle_around(path: &Path) -> Option<(PathBuf, String)> {
    // Each part of a bundle has a marker file.
    let is_bundle = |root: &Path| MARKERS.iter().any(|marker| root.join(marker).is_file());
    if is_bundle(path) {
        return Some((path.to_owned(), String::new()));
    }
    let mut around = path.ancestors().skip(1).take(SHOWN_DEPTH);
    let root = around.find(|root| path.strip_prefix(root).is_ok_and(|rest| rest.starts_with("packages")))?;
    let within = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    is_bundle(root).then(|| (root.to_owned(), within))
}

/// Returns the folder of data that another version wrote.
fn other_schema(root: &Path) -> Option<String> {
    let in_folder = |folder: &str| {
        let names = std::fs::read_dir(root.join(folder)).ok()?.flatten().map(|entry| entry.file_name());
        let is_schema = |name: &String| {
            name.strip_prefix('v')
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let newest = names.filter_map(|name| name.into_string().ok()).filter(is_schema).max()?;
        Some(if folder.is_empty() { newest } else { format!("{folder}/{newest}") })
    };
    in_folder("").or_else(|| in_folder("bioc"))
}

/// Runs file operations on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpstreamError> + Send + 'static,
) -> Result<T, UpstreamError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(UpstreamError::Unavailable {
            url: "mirror".to_owned(),
            reason: "the server is stopping".to_owned(),
            retry_after: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    fn mirror() -> (tempfile::TempDir, DirMirror) {
        let dir = tempfile::tempdir().expect("a folder");
        let contrib = dir.path().join("cran/src/contrib");
        std::fs::create_dir_all(&contrib).expect("folders");
        std::fs::write(contrib.join("PACKAGES"), "Package: a\nVersion: 1\n").expect("an index");
        let folder = DirMirror::new(dir.path().join("cran"));
        (dir, folder)
    }

    fn ask(path: &str, known: Option<Validators>) -> FileRequest<'_> {
        FileRequest { path, known, limit: 1000 }
    }

    #[tokio::test]
    async fn a_file_is_read_once_and_then_unchanged_until_it_is_replaced() {
        let (dir, folder) = mirror();
        let path = "src/contrib/PACKAGES";
        let Ok(FileResponse::Body { bytes, validators }) = folder.fetch(&ask(path, None)).await else {
            panic!("no body");
        };
        assert_eq!(&bytes[..], b"Package: a\nVersion: 1\n");
        let again = folder.fetch(&ask(path, Some(validators.clone()))).await;
        assert!(matches!(again, Ok(FileResponse::Unchanged)));
        std::fs::write(dir.path().join("new"), "Package: b\nVersion: 1\n").expect("written");
        std::fs::rename(dir.path().join("new"), dir.path().join("cran").join(path)).expect("replaced");
        assert!(matches!(folder.fetch(&ask(path, Some(validators))).await, Ok(FileResponse::Body { .. })));
    }

    #[tokio::test]
    async fn links_stay_inside_the_mirror() {
        let (dir, folder) = mirror();
        let contrib = dir.path().join("cran/src/contrib");
        std::fs::write(dir.path().join("secret"), "canary").expect("written");
        std::os::unix::fs::symlink("PACKAGES", contrib.join("inside")).expect("a link");
        std::os::unix::fs::symlink(dir.path().join("secret"), contrib.join("outside")).expect("a link");
        std::os::unix::fs::symlink(dir.path(), contrib.join("up")).expect("a link");
        assert!(folder.open("src/contrib/inside", None).await.is_ok());
        for out in ["src/contrib/outside", "src/contrib/up/secret", "../secret", "src/contrib"] {
            assert!(matches!(folder.open(out, None).await, Err(UpstreamError::Refused { .. })), "{out}");
        }
    }

    #[tokio::test]
    async fn a_file_is_resumed_only_if_it_is_unchanged() {
        let (dir, folder) = mirror();
        let path = "src/contrib/PACKAGES";
        let first = folder.open(path, None).await.expect("open");
        let resumed = folder.open(path, Some((9, first.validators.clone()))).await.expect("open");
        assert_eq!((resumed.offset, resumed.size), (9, Some(22)));
        let rest: Vec<Bytes> = resumed.body.try_collect().await.expect("read");
        assert_eq!(rest.concat(), b"a\nVersion: 1\n");
        std::fs::write(dir.path().join("cran").join(path), "longer than before, and other bytes").expect("w");
        let restarted = folder.open(path, Some((9, first.validators))).await.expect("open");
        assert_eq!(restarted.offset, 0);
    }

    #[tokio::test]
    async fn a_file_over_the_limit_is_refused() {
        let (_dir, folder) = mirror();
        let fetch = FileRequest { path: "src/contrib/PACKAGES", known: None, limit: 21 };
        let error = folder.fetch(&fetch).await.expect_err("too large").to_string();
        assert!(error.contains("22 bytes"), "{error}");
    }

    #[tokio::test]
    async fn an_invalid_mirror_is_reported() {
        let (dir, folder) = mirror();
        assert!(folder.check().await.is_ok());
        let empty = DirMirror::new(dir.path().to_owned()).check().await.expect_err("no mirror").to_string();
        assert!(empty.contains("src/contrib/PACKAGES.gz") && empty.contains("v3/version.txt"), "{empty}");
        std::fs::create_dir(dir.path().join("v2")).expect("a folder");
        let old = DirMirror::new(dir.path().to_owned()).check().await.expect_err("old").to_string();
        assert!(
            old.contains("schema v2") && old.contains("v3") && old.contains("rspm-offline-downloader"),
            "{old}"
        );
        let none = DirMirror::new(dir.path().join("none")).check().await.expect_err("nothing").to_string();
        assert!(none.contains("no such directory"), "{none}");
    }
}
