//! One CRAN-like mirror: small files whole and conditionally, package files as a resumable stream.

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::error::UpstreamError;

/// What is remembered of an earlier answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, or for files a text of size, time and inode.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// Relative to the mirror's root: `src/contrib/PACKAGES.gz`.
    pub path: &'a str,
    /// Ask conditionally.
    pub known: Option<Validators>,
    /// Refuse anything larger, in bytes.
    pub limit: u64,
}

/// The answer to a conditional request.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// 304, or the file did not change.
    Unchanged,
    /// The whole body.
    Body {
        /// The bytes.
        bytes: Bytes,
        /// For the next time.
        validators: Validators,
    },
}

/// A package file being read.
pub struct Opened {
    /// Size of the whole file where the mirror tells it.
    pub size: Option<u64>,
    /// Where the stream begins: what was asked for, or 0 when the mirror would not resume.
    pub offset: u64,
    /// For resuming this very file.
    pub validators: Validators,
    /// The bytes from `offset` on.
    pub body: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

/// A CRAN-like mirror.
#[derive(Clone)]
pub struct Mirror {}

impl Mirror {
    /// Reads a small file whole, with retries and back-off.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, UpstreamError> {
        let _ = fetch;
        todo!()
    }

    /// Opens a package file at `offset` (`Range` with `If-Range` over HTTP). One try: the flight decides about more.
    pub async fn open(&self, path: &str, resume: Option<(u64, Validators)>) -> Result<Opened, UpstreamError> {
        let _ = (path, resume);
        todo!()
    }
}
