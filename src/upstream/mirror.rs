//! A CRAN-like mirror: small files are fetched whole and conditionally, package files as a resumable stream.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::HeaderMap;

use super::bundle::BundleError;
use super::bundle_cache::BundleCache;
use super::bundle_mirror::BundleMirror;
use super::dir_mirror::{self, DirMirror};
use super::error::UpstreamError;
use super::http_client::HttpClient;
use super::http_mirror::{ClientIdentity, HttpMirror};
use super::mirror_view::MirrorView;
use super::probe::{self, Probe};
use crate::bundle::{Head, Product};
use crate::model::digest::Sha256;
use crate::r::layout::RMinor;
use crate::r::platform::Arch;

/// The validators of an earlier response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, or for a file a text of size, time and inode.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// A request for a small file.
#[derive(Clone, Debug)]
pub struct FileRequest<'a> {
    /// Path relative to the mirror's root: `src/contrib/PACKAGES.gz`.
    pub path: &'a str,
    /// Validators for a conditional request.
    pub known: Option<Validators>,
    /// Size limit in bytes; a larger file is refused.
    pub limit: u64,
}

/// The result of a conditional request.
#[derive(Clone, Debug)]
pub enum FileResponse {
    /// 304, or the file did not change.
    Unchanged,
    /// The whole body.
    Body {
        /// The bytes.
        bytes: Bytes,
        /// Validators for the next request.
        validators: Validators,
    },
}

/// A package file being read.
pub struct FileStream {
    /// Size of the whole file, if the mirror declares it.
    pub size: Option<u64>,
    /// Offset of the stream: the requested one, or 0 if the mirror did not resume.
    pub offset: u64,
    /// Validators to resume this file.
    pub validators: Validators,
    /// The bytes from `offset` on.
    pub body: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

/// A part of a package file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The bytes from the requested offset.
    pub bytes: Bytes,
    /// Size of the whole file, if the mirror declares it.
    pub size: Option<u64>,
    /// Whether the file ends with these bytes.
    pub is_last: bool,
}

/// An open file of a directory, to be served in place.
pub struct InPlaceFile {
    /// The file.
    pub file: File,
    /// Metadata at the time it was opened.
    pub metadata: Metadata,
    /// Its path, for messages.
    pub path: PathBuf,
}

/// A CRAN-like mirror; cloning is cheap.
#[derive(Clone)]
pub struct Mirror {
    backend: Arc<MirrorBackend>,
}

enum MirrorBackend {
    /// Over HTTP: a mirror, or the files of a bundle.
    Http(HttpMirror),
    /// Over HTTP, not yet known whether a mirror or a bundle.
    HttpOrBundle(HttpMirror, Box<Probe>),
    Dir(DirMirror),
    Bundle(BundleMirror),
}

impl Mirror {
    pub(super) fn at(
        written: &str,
        web: &Arc<HttpClient>,
        recalled: &Arc<BundleCache>,
    ) -> Result<Mirror, UpstreamError> {
        let refused = |reason: &str| UpstreamError::Refused {
            url: redacted(written),
            reason: format!(
                "{reason}; a mirror is an address that begins with https://, http:// or file:///"
            ),
        };
        let url = url::Url::parse(written.trim()).map_err(|e| refused(&format!("is not a URL ({e})")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("has a query or a fragment"));
        }
        let place = match url.scheme() {
            "http" | "https" => {
                let (root, within) = probe::root(url.as_str().trim_end_matches('/'));
                let root = url::Url::parse(root).map_err(|e| refused(&format!("is not a URL ({e})")))?;
                let files =
                    Mirror { backend: Arc::new(MirrorBackend::Http(HttpMirror::new(root, web.clone()))) };
                let behind = Box::new(Probe::new(files, within, recalled));
                MirrorBackend::HttpOrBundle(HttpMirror::new(url, web.clone()), behind)
            }
            "file" => {
                let root = url.to_file_path().map_err(|()| refused("names another host"))?;
                match dir_mirror::bundle_around(&root) {
                    Some((bundle, within)) => {
                        let files = Mirror { backend: Arc::new(MirrorBackend::Dir(DirMirror::new(bundle))) };
                        MirrorBackend::Bundle(BundleMirror::new(files, &within, Arc::clone(recalled)))
                    }
                    None => MirrorBackend::Dir(DirMirror::new(root)),
                }
            }
            _ => return Err(refused("has another scheme")),
        };
        Ok(Mirror { backend: Arc::new(place) })
    }

    /// Returns the key of per-host limits: `host:port`, or `file` for a directory.
    #[must_use]
    pub fn host(&self) -> &str {
        match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => remote.host(),
            MirrorBackend::Dir(_) | MirrorBackend::Bundle(_) => "file",
        }
    }

    /// Returns the address for messages and keys: without user, password and trailing slash.
    #[must_use]
    pub fn address(&self) -> String {
        match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => {
                remote.display_url().to_owned()
            }
            MirrorBackend::Dir(folder) => format!("file://{}", folder.root().display()),
            MirrorBackend::Bundle(bundle) => bundle.address(),
        }
    }

    /// Returns the directory of a `file://` mirror.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::HttpOrBundle(..) => None,
            MirrorBackend::Dir(folder) => Some(folder.root()),
            MirrorBackend::Bundle(bundle) => bundle.files().directory(),
        }
    }

    /// Returns whether it is a bundle, whose package files are named by digest. For an HTTP address this is known only
    /// after its index was requested.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        self.bundle().is_some()
    }

    fn bundle(&self) -> Option<&BundleMirror> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::Dir(_) => None,
            MirrorBackend::HttpOrBundle(_, behind) => behind.bundle(),
            MirrorBackend::Bundle(bundle) => Some(bundle),
        }
    }

    /// Returns the contents of a bundle below `src/contrib` of this mirror; `None` if it is not a bundle.
    ///
    /// # Errors
    /// The bundle is missing, incomplete, or of another version.
    pub async fn view(&self) -> Result<Option<Arc<MirrorView>>, UpstreamError> {
        match self.bundle() {
            None => Ok(None),
            Some(bundle) => bundle.view().await,
        }
    }

    /// Returns the heads of all products of a bundle in a directory, CRAN first; empty if it is not one.
    pub async fn heads(&self) -> Vec<(Product, Result<Head, BundleError>)> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::HttpOrBundle(..) | MirrorBackend::Dir(_) => Vec::new(),
            MirrorBackend::Bundle(bundle) => bundle.heads().await,
        }
    }

    /// Returns the README of a package file of a bundle, by the digest of the file; `None` if it has none, or this is
    /// not a bundle. The first call for a product reads its records, which takes a second of CPU for all of CRAN.
    ///
    /// # Errors
    /// The bundle is incomplete.
    pub async fn readme(&self, product: &Product, file: Sha256) -> Result<Option<String>, BundleError> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::HttpOrBundle(..) | MirrorBackend::Dir(_) => Ok(None),
            MirrorBackend::Bundle(bundle) => bundle.readme(product, file).await,
        }
    }

    /// Returns the path in a bundle of the package file with this digest and name; `None` if it is not a bundle. An
    /// unprobed HTTP address may be one.
    #[must_use]
    pub fn object(&self, product: &Product, sha256: Sha256, name: &str) -> Option<String> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::Dir(_) => None,
            MirrorBackend::HttpOrBundle(..) | MirrorBackend::Bundle(_) => {
                Some(product.object_path(sha256, super::bundle_mirror::extension(name)?))
            }
        }
    }

    /// Opens a file of a directory to be read in place.
    ///
    /// # Errors
    /// As [`Mirror::open`]; a mirror over HTTP has no files to open.
    pub async fn open_in_place(&self, path: &str) -> Result<InPlaceFile, UpstreamError> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::HttpOrBundle(..) => {
                let reason = "is not in a directory".to_owned();
                Err(UpstreamError::Refused { url: self.address(), reason })
            }
            MirrorBackend::Dir(folder) => folder.open_in_place(path).await,
            MirrorBackend::Bundle(bundle) => Box::pin(bundle.files().open_in_place(path)).await,
        }
    }

    /// Checks whether a directory is a mirror; the error names the paths that were tried. A mirror over HTTP always
    /// passes: only its first file can tell.
    pub async fn check(&self) -> Result<(), UpstreamError> {
        match &*self.backend {
            MirrorBackend::Http(_) | MirrorBackend::HttpOrBundle(..) => Ok(()),
            MirrorBackend::Dir(folder) => folder.check().await,
            // Each product has a head, which is checked when it is read.
            MirrorBackend::Bundle(_) => Ok(()),
        }
    }

    /// Returns the same mirror with the `User-Agent` and query of R of that minor version on Linux on that processor:
    /// below `__linux__` a server chooses the binary by them.
    ///
    /// # Errors
    /// A directory cannot choose by client.
    pub fn as_r_on_linux(&self, r: RMinor, arch: Arch) -> Result<Mirror, UpstreamError> {
        let (MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _)) = &*self.backend else {
            let reason = "is a directory, and cannot choose between binaries and sources".to_owned();
            return Err(UpstreamError::Refused { url: self.address(), reason });
        };
        let (triplet, processor) = match arch {
            Arch::X86_64 => ("x86_64-pc-linux-gnu", "x86_64"),
            Arch::Arm64 => ("aarch64-unknown-linux-gnu", "aarch64"),
        };
        let guise = ClientIdentity {
            agent: format!("R/{r}.0 R ({r}.0 {triplet} {processor} linux-gnu)"),
            query: format!("r_version={r}&arch={arch}"),
        };
        Ok(Mirror { backend: Arc::new(MirrorBackend::Http(remote.with_identity(guise))) })
    }

    /// Sends a HEAD request and returns the headers. No retry.
    ///
    /// # Errors
    /// As [`Mirror::open`]; a directory has no headers.
    pub async fn head(&self, path: &str) -> Result<HeaderMap, UpstreamError> {
        match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => remote.head(path).await,
            MirrorBackend::Dir(_) | MirrorBackend::Bundle(_) => Ok(HeaderMap::new()),
        }
    }

    /// Returns the time limits of requests; none for a directory.
    pub(super) fn http_limits(&self) -> Option<&super::Limits> {
        match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => Some(remote.limits()),
            MirrorBackend::Dir(_) | MirrorBackend::Bundle(_) => None,
        }
    }

    /// Reads a small file whole, with retries and back-off.
    pub async fn fetch(&self, fetch: FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        match &*self.backend {
            MirrorBackend::Http(remote) => remote.fetch(&fetch).await,
            MirrorBackend::HttpOrBundle(remote, behind) => Box::pin(behind.fetch(remote, &fetch)).await,
            MirrorBackend::Dir(folder) => folder.fetch(&fetch).await,
            MirrorBackend::Bundle(bundle) => Box::pin(bundle.fetch(&fetch)).await,
        }
    }

    /// Reads at most `length` bytes of a package file from `offset` (`Range` over HTTP). A server that sends the whole
    /// file instead is read up to there. No retry.
    ///
    /// # Errors
    /// As [`Mirror::open`].
    pub async fn read_part(&self, path: &str, offset: u64, length: u64) -> Result<FilePart, UpstreamError> {
        if let Some(bundle) = self.bundle() {
            let path = bundle.locate(path).await?;
            return Box::pin(bundle.files().read_part(&path, offset, length)).await;
        }
        let opened = match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => {
                remote.range(path, offset, length).await?
            }
            // From its start: there are no validators to resume with.
            MirrorBackend::Dir(folder) => folder.open(path, None).await?,
            MirrorBackend::Bundle(bundle) => Box::pin(bundle.files().open(path, None)).await?,
        };
        opened.read_part(offset, length).await
    }

    /// Opens a package file at `offset` (`Range` with `If-Range` over HTTP). No retry: the fetch decides about more
    /// attempts.
    pub async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        if let Some(bundle) = self.bundle() {
            let path = bundle.locate(path).await?;
            return Box::pin(bundle.files().open(&path, resume)).await;
        }
        match &*self.backend {
            MirrorBackend::Http(remote) | MirrorBackend::HttpOrBundle(remote, _) => {
                remote.open(path, resume).await
            }
            MirrorBackend::Dir(folder) => folder.open(path, resume).await,
            MirrorBackend::Bundle(bundle) => Box::pin(bundle.files().open(path, resume)).await,
        }
    }
}

impl FileStream {
    /// Reads at most `length` bytes from `offset`, and drops the rest of the stream.
    async fn read_part(self, offset: u64, length: u64) -> Result<FilePart, UpstreamError> {
        let FileStream { size, offset: mut at, mut body, .. } = self;
        let end = offset.saturating_add(length);
        let mut bytes = BytesMut::new();
        while at < end {
            let Some(chunk) = body.next().await else { break };
            let chunk = chunk?;
            let first = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(chunk.len());
            let last = usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len());
            bytes.extend_from_slice(&chunk[first..last]);
            at += chunk.len() as u64;
        }
        // A body that ended early is the end of the file; one of exactly this length only if the size says so.
        let is_last = at < end || size.is_some_and(|size| end >= size);
        Ok(FilePart { bytes: bytes.freeze(), size, is_last })
    }
}

/// Splits a path relative to the mirror into segments, all of them plain names.
pub(super) fn segments(path: &str) -> Result<Vec<&str>, UpstreamError> {
    let plain = |segment: &&str| {
        !matches!(*segment, "" | "." | "..") && !segment.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'\\')
    };
    let segments: Vec<&str> = path.split('/').collect();
    if path.len() <= 2048 && segments.iter().all(plain) {
        return Ok(segments);
    }
    Err(UpstreamError::Refused {
        url: path.chars().take(200).collect::<String>().escape_debug().to_string(),
        reason: "is not a plain path inside a mirror".to_owned(),
    })
}

/// Returns a URL for messages. SECURITY: without user name and password.
fn redacted(written: &str) -> String {
    let written: String = written.chars().take(300).collect();
    match written.split_once("://") {
        None => written,
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            match authority.rfind('@') {
                None => written,
                Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    #[test]
    fn only_plain_paths_are_requested() {
        for good in ["src/contrib/PACKAGES", "src/contrib/Archive/a.b/a.b_1.0-2.tar.gz", "a b"] {
            assert!(segments(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/etc/passwd", "a//b", "../a", "a/..", "a/./b", "a\0b", "a\\b", "a\nb", &"a/".repeat(2000)]
        {
            assert!(segments(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_mirror_is_https_http_or_file() {
        let upstream = Upstream::new(&crate::config::Proxy::default()).expect("no proxy");
        for good in ["https://cran.example.org", "http://h:8080/cran/", "file:///srv/cran"] {
            assert!(upstream.mirror(good).is_ok(), "{good}");
        }
        for bad in
            ["ftp://me:secret@h/", "/srv/cran", "", "https://me:secret@h/?q=1", "file://me:secret@host/x"]
        {
            let error = upstream.mirror(bad).err().map(|e| e.to_string()).expect(bad);
            assert!(!error.contains("secret") && error.contains("https://"), "{error}");
        }
    }

    #[test]
    fn messages_contain_no_userinfo() {
        assert_eq!(redacted("https://u:p@h/x"), "https://h/x");
        assert_eq!(redacted("https://u:p@ss@h"), "https://h");
        assert_eq!(redacted("https://h/x@y"), "https://h/x@y");
    }
}
