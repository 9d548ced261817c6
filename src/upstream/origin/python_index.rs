//! An index of Python packages: the simple repository API of a server, the directory of a static mirror, or a
//! bundle. An HTTP address is that of a bundle if a page is missing and the file that identifies bundles exists.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::bundle::Bundle;
use super::bundle_cache::BundleCache;
use super::bundle_mirror::upstream_error;
use super::python_bundle;
use crate::bundle::{Product, PythonState, self_digest};
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
/// Maximum size of the list of projects as sent, in bytes; that of PyPI is 45 MB, or a quarter
/// of that when compressed.
const MAX_ROOT: u64 = 256 << 20;
/// Maximum duration of a request for a page, for which a client waits.
const PAGE_TIMEOUT: Duration = Duration::from_secs(40);
/// Maximum duration of a request for the list of projects.
const ROOT_TIMEOUT: Duration = Duration::from_secs(600);

/// An index; cloning is cheap.
#[derive(Clone)]
pub struct PythonIndex {
    transport: Transport,
    cache: Arc<BundleCache>,
}

impl PythonIndex {
    /// Creates the index with the pages below `simple/` of an address.
    pub(in crate::upstream) fn at(transport: Transport, cache: Arc<BundleCache>) -> PythonIndex {
        PythonIndex { transport, cache }
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
        let response = match self.is_bundle() {
            Some(true) => self.root_of_bundle().await,
            Some(false) | None => match self.get(request).await {
                Err(missing @ UpstreamError::Missing(_)) => {
                    if self.probe().await? {
                        self.root_of_bundle().await
                    } else {
                        Err(missing)
                    }
                }
                response => {
                    if response.is_ok() && self.transport.directory().is_none() {
                        self.cache.python.record(&self.address(), Some(false));
                    }
                    response
                }
            },
        };
        match response? {
            PageResponse::Page(page) => Ok(*page),
            PageResponse::Unchanged(_) => Err(UpstreamError::Refused {
                url: format!("{}/simple/", self.address()),
                reason: "answered an unconditional request with 'not modified'".to_owned(),
            }),
        }
    }

    /// Requests the page of a project, by its normalized name; conditionally if there is the `ETag` of an earlier
    /// response. No retry: a client waits.
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
        let request = PageRequest { path: &path, accept, etag, limit, retries: false, timeout };
        match self.is_bundle() {
            Some(true) => self.project_of_bundle(project, etag).await,
            Some(false) => self.get(request).await,
            None => match self.get(request).await {
                Err(missing @ UpstreamError::Missing(_)) => {
                    if self.probe().await? {
                        self.project_of_bundle(project, etag).await
                    } else {
                        Err(missing)
                    }
                }
                response => response,
            },
        }
    }

    /// Returns whether the address is that of a bundle; `None` if that is not known.
    fn is_bundle(&self) -> Option<bool> {
        match self.transport.directory() {
            Some(root) => Some(Product::Pypi.marker().is_some_and(|(marker, _)| root.join(marker).is_file())),
            None => self.cache.python.is_bundle(&self.address()),
        }
    }

    /// Requests the file that identifies a bundle. Without an answer, nothing is recorded, and the next request
    /// probes again; otherwise the pages of a bundle would be missing until the next sync.
    async fn probe(&self) -> Result<bool, UpstreamError> {
        if self.transport.directory().is_some() {
            return Ok(false);
        }
        let bundle = Bundle::at(self.transport.clone());
        let is_bundle = match bundle.has(&Product::Pypi).await.map_err(upstream_error) {
            Ok(is_bundle) => is_bundle,
            Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
            Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => false,
        };
        self.cache.python.record(&self.address(), Some(is_bundle));
        Ok(is_bundle)
    }

    /// Returns the contents of the bundle.
    async fn bundle_state(&self) -> Result<Arc<PythonState>, UpstreamError> {
        let bundle = Bundle::at(self.transport.clone());
        let head = self.cache.head(&bundle, &Product::Pypi).await.map_err(|error| {
            // The address may be that of an index now: the next request determines it again.
            self.cache.python.record(&self.address(), None);
            upstream_error(error)
        })?;
        self.cache.python.state(&bundle, &head).await.map_err(upstream_error)
    }

    async fn root_of_bundle(&self) -> Result<PageResponse, UpstreamError> {
        let state = self.bundle_state().await?;
        let body = python_bundle::root_page(&state);
        Ok(PageResponse::Page(Box::new(self.made_page(body, "simple/")?)))
    }

    async fn project_of_bundle(
        &self,
        project: &str,
        etag: Option<&str>,
    ) -> Result<PageResponse, UpstreamError> {
        let recent = match self.transport.directory() {
            Some(_) => None,
            None => self.cache.python.recent(&self.address()).await,
        };
        let state = match recent {
            Some(state) => state,
            None => self.bundle_state().await?,
        };
        let path = format!("simple/{project}/");
        let missing = || UpstreamError::Missing(format!("{}/{path}", self.address()));
        let body = python_bundle::project_page(&state, project, &self.base()?).ok_or_else(missing)?;
        let page = self.made_page(body, &path)?;
        if page.etag.as_deref() == etag {
            let serial = state.project(project).and_then(|project| i64::try_from(project.serial).ok());
            return Ok(PageResponse::Unchanged(PageAge { serial, seconds: 0 }));
        }
        Ok(PageResponse::Page(Box::new(page)))
    }

    /// Returns a page that was made from a bundle.
    fn made_page(&self, body: Vec<u8>, path: &str) -> Result<Page, UpstreamError> {
        let etag = format!("bundle {}", self_digest::digest(&body));
        let url = self.base()?.join(path).map_err(|_| self.not_a_url())?;
        Ok(Page::of_file(Bytes::from(body), "application/vnd.pypi.simple.v1+json", Some(etag), url))
    }

    /// Returns the address with a slash at its end, without user and password.
    fn base(&self) -> Result<Url, UpstreamError> {
        match self.transport.directory() {
            Some(root) => Url::from_directory_path(root).map_err(|()| self.not_a_url()),
            None => {
                let address = format!("{}/", self.address().trim_end_matches('/'));
                Url::parse(&address).map_err(|_| self.not_a_url())
            }
        }
    }

    fn not_a_url(&self) -> UpstreamError {
        UpstreamError::Refused { url: self.address(), reason: "is not an absolute path".to_owned() }
    }

    async fn get(&self, request: PageRequest<'_>) -> Result<PageResponse, UpstreamError> {
        if self.transport.directory().is_none() {
            return self.transport.page(request).await;
        }
        let mut missing = None;
        let folders = [Some(request.path.to_owned()), hashed_folder(request.path)];
        let candidates = folders.iter().flatten().flat_map(|folder| FILES.map(|file| (folder, file)));
        for (folder, (name, media_type)) in candidates {
            let path = format!("{folder}/{name}");
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

    /// Returns the URL of a file in the directory.
    fn file_url(&self, path: &str) -> Result<Url, UpstreamError> {
        let file = self.transport.directory().map(|root| root.join(path));
        file.and_then(|file| Url::from_file_path(file).ok()).ok_or_else(|| self.not_a_url())
    }
}

/// Returns the folder of a page in a mirror of bandersnatch with the option `hash-index`: `simple/r/requests`.
fn hashed_folder(path: &str) -> Option<String> {
    let project = path.strip_prefix("simple/")?;
    Some(format!("simple/{}/{project}", project.chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_may_be_in_folders_by_first_letter() {
        assert_eq!(hashed_folder("simple/requests").as_deref(), Some("simple/r/requests"));
        assert_eq!((hashed_folder("simple"), hashed_folder("simple/")), (None, None));
    }
}
