//! An index of Python packages: the simple repository API of a server, the directory of a static mirror, or a
//! bundle. If a page below `simple/` of an HTTP address is missing, or is no list of projects, the address is that of a
//! bundle, if the file that identifies bundles exists, or has its pages elsewhere, if there is a list of projects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::bundle::Bundle;
use super::bundle_cache::BundleCache;
use super::bundle_mirror::upstream_error;
use super::project_bundle::{self, FOLDERS, IndexLayout};
use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use crate::transport::page::{Page, PageAge, PageRequest, PageResponse};
use base::model::kind::Language;
use formats::bundle::{BundledProjects, Product, self_digest};
use formats::python::accept::{ACCEPT, SimpleFormat};
use formats::python::simple::root;

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
    pub(crate) fn at(transport: Transport, cache: Arc<BundleCache>) -> PythonIndex {
        PythonIndex { transport, cache }
    }

    /// Returns the address for messages and keys: without user, password and trailing slash.
    pub fn address(&self) -> String {
        self.transport.address()
    }

    /// Returns the address of the page of a project for messages; without a project, that of the list of projects.
    pub fn page_address(&self, project: Option<&str>) -> String {
        let folder = match self.layout() {
            Some(IndexLayout::Pages(folder)) => folder,
            Some(IndexLayout::Bundle) | None => FOLDERS[0],
        };
        let parts = [Some(self.address()), Some(folder.to_owned()), project.map(str::to_owned)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).map(|part| part + "/").collect()
    }

    /// Requests the list of projects; `accept` are the media types that the client can read. It is conditional with the
    /// validators of the last response at the same address: see [`page_address`](Self::page_address).
    pub async fn root(
        &self,
        accept: &'static str,
        validators: Option<&Validators>,
    ) -> Result<PageResponse, UpstreamError> {
        let folder = match self.layout() {
            Some(IndexLayout::Bundle) => return self.root_of_bundle(validators).await,
            Some(IndexLayout::Pages(folder)) => folder,
            None => FOLDERS[0],
        };
        match self.list(folder, accept, validators).await {
            Err(error @ UpstreamError::Unavailable { .. }) => Err(error),
            Err(error) => {
                let layout = self.determine_layout().await?;
                self.root_elsewhere(layout, folder, accept, validators).await?.ok_or(error)
            }
            Ok(response) if self.transport.directory().is_some() => Ok(response),
            Ok(response) => {
                let mut folder = folder;
                if let PageResponse::Page(page) = &response {
                    // A list in JSON has a media type of its own, and is not parsed twice.
                    let is_json = format_of(page) == Some(SimpleFormat::Json);
                    if is_json || is_list((**page).clone()).await {
                        folder = self.folder_of_list(folder, page);
                    } else if folder == FOLDERS[0] {
                        // The page of a website, or a list in another form if no other folder has one.
                        if let Ok(layout) = self.determine_layout().await
                            && let Some(response) =
                                self.root_elsewhere(layout, folder, accept, validators).await?
                        {
                            return Ok(response);
                        }
                    }
                }
                self.cache
                    .projects(Language::Python)
                    .record(&self.address(), Some(IndexLayout::Pages(folder)));
                Ok(response)
            }
        }
    }

    /// Requests the list of projects from its place; `None` if this is `folder`, where it was requested.
    async fn root_elsewhere(
        &self,
        layout: IndexLayout,
        folder: &'static str,
        accept: &'static str,
        validators: Option<&Validators>,
    ) -> Result<Option<PageResponse>, UpstreamError> {
        match layout {
            IndexLayout::Bundle => self.root_of_bundle(validators).await.map(Some),
            IndexLayout::Pages(other) if other != folder => self.list(other, accept, None).await.map(Some),
            IndexLayout::Pages(_) => Ok(None),
        }
    }

    /// Returns the folder of the list of projects that was requested in `folder`: the one to which the request was
    /// redirected, if indexes have their pages there.
    fn folder_of_list(&self, folder: &'static str, page: &Page) -> &'static str {
        let Ok(base) = self.base() else { return folder };
        let path_of = |folder: &str| format!("{}{folder}", base.path()).trim_end_matches('/').to_owned();
        let path = page.url.path().trim_end_matches('/');
        let is_same_host = page.url.host_str() == base.host_str();
        let found = FOLDERS.into_iter().find(|folder| is_same_host && path_of(folder) == path);
        if found.is_none() {
            tracing::warn!(target: "upstream", "the list of projects of {} is at {}; if pages of projects are missing, set PyPI.URL to this address", self.address(), page.display_url());
        }
        found.unwrap_or(folder)
    }

    /// Requests the list of projects in a folder.
    async fn list(
        &self,
        folder: &'static str,
        accept: &'static str,
        validators: Option<&Validators>,
    ) -> Result<PageResponse, UpstreamError> {
        let (limit, timeout) = (MAX_ROOT, ROOT_TIMEOUT);
        self.get(PageRequest { path: folder, accept, validators, limit, retries: true, timeout }).await
    }

    /// Requests the page of a project, by its normalized name; conditionally if there is the `ETag` of an earlier
    /// response. No retry: a client waits.
    pub async fn project(
        &self,
        project: &str,
        accept: &'static str,
        etag: Option<&str>,
    ) -> Result<PageResponse, UpstreamError> {
        let layout = self.layout();
        let folder = match layout {
            Some(IndexLayout::Bundle) => return self.project_of_bundle(project, etag).await,
            Some(IndexLayout::Pages(folder)) => folder,
            None => FOLDERS[0],
        };
        let validators = etag.map(|etag| Validators { etag: Some(etag.to_owned()), modified: None });
        let get = async |folder: &str| {
            let path = [folder, project].join("/");
            let (limit, timeout) = (MAX_PAGE, PAGE_TIMEOUT);
            let (path, validators) = (path.trim_start_matches('/'), validators.as_ref());
            self.get(PageRequest { path, accept, validators, limit, retries: false, timeout }).await
        };
        match get(folder).await {
            Err(error @ (UpstreamError::Missing(_) | UpstreamError::Refused { .. })) if layout.is_none() => {
                match self.determine_layout().await? {
                    IndexLayout::Bundle => self.project_of_bundle(project, etag).await,
                    IndexLayout::Pages(other) if other != folder => get(other).await,
                    IndexLayout::Pages(_) => Err(error),
                }
            }
            response => response,
        }
    }

    /// Returns the layout of the address; `None` if it is not known.
    fn layout(&self) -> Option<IndexLayout> {
        let Some(root) = self.transport.directory() else {
            return self.cache.projects(Language::Python).layout(&self.address());
        };
        let is_bundle = Product::Projects(Language::Python)
            .marker()
            .is_some_and(|(marker, _)| root.join(marker).is_file());
        Some(if is_bundle { IndexLayout::Bundle } else { IndexLayout::Pages(FOLDERS[0]) })
    }

    /// Determines the layout of an address without a page below `simple/`: requests the file that identifies a bundle, then
    /// a list of projects in the other folders. Without an answer, nothing is recorded, and the next request determines it
    /// again; otherwise pages would be missing until the next sync.
    async fn determine_layout(&self) -> Result<IndexLayout, UpstreamError> {
        if self.transport.directory().is_some() {
            return Ok(IndexLayout::Pages(FOLDERS[0]));
        }
        let bundle = Bundle::at(self.transport.clone());
        let is_bundle = match bundle.has(&Product::Projects(Language::Python)).await.map_err(upstream_error) {
            Ok(is_bundle) => is_bundle,
            Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
            Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => false,
        };
        let mut layout = if is_bundle { IndexLayout::Bundle } else { IndexLayout::Pages(FOLDERS[0]) };
        let others = FOLDERS.into_iter().skip(1).filter(|_| !is_bundle);
        for folder in others {
            match self.list(folder, ACCEPT, None).await {
                Ok(PageResponse::Page(page)) if is_list((*page).clone()).await => {
                    layout = IndexLayout::Pages(self.folder_of_list(folder, &page));
                    break;
                }
                Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
                Ok(_) | Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => {}
            }
        }
        self.cache.projects(Language::Python).record(&self.address(), Some(layout));
        Ok(layout)
    }

    async fn bundle_state(&self) -> Result<Arc<BundledProjects>, UpstreamError> {
        let bundle = Bundle::at(self.transport.clone());
        let head = self.cache.head(&bundle, &Product::Projects(Language::Python)).await.map_err(|error| {
            // The address may be that of an index now: the next request determines it again.
            self.cache.projects(Language::Python).record(&self.address(), None);
            upstream_error(error)
        })?;
        self.cache.projects(Language::Python).state(&bundle, &head).await.map_err(upstream_error)
    }

    async fn root_of_bundle(&self, validators: Option<&Validators>) -> Result<PageResponse, UpstreamError> {
        let state = self.bundle_state().await?;
        let page = self.made_page(project_bundle::root_page(&state), "simple/")?;
        Ok(match validators {
            Some(validators) if *validators == page.validators => PageResponse::Unchanged(PageAge::default()),
            Some(_) | None => PageResponse::Page(Box::new(page)),
        })
    }

    async fn project_of_bundle(
        &self,
        project: &str,
        etag: Option<&str>,
    ) -> Result<PageResponse, UpstreamError> {
        let recent = match self.transport.directory() {
            Some(_) => None,
            None => self.cache.projects(Language::Python).recent(&self.address()).await,
        };
        let state = match recent {
            Some(state) => state,
            None => self.bundle_state().await?,
        };
        let path = format!("simple/{project}/");
        let missing = || UpstreamError::Missing(format!("{}/{path}", self.address()));
        let body = project_bundle::project_page(&state, project, &self.base()?).ok_or_else(missing)?;
        let page = self.made_page(body, &path)?;
        if page.validators.etag.as_deref() == etag {
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
            let etag = request.validators.and_then(|validators| validators.etag.as_deref());
            let etag = etag.and_then(|etag| etag.strip_prefix(name)?.strip_prefix(' '));
            let validators = etag.map(|etag| Validators { etag: Some(etag.to_owned()), modified: None });
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

    fn file_url(&self, path: &str) -> Result<Url, UpstreamError> {
        let file = self.transport.directory().map(|root| root.join(path));
        file.and_then(|file| Url::from_file_path(file).ok()).ok_or_else(|| self.not_a_url())
    }
}

fn format_of(page: &Page) -> Option<SimpleFormat> {
    page.media_type.as_deref().and_then(SimpleFormat::of_media_type)
}

async fn is_list(page: Page) -> bool {
    let work = move || {
        let body = format_of(&page).zip(page.decoded(root::MAX_ROOT).ok());
        body.is_some_and(|(format, body)| root::is_list(format, &body, &page.url))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(false)
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
