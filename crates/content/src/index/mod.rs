//! Reads the page of a project of an index when a client requests it, and stores its content in the database,
//! with one request for any number of waiting clients.
//!
//! The sequence numbers of an index's tree are times. A stored reading is used if it is valid at the point: the list of
//! projects states no newer serial, or the reading is later. Otherwise the page is requested, `plan` compares it with
//! the rows, and `store` writes the reading and the lives in one transaction, under a lock of the project's row.

mod digests;
mod failures;
pub mod locator;
mod permits;
pub mod plan;
mod store;
pub mod wheel_metadata;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use ::store::db::name_guard::NameGuardRow;
use ::store::db::project::{self, KnownProject, Project};
use ::store::db::{Conn, tree};
use base::config::IndexConfig;
use base::metrics;
use base::model::digest::Sha256;
use base::model::ids::{FileId, Seq, SourceId};
use base::model::project_name::ProjectName;
use base::model::project_page::{ProjectStatus, UpstreamPage};
use base::model::time::{SECOND, Timestamp};
use digests::ComputedDigests;
use failures::Failures;
use formats::language::{self, Projects};
pub use permits::Priority;
use permits::{Permit, Permits};
use runtime::state::State;
use store::{PageRead, ReadingWrites, Stored};
use upstream::{DecodedPages, Page, PageAge, PageResponse, ProjectIndex, UpstreamError, decode_pages};

/// Age, in microseconds, from which an upload is on every page: at PyPI, files appear up to ten minutes later.
pub const MARGIN: i64 = 900 * SECOND;

/// Pauses before requests for a page that is older than the list of projects, because of a cache of the index.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Between two requests for a page without serials; meanwhile, the last reading is used even for later points.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Time, without a newer serial, for which a page must lack most of the files of its project before they are
/// removed: some indexes send empty pages while a part of them fails.
const SHRINK_CONFIRMATION: Duration = Duration::from_secs(900);

#[derive(Clone, Debug, thiserror::Error)]
pub enum PageError {
    #[error("{0}")]
    Missing(String),
    /// The index does not have the page of a project that it lists. Clients do not get the address.
    #[error("the index lists the project '{project}', but has no page of it: {url}")]
    NoPage { project: ProjectName, url: String },
    #[error("the index has no project '{0}'")]
    Unlisted(ProjectName),
    /// By its upload to a local source or by an administrator, while the index was requested.
    #[error("the name '{0}' was guarded for another source during this request; repeat the request")]
    Guarded(ProjectName),
    /// The clock was repaired while the index was requested: the read times may be in the future.
    #[error("the clock was repaired during this request; repeat the request")]
    ClockRepaired,
    #[error("too many slow pages are being requested from the index; repeat the request later")]
    Busy,
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Failed(String),
}

/// The validity of the stored data about a project at the requested time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Complete up to the requested time: responses for it and earlier times are final.
    Complete,
    /// The state of an earlier reading, because the index does not answer.
    Outdated,
}

type ReadResult = Result<(), PageError>;
type RunningRead = watch::Receiver<Option<ReadResult>>;

#[derive(Clone, Copy)]
struct ShrunkPage {
    /// The time of the first request for it.
    since: Timestamp,
    /// The time of the stored reading, which has the files; another one, also of another server, is later.
    reading: Option<Timestamp>,
}

/// The readings of the pages of all indexes.
pub struct PageReads(Vec<Arc<IndexReads>>);

/// The readings of the pages of one index.
pub struct IndexReads {
    state: Arc<State>,
    source: SourceId,
    language: &'static dyn Projects,
    running: Mutex<HashMap<ProjectName, RunningRead>>,
    failures: Mutex<Failures>,
    /// The projects whose last page lacks most of their files.
    shrunk: Mutex<HashMap<ProjectName, ShrunkPage>>,
    /// Stored wheels whose METADATA cannot be read; they are not read again.
    unreadable_wheels: Mutex<HashSet<FileId>>,
    permits: Permits,
    writes: ReadingWrites,
}

impl PageReads {
    pub fn new(state: Arc<State>) -> Arc<PageReads> {
        let config = state.config.load_full();
        let reads = |index: &Arc<IndexConfig>| {
            Some(Arc::new(IndexReads {
                state: Arc::clone(&state),
                source: index.source(),
                language: language::of(index.language).projects()?,
                running: Mutex::default(),
                failures: Mutex::default(),
                shrunk: Mutex::default(),
                unreadable_wheels: Mutex::default(),
                permits: Permits::new(index.concurrency),
                writes: ReadingWrites::default(),
            }))
        };
        Arc::new(PageReads(config.indexes.iter().filter_map(reads).collect()))
    }

    /// Returns the readings of an index. Fails for another source.
    pub fn of(&self, source: SourceId) -> Result<&Arc<IndexReads>, PageError> {
        self.0.iter().find(|reads| reads.source == source).ok_or_else(|| no_index(source))
    }
}

impl IndexReads {
    fn config(&self) -> Result<Arc<IndexConfig>, PageError> {
        self.state.config.load().index(self.source).cloned().ok_or_else(|| no_index(self.source))
    }

    fn index(&self) -> Result<ProjectIndex, PageError> {
        let config = self.config()?;
        Ok(self.state.upstream.load().project_index(config.language, &config.url)?)
    }

    /// Reads the page of a project, unless the last reading is valid at a sequence number of the tree. Fails
    /// if nothing is known.
    pub async fn at(
        self: &Arc<Self>,
        project: &ProjectName,
        seq: Seq,
        priority: Priority,
    ) -> Result<Validity, PageError> {
        let known = self.known(project).await?;
        let is_complete = |known: &KnownProject| known.valid_at().is_some_and(|valid_at| valid_at > seq.0);
        if is_complete(&known) {
            return Ok(Validity::Complete);
        }
        let now = (self.state.clock)();
        let is_recent = |known: &KnownProject| {
            known.reading.as_ref().is_some_and(|reading| now.since(reading.fetched_at) < MIN_INTERVAL)
        };
        // With serials, a newer page is requested immediately.
        let has_serials = |known: &KnownProject| {
            known.project.serial.is_some()
                && known.reading.as_ref().is_some_and(|reading| reading.serial.is_some())
        };
        if is_recent(&known) && !has_serials(&known) {
            return Ok(Validity::Outdated);
        }
        match self.join_as(priority, project, None).await {
            Ok(()) => {
                let known = self.known(project).await?;
                Ok(if is_complete(&known) { Validity::Complete } else { Validity::Outdated })
            }
            Err(error) => {
                if known.reading.is_none() && self.known(project).await?.reading.is_none() {
                    return Err(error);
                }
                tracing::debug!(target: "sync", %project, %error, "could not read the page of a project; serving its last known state");
                metrics::outdated_page();
                Ok(Validity::Outdated)
            }
        }
    }

    /// Returns whether the last reading of a project is valid at a sequence number of the tree. Fails if it
    /// was never listed.
    pub async fn is_known(&self, project: &ProjectName, seq: Seq) -> Result<bool, PageError> {
        Ok(self.known(project).await?.valid_at().is_some_and(|valid_at| valid_at > seq.0))
    }

    /// Reads the pages of projects again, in the background: after a sync. Returns the number of pages that were read.
    pub async fn refresh(self: &Arc<Self>, projects: &[ProjectName]) -> usize {
        let mut pages = match self.request_all(projects).await {
            Ok(pages) => pages,
            Err(error) => {
                tracing::warn!(target: "sync", %error, "could not read the pages of {} projects", projects.len());
                if let PageError::Upstream(UpstreamError::Unavailable { .. }) = error {
                    return 0;
                }
                // They are requested one by one.
                Vec::new()
            }
        };
        let mut count = 0;
        for project in projects {
            let page = pages.iter().position(|page| page.page.project == *project);
            let page = page.map(|position| pages.swap_remove(position));
            count += usize::from(self.join_as(Priority::Background, project, page).await.is_ok());
        }
        count
    }

    /// Requests the pages of several projects at once, except of those that are requested now or after a pause. Those that
    /// the index does not have are not returned.
    async fn request_all(&self, projects: &[ProjectName]) -> Result<Vec<ParsedPage>, PageError> {
        let is_due = |project: &&ProjectName| {
            self.check_failures(project).is_ok() && !self.running.lock().contains_key(*project)
        };
        let projects: Vec<ProjectName> = match projects {
            [] | [_] => Vec::new(),
            _ => projects.iter().filter(is_due).cloned().collect(),
        };
        if projects.len() < 2 {
            return Ok(Vec::new());
        }
        let _turn = self.permits.background().await;
        let _permit = self.permits.page().await?;
        let (requested_at, list) = ((self.state.clock)(), self.newest_list());
        let response = self.index()?.pages(&projects, None).await.map_err(PageError::Upstream);
        if let Err(error @ PageError::Upstream(UpstreamError::Unavailable { .. })) = &response {
            let mut failures = self.failures.lock();
            projects.iter().for_each(|project| failures.record(project, list, error, Instant::now()));
        }
        match response? {
            PageResponse::Unchanged(_) => Ok(Vec::new()),
            PageResponse::Page(page) => parse(self.language, *page, &projects, requested_at).await,
        }
    }

    /// Requests the page of a project.
    async fn request(
        &self,
        index: &ProjectIndex,
        project: &ProjectName,
        etag: Option<&str>,
        known: &KnownProject,
    ) -> Result<PageRead, PageError> {
        let (requested_at, projects) = ((self.state.clock)(), std::slice::from_ref(project));
        let page = match index.pages(projects, etag).await? {
            PageResponse::Unchanged(age) => return Ok(PageRead::unchanged(known, age, requested_at)),
            PageResponse::Page(page) => page,
        };
        let url = page.display_url();
        let pages = parse(self.language, *page, projects, requested_at).await?;
        let page = pages.into_iter().find(|page| page.page.project == *project);
        Ok(page.ok_or(UpstreamError::Missing(url))?.into_page_read())
    }

    /// Requests a project that the list of the index lacks, and adds it if the index has it; returns whether it has.
    pub async fn discover(
        self: &Arc<Self>,
        project: &ProjectName,
        priority: Priority,
    ) -> Result<bool, PageError> {
        match self.join_as(priority, project, None).await {
            Ok(()) => Ok(true),
            Err(PageError::Missing(_) | PageError::NoPage { .. } | PageError::Unlisted(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn known(&self, project: &ProjectName) -> Result<KnownProject, PageError> {
        let known = self.find(project).await?;
        known.ok_or_else(|| PageError::Missing(format!("the index does not list a project '{project}'")))
    }

    async fn find(&self, project: &ProjectName) -> Result<Option<KnownProject>, PageError> {
        let (source, name) = (self.source, project.clone());
        let read = self.state.db.read(move |c| project::known(c, source, name.as_str())).await;
        read.map_err(|error| PageError::Failed(error.to_string()))
    }

    /// Reads a page; `page` is the one that was requested with those of other projects.
    async fn join_as(
        self: &Arc<Self>,
        priority: Priority,
        project: &ProjectName,
        mut page: Option<ParsedPage>,
    ) -> ReadResult {
        if priority == Priority::Client {
            return self.join(project, page).await;
        }
        let _turn = self.permits.background().await;
        loop {
            match self.join(project, page.take()).await {
                Err(PageError::Busy) => {}
                result => return result,
            }
        }
    }

    async fn join(self: &Arc<Self>, project: &ProjectName, page: Option<ParsedPage>) -> ReadResult {
        let mut read = {
            let mut running = self.running.lock();
            match running.get(project) {
                Some(read) => read.clone(),
                None => {
                    self.check_failures(project)?;
                    let (sender, receiver) = watch::channel(None);
                    running.insert(project.clone(), receiver.clone());
                    // In a separate task: a client that disconnects must not cancel a request that others wait for.
                    tokio::spawn(run(Arc::clone(self), project.clone(), page, sender));
                    receiver
                }
            }
        };
        let stopped = || PageError::Failed("the server is stopping".to_owned());
        match read.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(stopped())),
            Err(_) => Err(stopped()),
        }
    }

    fn check_failures(&self, project: &ProjectName) -> ReadResult {
        let list = self.newest_list();
        self.failures.lock().current(project, list, Instant::now()).map_or(Ok(()), Err)
    }

    /// Returns the newest sequence number of the list of projects; 0 before the first sync.
    fn newest_list(&self) -> i64 {
        let catalog = self.state.catalog.get();
        let trees = catalog.source_package_trees(self.source);
        trees.map(|tree| tree.newest().map_or(0, |seq| seq.0)).max().unwrap_or(0)
    }

    async fn read_page(&self, project: &ProjectName, mut page: Option<ParsedPage>) -> ReadResult {
        let mut permit = self.permits.page().await?;
        let found = self.find(project).await?;
        let is_listed = found.is_some();
        let known = match found {
            Some(known) => known,
            None => unlisted_project(&self.state, self.source).await?,
        };
        let index = self.index()?;
        let mut etag = known.reading.as_ref().and_then(|reading| reading.etag.as_deref());
        let mut pauses = PAUSES.into_iter();
        loop {
            let read = match page.take() {
                Some(page) => Ok(page.into_page_read()),
                None => self.request(&index, project, etag, &known).await,
            };
            let is_missing = matches!(read, Err(PageError::Upstream(UpstreamError::Missing(_))));
            if is_missing && known.project.to_at != Seq::OPEN.0 {
                store::end(self, project).await?;
            }
            let read = read.map_err(|error| page_error(project, is_listed, error))?;
            if !is_listed {
                add_unlisted(&self.state, self.source, project, known.head).await?;
            }
            let Some(reason) = read.older_than_list(&known) else {
                let read = self.with_digests(&known, read, &mut permit).await?;
                let is_status_new =
                    known.reading.as_ref().is_some_and(|reading| reading.status != read.status);
                self.store(project, read, &known, &index).await?;
                if is_status_new {
                    self.state.catalog.refresh_after_publish(&self.state.db).await;
                }
                return Ok(());
            };
            // The next request is unconditional, because a response 304 may lack the serial.
            etag = None;
            if let Some(pause) = pauses.next() {
                drop((permit, read));
                tokio::time::sleep(pause).await;
                permit = self.permits.page().await?;
                continue;
            }
            if known.reading.is_none() {
                // An outdated first page is better than none; a later one would hide known files.
                self.store(project, read, &known, &index).await?;
            }
            let url = index.page_address(Some(project.as_str()));
            return Err(UpstreamError::Refused { url, reason: reason.to_owned() }.into());
        }
    }

    async fn with_digests(
        &self,
        known: &KnownProject,
        read: PageRead,
        permit: &mut Permit<'_>,
    ) -> Result<PageRead, PageError> {
        let Some(page) = &read.page else { return Ok(read) };
        let digests = digests::complete(self, known, &page.files, permit).await?;
        Ok(read.with_digests(digests))
    }

    /// Writes a reading, unless the page lacks most of the files of the project for the first time.
    async fn store(
        &self,
        project: &ProjectName,
        read: PageRead,
        known: &KnownProject,
        index: &ProjectIndex,
    ) -> ReadResult {
        let reading = known.reading.as_ref().map(|reading| reading.fetched_at);
        let page = ShrunkPage { since: read.requested_at, reading };
        let first = self.shrunk.lock().get(project).copied().filter(|first| first.reading == reading);
        let first = first.unwrap_or(page);
        let may_shrink = page.since.since(first.since) >= SHRINK_CONFIRMATION;
        match store::store(self, project, read, may_shrink).await? {
            Stored::Written { .. } => {
                self.shrunk.lock().remove(project);
                Ok(())
            }
            Stored::Shrunk { listed, left } => {
                self.shrunk.lock().insert(project.clone(), first);
                let reason = format!(
                    "lists {left} of {listed} files; the others stay listed until this is so for {} minutes",
                    SHRINK_CONFIRMATION.as_secs() / 60
                );
                Err(UpstreamError::Refused { url: index.page_address(Some(project.as_str())), reason }.into())
            }
        }
    }
}

/// Reads a page, records a failure, and sends the result to all waiting clients.
async fn run(
    reads: Arc<IndexReads>,
    project: ProjectName,
    page: Option<ParsedPage>,
    sender: watch::Sender<Option<ReadResult>>,
) {
    /// Removes the project from the running readings when dropped, even after a panic, so that another can start.
    struct Entry<'a>(&'a IndexReads, &'a ProjectName);
    impl Drop for Entry<'_> {
        fn drop(&mut self) {
            self.0.running.lock().remove(self.1);
        }
    }
    let entry = Entry(&reads, &project);
    let list = reads.newest_list();
    let result = reads.read_page(&project, page).await;
    match &result {
        Ok(()) => reads.failures.lock().record_success(&project),
        Err(error) => {
            let is_expected = matches!(
                error,
                PageError::Unlisted(_) | PageError::Guarded(_) | PageError::ClockRepaired | PageError::Busy
            );
            if !is_expected {
                tracing::warn!(target: "sync", %project, %error, "could not read the page of a project");
            }
            reads.failures.lock().record(&project, list, error, Instant::now());
        }
    }
    drop(entry);
    sender.send_replace(Some(result));
}

/// Returns the stored data about a project that the list of the index lacks.
async fn unlisted_project(state: &State, source: SourceId) -> Result<KnownProject, PageError> {
    let tree = state.db.read(move |c| tree::built_in(c, source)).await;
    let tree = tree.map_err(|error| PageError::Failed(error.to_string()))?;
    let head = tree.head.map_or(0, |head| head.0);
    let project = Project { from_at: head, to_at: Seq::OPEN.0, serial: None };
    Ok(KnownProject { project, package: None, reading: None, head })
}

async fn add_unlisted(state: &State, source: SourceId, project: &ProjectName, head: i64) -> ReadResult {
    let name = project.clone();
    let write = move |c: &mut dyn Conn| project::add_unlisted(c, source, name.as_str(), head);
    let guards = state.db.write(write).await.map_err(store::write_error)?;
    let Some(guards) = guards else { return Ok(()) };
    state.catalog.refresh_after_publish(&state.db).await;
    let has_automatic = state.config.load().server.automatic_name_guard;
    if hides(&guards, source, has_automatic) { Err(PageError::Guarded(project.clone())) } else { Ok(()) }
}

/// Returns whether guards of a name hide it in the index `source`. Guards of administrators precede automatic
/// ones, which may be off.
fn hides(guards: &[NameGuardRow], source: SourceId, has_automatic: bool) -> bool {
    let has_created = guards.iter().any(|guard| !guard.automatic);
    let mut applied = guards.iter().filter(|guard| guard.automatic != has_created);
    (has_created || has_automatic) && applied.any(|guard| guard.source != source)
}

fn no_index(source: SourceId) -> PageError {
    PageError::Failed(format!("the source {source} is not an index with one page per project"))
}

fn page_error(project: &ProjectName, is_listed: bool, error: PageError) -> PageError {
    match error {
        PageError::Upstream(UpstreamError::Missing(_)) if !is_listed => PageError::Unlisted(project.clone()),
        PageError::Upstream(UpstreamError::Missing(url)) => {
            PageError::NoPage { project: project.clone(), url }
        }
        error => error,
    }
}

struct ParsedPage {
    page: UpstreamPage,
    etag: Option<String>,
    age: PageAge,
    digest: Sha256,
    requested_at: Timestamp,
}

/// Parses a response with the pages of projects on a blocking thread: this may take a second.
async fn parse(
    language: &'static dyn Projects,
    page: Page,
    projects: &[ProjectName],
    requested_at: Timestamp,
) -> Result<Vec<ParsedPage>, PageError> {
    let projects = projects.to_vec();
    let work = move || {
        let DecodedPages { body, pages } = decode_pages(language, &page, &projects)?;
        let digest = Sha256::of(&body);
        let (age, etag) = (page.age, page.validators.etag.clone());
        // Serial, ETag and digest of a response with several pages are those of no page.
        let is_single = projects.len() == 1;
        let parsed = |page| ParsedPage {
            etag: etag.clone().filter(|_| is_single),
            age: PageAge { serial: age.serial.filter(|_| is_single), ..age },
            digest: match is_single {
                true => digest,
                false => language.write_upstream_page(&page).map_or(digest, Sha256::of),
            },
            page,
            requested_at,
        };
        Ok::<_, UpstreamError>(pages.into_iter().map(parsed).collect())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(parsed) => Ok(parsed?),
        Err(error) => Err(PageError::Failed(error.to_string())),
    }
}

impl ParsedPage {
    fn into_page_read(self) -> PageRead {
        let ParsedPage { page, etag, age, digest, requested_at } = self;
        let serial = page.serial.and_then(|serial| i64::try_from(serial).ok());
        PageRead {
            serial: age.serial.or(serial),
            age: age.seconds,
            etag,
            digest,
            requested_at,
            is_quarantined: page.status == ProjectStatus::Quarantined,
            status: page.status.as_str().to_owned(),
            reason: page.status_reason.clone(),
            page: Some(page),
            digests: ComputedDigests::default(),
        }
    }
}
