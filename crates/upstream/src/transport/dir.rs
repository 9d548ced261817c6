//! Reads files of a directory (`file://`); files outside it are never read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::file::{FileRequest, FileResponse, FileStream, Validators, segments};
use crate::UpstreamError;

/// Bytes per read of a package file.
const CHUNK: usize = 256 * 1024;

#[derive(Clone)]
pub(super) struct DirTransport {
    root: Arc<Path>,
    /// The mirror's directory above this one. While absent or empty, perhaps not mounted, it says nothing about files.
    mount: Option<Arc<Path>>,
}

impl DirTransport {
    pub(super) fn new(root: PathBuf) -> DirTransport {
        DirTransport { root: root.into(), mount: None }
    }

    /// Returns the same directory as a part of the mirror in `mount`, or as that mirror.
    pub(super) fn part_of(self, mount: PathBuf) -> DirTransport {
        DirTransport { mount: Some(mount.into()), ..self }
    }

    fn missing(&self, path: &Path) -> UpstreamError {
        let unavailable = |mount: &Path, reason: String| UpstreamError::Unavailable {
            url: mount.display().to_string(),
            reason,
            retry_after: None,
            is_of_mirror: true,
        };
        let missing = UpstreamError::Missing(path.display().to_string());
        let Some(mount) = &self.mount else { return missing };
        // A new file system contains the folder `lost+found`.
        let is_content =
            |entry: io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != "lost+found");
        match std::fs::read_dir(mount).map(|mut entries| !entries.any(is_content)) {
            Ok(false) => missing,
            Ok(true) => {
                let file = path.strip_prefix(mount).unwrap_or(path).display();
                unavailable(mount, format!("is an empty directory; it may not be mounted; looked for {file}"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                unavailable(mount, absent(mount).to_owned())
            }
            Err(error) => unavailable(mount, format!("the directory of the mirror cannot be read: {error}")),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) async fn open_in_place(&self, path: &str) -> Result<InPlaceFile, UpstreamError> {
        let (directory, path) = (self.clone(), path.to_owned());
        blocking(move || InPlaceFile::open(&directory, &path)).await
    }

    pub(super) async fn check(&self) -> Result<(), UpstreamError> {
        let root = self.root.clone();
        blocking(move || check(&root)).await
    }

    pub(super) async fn fetch(&self, request: &FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        let (directory, path) = (self.clone(), request.path.to_owned());
        let (known_validators, limit) = (request.validators.clone(), request.limit);
        blocking(move || {
            let open_file = InPlaceFile::open(&directory, &path)?;
            let validators = validators(&open_file.metadata);
            if known_validators.is_some_and(|known_validators| known_validators.etag == validators.etag) {
                return Ok(FileResponse::Unchanged);
            }
            let bytes = open_file.read_whole(limit)?;
            Ok(FileResponse::Body { bytes, validators })
        })
        .await
    }

    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        let (directory, path) = (self.clone(), path.to_owned());
        blocking(move || {
            let mut open_file = InPlaceFile::open(&directory, &path)?;
            let (size, validators) = (open_file.metadata.len(), validators(&open_file.metadata));
            let offset = match resume {
                Some((offset, known_validators))
                    if known_validators.etag == validators.etag && offset <= size =>
                {
                    offset
                }
                Some(_) | None => 0,
            };
            open_file.file.seek(SeekFrom::Start(offset)).map_err(|e| open_file.error(&e))?;
            let rest = RemainingFile { source: open_file, remaining: size - offset };
            Ok(FileStream {
                size: Some(size),
                offset,
                validators,
                body: stream::unfold(Some(rest), next_chunk).boxed(),
            })
        })
        .await
    }
}

/// The unread rest of a file. The stream ends with an error if the file was truncated meanwhile.
struct RemainingFile {
    source: InPlaceFile,
    remaining: u64,
}

async fn next_chunk(
    rest: Option<RemainingFile>,
) -> Option<(Result<Bytes, UpstreamError>, Option<RemainingFile>)> {
    let mut rest = rest.filter(|rest| rest.remaining > 0)?;
    let chunk = blocking(move || {
        let length = usize::try_from(rest.remaining).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; length];
        rest.source.file.read_exact(&mut chunk).map_err(|e| rest.source.error(&e))?;
        rest.remaining -= length as u64;
        Ok((Bytes::from(chunk), rest))
    });
    match chunk.await {
        Ok((bytes, rest)) => Some((Ok(bytes), Some(rest))),
        Err(error) => Some((Err(error), None)),
    }
}

/// An open regular file of the directory.
pub struct InPlaceFile {
    pub file: File,
    /// Metadata at the time it was opened.
    pub metadata: Metadata,
    /// The requested path, for messages.
    pub path: PathBuf,
}

impl InPlaceFile {
    fn open(directory: &DirTransport, relative: &str) -> Result<InPlaceFile, UpstreamError> {
        let root = &*directory.root;
        let mut path = root.to_owned();
        path.extend(segments(relative)?);
        let read_error = |e: &io::Error| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => directory.missing(&path),
            _ => unreadable(&path, e),
        };
        // Mirrors made by rsync link old names of folders. SECURITY: links may lead anywhere inside the mirror only.
        let canonical_path = path.canonicalize().map_err(|e| read_error(&e))?;
        let canonical_root = root.canonicalize().map_err(|e| read_error(&e))?;
        if !canonical_path.starts_with(&canonical_root) {
            return Err(refusal(&path, "is a link that leads out of the mirror"));
        }
        // O_NONBLOCK: a FIFO must not block the thread; O_NOFOLLOW: the resolved path must not have become a link.
        let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(&canonical_path)
            .map_err(|e| read_error(&e))?;
        let metadata = file.metadata().map_err(|e| read_error(&e))?;
        if !metadata.is_file() {
            return Err(refusal(&path, "is not a regular file"));
        }
        Ok(InPlaceFile { path, file, metadata })
    }

    fn read_whole(mut self, limit: u64) -> Result<Bytes, UpstreamError> {
        let size = self.metadata.len();
        if size > limit {
            return Err(refusal(&self.path, &format!("has {size} bytes, more than the limit of {limit}")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        (&mut self.file).take(size + 1).read_to_end(&mut bytes).map_err(|e| self.error(&e))?;
        if bytes.len() as u64 != size {
            return Err(UpstreamError::Unavailable {
                url: self.path.display().to_string(),
                reason: "changed while it was read".to_owned(),
                retry_after: None,
                is_of_mirror: false,
            });
        }
        Ok(bytes.into())
    }

    fn error(&self, error: &io::Error) -> UpstreamError {
        unreadable(&self.path, error)
    }
}

/// Returns size, time and inode as validators: rsync and `mv` change the inode, an edit in place the time.
fn validators(metadata: &Metadata) -> Validators {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    let etag = format!("{}-{seconds}.{nanos:09}-{}", metadata.len(), metadata.ino());
    Validators { etag: Some(etag), modified: None }
}

fn refusal(path: &Path, reason: &str) -> UpstreamError {
    UpstreamError::Refused { url: path.display().to_string(), reason: reason.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> UpstreamError {
    let url = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => UpstreamError::Missing(url),
        io::ErrorKind::PermissionDenied => refusal(
            path,
            "cannot be read by the user the server runs as; give it read access to the mirror and to the folders \
             above it",
        ),
        io::ErrorKind::UnexpectedEof => UpstreamError::Unavailable {
            url,
            reason: "was truncated while it was read".to_owned(),
            retry_after: None,
            is_of_mirror: false,
        },
        _ => UpstreamError::Unavailable {
            url,
            reason: error.to_string(),
            retry_after: None,
            is_of_mirror: false,
        },
    }
}

fn check(root: &Path) -> Result<(), UpstreamError> {
    let reason = match std::fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "is not a directory",
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unreadable(root, &e)),
        Err(_) => absent(root),
    };
    Err(refusal(root, reason))
}

fn absent(root: &Path) -> &'static str {
    // ProtectHome= and PrivateTmp= of the service unit hide these directories.
    if ["/home", "/root", "/run/user", "/tmp"].iter().any(|hidden_root| root.starts_with(hidden_root)) {
        "there is no such directory, or the sandbox of the service hides it: directories named in the configuration are \
         visible after systemctl restart rstudio-pm"
    } else {
        "there is no such directory"
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpstreamError> + Send + 'static,
) -> Result<T, UpstreamError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(UpstreamError::Unavailable {
            url: "mirror".to_owned(),
            reason: "the server is stopping".to_owned(),
            retry_after: None,
            is_of_mirror: false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    fn mirror() -> (tempfile::TempDir, DirTransport) {
        let dir = tempfile::tempdir().expect("a folder");
        let contrib = dir.path().join("cran/src/contrib");
        std::fs::create_dir_all(&contrib).expect("folders");
        std::fs::write(contrib.join("PACKAGES"), "Package: a\nVersion: 1\n").expect("an index");
        let folder = DirTransport::new(dir.path().join("cran"));
        (dir, folder)
    }

    fn request(path: &str, known_validators: Option<Validators>) -> FileRequest<'_> {
        FileRequest { path, validators: known_validators, limit: 1000 }
    }

    #[tokio::test]
    async fn a_file_is_read_once_and_then_unchanged_until_it_is_replaced() {
        let (dir, folder) = mirror();
        let path = "src/contrib/PACKAGES";
        let Ok(FileResponse::Body { bytes, validators }) = folder.fetch(&request(path, None)).await else {
            panic!("no body");
        };
        assert_eq!(&bytes[..], b"Package: a\nVersion: 1\n");
        let response = folder.fetch(&request(path, Some(validators.clone()))).await;
        assert!(matches!(response, Ok(FileResponse::Unchanged)));
        std::fs::write(dir.path().join("new"), "Package: b\nVersion: 1\n").expect("written");
        std::fs::rename(dir.path().join("new"), dir.path().join("cran").join(path)).expect("replaced");
        assert!(matches!(
            folder.fetch(&request(path, Some(validators))).await,
            Ok(FileResponse::Body { .. })
        ));
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
        for outside_path in ["src/contrib/outside", "src/contrib/up/secret", "../secret", "src/contrib"] {
            assert!(
                matches!(folder.open(outside_path, None).await, Err(UpstreamError::Refused { .. })),
                "{outside_path}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_is_resumed_only_if_it_is_unchanged() {
        let (dir, folder) = mirror();
        let path = "src/contrib/PACKAGES";
        let stream = folder.open(path, None).await.expect("open");
        let resumed_stream = folder.open(path, Some((9, stream.validators.clone()))).await.expect("open");
        assert_eq!((resumed_stream.offset, resumed_stream.size), (9, Some(22)));
        let rest: Vec<Bytes> = resumed_stream.body.try_collect().await.expect("read");
        assert_eq!(rest.concat(), b"a\nVersion: 1\n");
        std::fs::write(dir.path().join("cran").join(path), "longer than before, and other bytes").expect("w");
        let restarted_stream = folder.open(path, Some((9, stream.validators))).await.expect("open");
        assert_eq!(restarted_stream.offset, 0);
    }

    #[tokio::test]
    async fn a_file_over_the_limit_is_refused() {
        let (_dir, folder) = mirror();
        let fetch = FileRequest { path: "src/contrib/PACKAGES", validators: None, limit: 21 };
        let error = folder.fetch(&fetch).await.expect_err("too large").to_string();
        assert!(error.contains("22 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let (dir, folder) = mirror();
        assert!(folder.check().await.is_ok());
        let error =
            DirTransport::new(dir.path().join("none")).check().await.expect_err("nothing").to_string();
        assert!(error.contains("no such directory"), "{error}");
    }
}
