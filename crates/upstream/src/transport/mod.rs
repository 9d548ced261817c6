//! Reads the bytes at a path below an address, such as a file of a mirror, over HTTP or from a directory: conditional
//! and resumable requests, retries, decompression. The callers define the meaning of a path.

pub mod address;
pub(super) mod client;
pub(super) mod decompress;
pub mod dir;
pub(super) mod download;
pub mod file;
pub(super) mod http;
pub mod page;
pub(super) mod post;
pub mod retry;

use std::path::Path;
use std::sync::Arc;

use ::http::HeaderMap;

use super::UpstreamError;
use address::Address;
use client::{HttpClient, Limits};
use dir::{DirTransport, InPlaceFile};
use file::{FilePart, FileRequest, FileResponse, FileStream, Validators};
use http::{ClientIdentity, HttpTransport};
use page::{PageRequest, PageResponse};

/// Access to the files below an address; cloning is cheap.
#[derive(Clone)]
pub struct Transport {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Http(Arc<HttpTransport>),
    Dir(DirTransport),
}

impl Transport {
    pub(super) fn new(address: Address, client: &Arc<HttpClient>) -> Transport {
        let backend = match address {
            Address::Http(url) => Backend::Http(Arc::new(HttpTransport::new(url, client.clone()))),
            Address::Dir(root) => Backend::Dir(DirTransport::new(root)),
        };
        Transport { backend }
    }

    /// Creates the access to the files of a mirror, whose directory may not be mounted.
    pub(super) fn of_mirror(address: Address, client: &Arc<HttpClient>) -> Transport {
        Transport::new(address.clone(), client).part_of(address)
    }

    /// Returns the same files as a part of the mirror at another address, or as that mirror.
    pub(super) fn part_of(self, whole: Address) -> Transport {
        match (self.backend, whole) {
            (Backend::Dir(dir), Address::Dir(mount)) => {
                Transport { backend: Backend::Dir(dir.part_of(mount)) }
            }
            (backend, _) => Transport { backend },
        }
    }

    /// Returns the key of per-host limits: `host:port`, or `file` for a directory.
    pub fn host(&self) -> &str {
        match &self.backend {
            Backend::Http(http) => http.host(),
            Backend::Dir(_) => "file",
        }
    }

    /// Returns the address for messages and keys, without user and password.
    pub fn address(&self) -> String {
        match &self.backend {
            Backend::Http(http) => http.display_url().to_owned(),
            Backend::Dir(dir) => format!("file://{}", dir.root().display()),
        }
    }

    pub fn directory(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Http(_) => None,
            Backend::Dir(dir) => Some(dir.root()),
        }
    }

    /// Returns the time limits of requests; those of HTTP do not apply to a directory.
    pub(super) fn limits(&self) -> Limits {
        match &self.backend {
            Backend::Http(http) => http.limits().clone(),
            Backend::Dir(_) => Limits::default(),
        }
    }

    /// Returns the same address with another client identity; `None` for a directory.
    pub(super) fn with_identity(&self, identity: ClientIdentity) -> Option<Transport> {
        match &self.backend {
            Backend::Http(http) => {
                Some(Transport { backend: Backend::Http(Arc::new(http.with_identity(identity))) })
            }
            Backend::Dir(_) => None,
        }
    }

    /// Checks that a directory can be read. An HTTP address always passes, because only a request would show an error.
    pub(super) async fn check(&self) -> Result<(), UpstreamError> {
        match &self.backend {
            Backend::Http(_) => Ok(()),
            Backend::Dir(dir) => dir.check().await,
        }
    }

    /// Sends a HEAD request and returns the headers; none for a directory. No retry.
    pub(super) async fn request_headers(&self, path: &str) -> Result<HeaderMap, UpstreamError> {
        match &self.backend {
            Backend::Http(http) => http.request_headers(path).await,
            Backend::Dir(_) => Ok(HeaderMap::new()),
        }
    }

    /// Reads a small file whole, with retries and back-off.
    ///
    /// # Errors
    /// The file is missing, too large, or all retries failed: see [`Limits`].
    pub async fn fetch(&self, request: FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        match &self.backend {
            Backend::Http(http) => http.fetch(&request).await,
            Backend::Dir(dir) => dir.fetch(&request).await,
        }
    }

    /// Requests a page, which a directory does not have.
    pub async fn page(&self, request: PageRequest<'_>) -> Result<PageResponse, UpstreamError> {
        match &self.backend {
            Backend::Http(http) => page::page(http, &request).await,
            Backend::Dir(_) => Err(UpstreamError::Missing(format!("{}/{}/", self.address(), request.path))),
        }
    }

    /// Opens a file. `resume` is the length and the validators of a part that was read before: the stream begins after
    /// this part if the file still has the validators (`Range` with `If-Range` over HTTP), otherwise at 0. No retry.
    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        match &self.backend {
            Backend::Http(http) => http.open(path, resume).await,
            Backend::Dir(dir) => dir.open(path, resume).await,
        }
    }

    /// Reads at most `length` bytes of a file from `offset` (`Range` over HTTP). If a server sends the whole file
    /// instead, reading ends after that part. No retry.
    pub(super) async fn read_part(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<FilePart, UpstreamError> {
        let file_stream = match &self.backend {
            Backend::Http(http) => http.range(path, offset, length).await?,
            // The stream begins at 0, because there are no validators to resume with; `read_part` skips bytes.
            Backend::Dir(dir) => dir.open(path, None).await?,
        };
        file_stream.read_part(offset, length).await
    }

    /// Opens a file of a directory to be read in place.
    pub(super) async fn open_in_place(&self, path: &str) -> Result<InPlaceFile, UpstreamError> {
        match &self.backend {
            Backend::Http(http) => {
                let (url, reason) = (http.display_url().to_owned(), "is not in a directory".to_owned());
                Err(UpstreamError::Refused { url, reason })
            }
            Backend::Dir(dir) => dir.open_in_place(path).await,
        }
    }
}
