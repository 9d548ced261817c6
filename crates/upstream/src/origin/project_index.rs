//! An index with one page per project: a server, the directory of a static mirror, or a bundle. If a page below the usual
//! folder of an HTTP address (`simple/` for Python) is missing, or is no list of projects, the address is that of a bundle,
//! if the file that identifies bundles exists, or has its pages elsewhere, if there is a list of projects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::bundle_cache::BundleCache;
use super::bundle_mirror::upstream_error;
use super::project_bundle::{self, IndexLayout, ProjectCache};
use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use crate::transport::page::{Page, PageAge, PageRequest, PageResponse};
use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::UpstreamPage;
use formats::bundle::{BundledProjects, Product, self_digest};
use formats::language::{IndexRequest, Projects};

/// Maximum size of a page, in bytes.
const MAX_PAGE: u64 = 64 << 20;
/// Maximum size of the list of projects as sent, in bytes; that of PyPI is 45 MB, compressed a quarter of it.
const MAX_LIST: u64 = 256 << 20;
/// Maximum size of a list without its compression, in bytes.
pub const MAX_DECODED_LIST: u64 = 512 << 20;
/// Maximum duration of a request for a page, for which a client waits.
const PAGE_TIMEOUT: Duration = Duration::from_secs(40);
/// Maximum duration of a request for the list of projects.
const LIST_TIMEOUT: Duration = Duration::from_secs(600);

/// A response to a request for pages.
pub struct DecodedPages {
    pub body: Bytes,
    pub pages: Vec<UpstreamPage>,
}

/// Decodes a response, and reads the pages of projects in it. Blocking: a large page takes a second of CPU time.
pub fn decode_pages(
    language: &dyn Projects,
    page: &Page,
    projects: &[ProjectName],
) -> Result<DecodedPages, UpstreamError> {
    let (media_type, refusal) =
        (page.media_type.as_deref(), |reason| UpstreamError::Refused { url: page.display_url(), reason });
    language.check_media_type(media_type).map_err(refusal)?;
    let body = page.decoded(MAX_PAGE)?;
    let pages = language.read_page(media_type, &body, &page.url, projects).map_err(refusal)?;
    Ok(DecodedPages { body, pages })
}

/// An index; cloning is cheap.
#[derive(Clone)]
pub struct ProjectIndex {
    language: Language,
    projects: &'static dyn Projects,
    transport: Transport,
    /// Whether the address must be that of a signed bundle.
    must_be_bundle: bool,
    cache: Arc<BundleCache>,
}

impl ProjectIndex {
    /// Creates the index of packages of a language, whose rules of `projects` apply.
    pub(crate) fn at(
        language: Language,
        projects: &'static dyn Projects,
        transport: Transport,
        must_be_bundle: bool,
        cache: Arc<BundleCache>,
    ) -> ProjectIndex {
        ProjectIndex { language, projects, transport, must_be_bundle, cache }
    }

    fn product(&self) -> Product {
        Product::Projects(self.language)
    }

    fn projects_of_bundles(&self) -> &ProjectCache {
        self.cache.projects(self.language)
    }

    /// Returns the folder in which an index of the language usually has its pages.
    fn usual_folder(&self) -> &'static str {
        self.projects.addresses().folder()
    }

    /// Returns the address for messages and keys: without user, password and trailing slash.
    pub fn address(&self) -> String {
        self.transport.address()
    }

    /// Returns the address of the page of a project for messages; without a project, that of the list of projects.
    pub fn page_address(&self, project: Option<&str>) -> String {
        let folder = match self.layout() {
            Some(IndexLayout::Pages(folder)) => folder,
            Some(IndexLayout::Bundle) | None => self.usual_folder(),
        };
        let parts = [Some(self.address()), Some(folder.to_owned()), project.map(str::to_owned)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).map(|part| part + "/").collect()
    }

    /// Requests the list of projects. It is conditional with the validators of the last response at the same address: see
    /// [`page_address`](Self::page_address).
    pub async fn root(&self, validators: Option<&Validators>) -> Result<PageResponse, UpstreamError> {
        let folder = match self.layout() {
            Some(IndexLayout::Bundle) => return self.root_of_bundle(validators).await,
            Some(IndexLayout::Pages(folder)) => folder,
            None => self.usual_folder(),
        };
        match self.list(folder, validators).await {
            Err(error @ UpstreamError::Unavailable { .. }) => Err(error),
            Err(error) => {
                let layout = self.determine_layout().await?;
                self.root_elsewhere(layout, folder, validators).await?.ok_or(error)
            }
            Ok(response) if self.transport.directory().is_some() => Ok(response),
            Ok(response) => {
                let mut folder = folder;
                if let PageResponse::Page(page) = &response {
                    // A list with a media type of its own is not parsed twice.
                    let media_type = page.media_type.as_deref();
                    let is_own = media_type.is_some_and(|text| self.projects.is_own_media_type(text));
                    if is_own || self.is_list((**page).clone()).await {
                        folder = self.folder_of_list(folder, page);
                    } else if folder == self.usual_folder() {
                        // The page of a website, or a list in another form if no other folder has one.
                        if let Ok(layout) = self.determine_layout().await
                            && let Some(response) = self.root_elsewhere(layout, folder, validators).await?
                        {
                            return Ok(response);
                        }
                    }
                }
                self.projects_of_bundles().record(&self.address(), Some(IndexLayout::Pages(folder)));
                Ok(response)
            }
        }
    }

    /// Requests the list of projects from its place; `None` if this is `folder`, where it was requested.
    async fn root_elsewhere(
        &self,
        layout: IndexLayout,
        folder: &'static str,
        validators: Option<&Validators>,
    ) -> Result<Option<PageResponse>, UpstreamError> {
        match layout {
            IndexLayout::Bundle => self.root_of_bundle(validators).await.map(Some),
            IndexLayout::Pages(other) if other != folder => self.list(other, None).await.map(Some),
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
        let found = self
            .projects
            .addresses()
            .folders
            .iter()
            .copied()
            .find(|folder| is_same_host && path_of(folder) == path);
        if found.is_none() {
            tracing::warn!(target: "upstream", "the list of projects of {} is at {}; if pages of projects are missing, set {}.URL to this address", self.address(), page.display_url(), self.language.mirror().label());
        }
        found.unwrap_or(folder)
    }

    /// Requests the list of projects in a folder.
    async fn list(
        &self,
        folder: &'static str,
        validators: Option<&Validators>,
    ) -> Result<PageResponse, UpstreamError> {
        let (limit, timeout) = (MAX_LIST, LIST_TIMEOUT);
        let accept = self.projects.addresses().accept;
        let request =
            PageRequest { path: folder, body: None, accept, validators, limit, retries: true, timeout };
        self.get(request).await
    }

    /// Returns the number of projects whose pages one request can have.
    pub fn batch(&self) -> usize {
        let is_single = self.transport.directory().is_some() || self.layout() == Some(IndexLayout::Bundle);
        if is_single { 1 } else { self.projects.batch() }
    }

    /// Requests the pages of projects, at most as many as [`batch`](Self::batch); conditionally if there is the `ETag` of an
    /// earlier response. A bundle has pages of single projects: that of the first one. No retry: a client waits.
    pub async fn pages(
        &self,
        projects: &[ProjectName],
        etag: Option<&str>,
    ) -> Result<PageResponse, UpstreamError> {
        let layout = self.layout();
        let first = projects.first().map_or("", ProjectName::as_str);
        let folder = match layout {
            Some(IndexLayout::Bundle) => return self.project_of_bundle(first, etag).await,
            Some(IndexLayout::Pages(folder)) => folder,
            None => self.usual_folder(),
        };
        let validators = etag.map(|etag| Validators { etag: Some(etag.to_owned()), modified: None });
        let get = async |folder: &str| {
            let IndexRequest { path, body } = match self.transport.directory() {
                Some(_) => IndexRequest::of_page(folder, projects),
                None => self.projects.request(folder, projects),
            };
            let (path, body, validators) = (path.as_str(), body.as_ref(), validators.as_ref());
            let (accept, limit, timeout) = (self.projects.addresses().accept, MAX_PAGE, PAGE_TIMEOUT);
            self.get(PageRequest { path, body, accept, validators, limit, retries: false, timeout }).await
        };
        match get(folder).await {
            Err(error @ (UpstreamError::Missing(_) | UpstreamError::Refused { .. })) if layout.is_none() => {
                match self.determine_layout().await? {
                    IndexLayout::Bundle => self.project_of_bundle(first, etag).await,
                    IndexLayout::Pages(other) if other != folder => get(other).await,
                    IndexLayout::Pages(_) => Err(error),
                }
            }
            response => response,
        }
    }

    /// Returns the layout of the address; `None` if it is not known.
    fn layout(&self) -> Option<IndexLayout> {
        if self.must_be_bundle {
            return Some(IndexLayout::Bundle);
        }
        let Some(root) = self.transport.directory() else {
            return self.projects_of_bundles().layout(&self.address());
        };
        let is_bundle = self.product().marker().is_some_and(|(marker, _)| root.join(marker).is_file());
        Some(if is_bundle { IndexLayout::Bundle } else { IndexLayout::Pages(self.usual_folder()) })
    }

    /// Determines the layout of an address without a page below the usual folder: requests the file that identifies a bundle,
    /// then a list of projects in the other folders. Without an answer, nothing is recorded, and the next request determines
    /// it again; otherwise pages would be missing until the next sync.
    async fn determine_layout(&self) -> Result<IndexLayout, UpstreamError> {
        if self.transport.directory().is_some() {
            return Ok(IndexLayout::Pages(self.usual_folder()));
        }
        let bundle = self.cache.bundle(self.transport.clone());
        let is_bundle = match bundle.has(&self.product()).await.map_err(upstream_error) {
            Ok(is_bundle) => is_bundle,
            Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
            Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => false,
        };
        let mut layout =
            if is_bundle { IndexLayout::Bundle } else { IndexLayout::Pages(self.usual_folder()) };
        let others = self.projects.addresses().folders.iter().copied().skip(1).filter(|_| !is_bundle);
        for folder in others {
            match self.list(folder, None).await {
                Ok(PageResponse::Page(page)) if self.is_list((*page).clone()).await => {
                    layout = IndexLayout::Pages(self.folder_of_list(folder, &page));
                    break;
                }
                Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
                Ok(_) | Err(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => {}
            }
        }
        self.projects_of_bundles().record(&self.address(), Some(layout));
        Ok(layout)
    }

    async fn bundle_state(&self) -> Result<Arc<BundledProjects>, UpstreamError> {
        let bundle = self.cache.bundle(self.transport.clone());
        let head = self.cache.head(&bundle, &self.product()).await.map_err(|error| {
            // The address may be that of an index now: the next request determines it again.
            self.projects_of_bundles().record(&self.address(), None);
            upstream_error(error)
        })?;
        self.projects_of_bundles().state(&bundle, &head).await.map_err(upstream_error)
    }

    async fn root_of_bundle(&self, validators: Option<&Validators>) -> Result<PageResponse, UpstreamError> {
        let state = self.bundle_state().await?;
        let page = self.made_page(project_bundle::root_page(&state), &self.path_in_bundle(""))?;
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
            None => self.projects_of_bundles().recent(&self.address()).await,
        };
        let state = match recent {
            Some(state) => state,
            None => self.bundle_state().await?,
        };
        let path = self.path_in_bundle(project);
        let missing = || UpstreamError::Missing(format!("{}/{path}", self.address()));
        let body = project_bundle::project_page(&state, project, &self.base()?).ok_or_else(missing)?;
        let page = self.made_page(body, &path)?;
        if page.validators.etag.as_deref() == etag {
            let serial = state.project(project).and_then(|project| i64::try_from(project.serial).ok());
            return Ok(PageResponse::Unchanged(PageAge { serial, seconds: 0 }));
        }
        Ok(PageResponse::Page(Box::new(page)))
    }

    /// Returns the path of the page of a project, or with an empty name of the list, that is made from a bundle.
    fn path_in_bundle(&self, project: &str) -> String {
        let parts = [self.usual_folder(), project];
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| format!("{part}/")).collect()
    }

    /// Returns a page that was made from a bundle.
    fn made_page(&self, body: Vec<u8>, path: &str) -> Result<Page, UpstreamError> {
        let etag = format!("bundle {}", self_digest::digest(&body));
        let url = self.base()?.join(path).map_err(|_| self.not_a_url())?;
        Ok(Page::of_file(Bytes::from(body), self.projects.main_format().media_type, Some(etag), url))
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
        let (mut missing, files) = (None, self.projects.addresses().files);
        let folders = [Some(request.path.to_owned()), hashed_folder(self.usual_folder(), request.path)];
        let candidates = folders.iter().flatten().flat_map(|folder| std::iter::repeat(folder).zip(files));
        for (folder, &(name, media_type)) in candidates {
            let path = format!("{folder}/{name}").trim_start_matches('/').to_owned();
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

    async fn is_list(&self, page: Page) -> bool {
        let projects = self.projects;
        let work = move || {
            let body = page.decoded(MAX_DECODED_LIST);
            body.is_ok_and(|body| projects.is_list(page.media_type.as_deref(), &body, &page.url))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }

    fn file_url(&self, path: &str) -> Result<Url, UpstreamError> {
        let file = self.transport.directory().map(|root| root.join(path));
        file.and_then(|file| Url::from_file_path(file).ok()).ok_or_else(|| self.not_a_url())
    }
}

/// Returns the folder of a page in a mirror of bandersnatch with the option `hash-index`: `simple/r/requests`.
fn hashed_folder(folder: &str, path: &str) -> Option<String> {
    let project = path.strip_prefix(folder)?.strip_prefix('/')?;
    Some(format!("{folder}/{}/{project}", project.chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_may_be_in_folders_by_first_letter() {
        assert_eq!(hashed_folder("simple", "simple/requests").as_deref(), Some("simple/r/requests"));
        assert_eq!((hashed_folder("simple", "simple"), hashed_folder("simple", "simple/")), (None, None));
    }
}
