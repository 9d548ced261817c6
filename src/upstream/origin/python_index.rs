//! An index of Python packages: the simple repository API of a server, or the directory of a static mirror.

use std::time::Duration;

use url::Url;

use crate::upstream::error::UpstreamError;
use crate::upstream::transport::Transport;
use crate::upstream::transport::file::{FileRequest, FileResponse, Validators};
use crate::upstream::transport::page::{Page, PageAge, PageRequest, PageResponse};

/// The files of a page in a static mirror, in order of preference.
const FILES: [(&str, &str); 3] = [
    ("index.v1_json", "application/vnd.pypi.simple.v1+json"),
    ("index.v1_html", "application/vnd.pypi.simple.v1+html"),
    ("index.html", "text/html"),
];

/// Maximum size of a page as sent, in bytes.
const MAX_PAGE: u64 = 64 << 20;
/// Maximum size of the list of projects as sent, in bytes; PyPI's has 45 MB, a quarter of it compressed.
const MAX_ROOT: u64 = 256 << 20;
/// Maximum duration of a request for a page, for which a client waits.
const PAGE_TIMEOUT: Duration = Duration::from_secs(40);
/// Maximum duration of a request for the list of projects.
const ROOT_TIMEOUT: Duration = Duration::from_secs(600);

/// An index; cloning is cheap.
#[derive(Clone)]
pub struct PythonIndex {
    transport: Transport,
}

impl PythonIndex {
    /// The index whose pages are below `simple/` of an address.
    pub(in crate::upstream) fn at(transport: Transport) -> PythonIndex {
        PythonIndex { transport }
    }

    /// Returns the address for messages and keys: without user, password and trailing slash.
    #[must_use]
    pub fn address(&self) -> String {
        self.transport.address()
    }

    /// Requests the list of projects; `accept` are the media types that the client can read.
    ///
    /// # Errors
    /// The index has none, or does not answer after all retries.
    pub async fn root(&self, accept: &'static str) -> Result<Page, UpstreamError> {
        let request = PageRequest {
            path: "simple",
            accept,
            etag: None,
            limit: MAX_ROOT,
            retries: true,
            timeout: ROOT_TIMEOUT,
        };
        match self.get(request).await? {
            PageResponse::Page(page) => Ok(*page),
            PageResponse::Unchanged(_) => Err(UpstreamError::Refused {
                url: format!("{}/simple/", self.address()),
                reason: "answered an unconditional request with 'not modified'".to_owned(),
            }),
        }
    }

    /// Requests the page of a project, by its normal name; conditionally if there is the `ETag` of an earlier response.
    /// No retry: a client waits.
    ///
    /// # Errors
    /// The index does not have the page, or does not answer.
    pub async fn project(
        &self,
        project: &str,
        accept: &'static str,
        etag: Option<&str>,
    ) -> Result<PageResponse, UpstreamError> {
        let path = format!("simple/{project}");
        let (limit, timeout) = (MAX_PAGE, PAGE_TIMEOUT);
        self.get(PageRequest { path: &path, accept, etag, limit, retries: false, timeout }).await
    }

    async fn get(&self, request: PageRequest<'_>) -> Result<PageResponse, UpstreamError> {
        if self.transport.directory().is_none() {
            return self.transport.page(request).await;
        }
        let mut missing = None;
        for (name, media_type) in FILES {
            let path = format!("{}/{name}", request.path);
            let validators = request.etag.and_then(|etag| etag.strip_prefix(name)?.strip_prefix(' '));
            let validators =
                validators.map(|etag| Validators { etag: Some(etag.to_owned()), modified: None });
            let file_request = FileRequest { path: &path, validators, limit: request.limit };
            match self.transport.fetch(file_request).await {
                Ok(FileResponse::Unchanged) => return Ok(PageResponse::Unchanged(PageAge::default())),
                Ok(FileResponse::Body { bytes, validators }) => {
                    let etag = validators.etag.map(|etag| format!("{name} {etag}"));
                    let page = Page::of_file(bytes, media_type, etag, self.file_url(&path)?);
                    return Ok(PageResponse::Page(Box::new(page)));
                }
                Err(UpstreamError::Missing(file)) => missing = Some(file),
                Err(error) => return Err(error),
            }
        }
        Err(UpstreamError::Missing(missing.unwrap_or_default()))
    }

    /// The address of a file of a directory.
    fn file_url(&self, path: &str) -> Result<Url, UpstreamError> {
        let file = self.transport.directory().map(|root| root.join(path));
        file.and_then(|file| Url::from_file_path(file).ok()).ok_or_else(|| UpstreamError::Refused {
            url: self.address(),
            reason: "is not an absolute path".to_owned(),
        })
    }
}
