//! Writes readings, each with its row and the changed rows of files in one transaction, possibly with other readings.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::digests::ComputedDigests;
use super::plan::{self, Instants, PageRow};
use super::{IndexReads, MARGIN, PageError, ReadResult, locator};
use base::config::EarlierYanks;
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq, SourceId};
use base::model::project_name::ProjectName;
use base::model::project_page::{ProjectStatus, UpstreamPage};
use base::model::time::{Clock, SECOND, Timestamp};
use formats::language::{self, Projects};
use formats::tlog::record_proof::project_leaf;
use formats::tlog::tree::Root;
use store::db::index_file::{self, IndexTarget};
use store::db::project::{self, IndexReset, KnownProject, PageState};
use store::db::{Conn, Db, DbError, clock, package, tlog, tlog_event, tree};
use upstream::{PageAge, UpstreamError};

/// Maximum number of files of a reading that is written as an interactive write; a larger one has lower priority.
const LARGE: usize = 2_000;

#[derive(Debug)]
pub(super) struct PageRead {
    pub(super) serial: Option<i64>,
    /// Age of the page in a cache, in seconds.
    pub(super) age: i64,
    pub(super) etag: Option<String>,
    /// SHA-256 of its body.
    pub(super) digest: Sha256,
    pub(super) requested_at: Timestamp,
    /// Whether the project is quarantined: its files must not be served, and the page lists none.
    pub(super) is_quarantined: bool,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) page: Option<UpstreamPage>,
    pub(super) digests: ComputedDigests,
}

impl PageRead {
    /// Returns the reading of a page that is unchanged since the last reading.
    pub(super) fn unchanged(known: &KnownProject, age: PageAge, requested_at: Timestamp) -> PageRead {
        let last = known.reading.as_ref();
        let status = last.map_or_else(String::new, |reading| reading.status.clone());
        PageRead {
            serial: age.serial.or(last.and_then(|reading| reading.serial)),
            age: age.seconds,
            etag: last.and_then(|reading| reading.etag.clone()),
            digest: last.map_or(Sha256([0; 32]), |reading| reading.page),
            requested_at,
            is_quarantined: status == ProjectStatus::Quarantined.as_str(),
            status,
            reason: last.and_then(|reading| reading.reason.clone()),
            page: None,
            digests: ComputedDigests::default(),
        }
    }

    /// Adds computed digests. While some are missing, the ETag is dropped: the next reading requests the whole page.
    pub(super) fn with_digests(self, digests: ComputedDigests) -> PageRead {
        if digests.missing == 0 {
            return PageRead { digests, ..self };
        }
        PageRead { etag: None, digest: Sha256([0; 32]), digests, ..self }
    }

    /// Returns why the page may be older than the list of projects: that states a newer serial, or the page
    /// has none although the previous one had. PyPI's network sends copies without serial, months old, while
    /// PyPI does not answer.
    pub(super) fn older_than_list(&self, known: &KnownProject) -> Option<&'static str> {
        let had_serial = known.reading.as_ref().is_some_and(|reading| reading.serial.is_some());
        match (self.serial, known.project.serial) {
            (Some(page), Some(listed)) if page < listed => {
                Some("the page is older than the list of projects")
            }
            (None, Some(_)) if had_serial => {
                Some("the page has no serial, which the previous one had: it may be an old copy")
            }
            _ => None,
        }
    }

    /// Returns whether the page or the list states a change since the last reading: files that the page lacks
    /// were removed. Without serials, a server that lost its data for some minutes may have sent the page.
    fn is_newer_than_reading(&self, known: &KnownProject) -> bool {
        let last = known.reading.as_ref().and_then(|reading| reading.serial);
        known.project.to_at != Seq::OPEN.0 || self.serial.zip(last).is_some_and(|(page, last)| page > last)
    }

    /// Returns the instant up to which the page describes the project.
    fn valid_at(&self, known: &KnownProject, rows: &[PageRow]) -> i64 {
        match self.serial.zip(known.project.serial) {
            Some((page, listed)) if page >= listed => known.head.min(known.project.to_at),
            // The page was generated at an unknown time after its newest upload, which may be any time.
            Some(_) => {
                let newest = rows.iter().filter_map(|row| row.uploaded_at).map(|at| at.0).max();
                newest.map_or(0, |at| at.saturating_sub(MARGIN)).min(known.head).max(0)
            }
            // Not beyond the head: with a delay, the head is older than the page, and the next sync must request it.
            None => {
                let generated_at = self.requested_at.0.saturating_sub(MARGIN);
                generated_at.saturating_sub(self.age.saturating_mul(SECOND)).min(known.head)
            }
        }
    }
}

pub(super) enum Stored {
    Written {
        /// Names of files whose bytes changed.
        replaced: Vec<String>,
    },
    /// Nothing is written: the page lacks most of the files that are listed.
    Shrunk { listed: usize, left: usize },
}

/// Writes a reading. Unless `may_shrink`, a page without newer serial that lacks most listed files is not written.
pub(super) async fn store(
    reads: &IndexReads,
    project: &ProjectName,
    mut read: PageRead,
    may_shrink: bool,
) -> Result<Stored, PageError> {
    let (state, language, config) = (&reads.state, reads.language, reads.config()?);
    let rules = language::of(config.language);
    let is_project = |name: &String| rules.project_name(name).is_ok_and(|name| name == *project);
    let options = Options {
        source: reads.source,
        language,
        lists_recent_files: config.delay_except.iter().any(is_project),
        begins_yanks_at_reading: config.earlier_yanks == EarlierYanks::HideMark,
        may_shrink,
    };
    let base = locator::base(&config);
    let page = read.page.take();
    let others = page.as_ref().map_or(0, |page| page.skipped_files.len());
    let page = page.map(|page| {
        let (count, locator) = (page.files.len(), |url: &str| locator::locator(url, base.as_ref()?));
        PageRows { count, rows: plan::rows(language, page.files, &read.digests.by_name, locator) }
    });
    let rows = page.as_ref().map_or(0, |page| page.rows.len());
    let skipped = page.as_ref().map_or(0, |page| page.count) - rows;
    if rows == 0 && skipped > 0 {
        let reason = format!(
            "none of its {skipped} files can be served: their digests could not be computed (the server log has the \
             reasons), or their addresses cannot be requested"
        );
        let url = format!("{}/{project}/", language.addresses().folder());
        return Err(UpstreamError::Refused { url, reason }.into());
    }
    if skipped + others > 0 {
        tracing::info!(target: "sync", %project, files = skipped + others, "files of a page are left out: their names or addresses cannot be used, or their digests could not be computed");
    }
    let (project_name, clock) = (project.clone(), Arc::clone(&state.clock));
    let reading = Arc::new(Reading { project: project_name, read, page, options, clock });
    let result = if rows > LARGE {
        state.db.bulk(move |c| write_one(c, &reading)).await
    } else {
        reads.writes.write(&state.db, reading).await
    };
    let stored = result.map_err(write_error)?;
    if let Stored::Written { replaced } = &stored {
        for file in replaced {
            tracing::error!(target: "sync", %project, file, "the index states other bytes for a file than before; clients with lock files that contain the old digest refuse it");
        }
    }
    Ok(stored)
}

#[derive(Clone, Copy)]
struct Options {
    source: SourceId,
    language: &'static dyn Projects,
    lists_recent_files: bool,
    begins_yanks_at_reading: bool,
    may_shrink: bool,
}

/// A reading to be written.
struct Reading {
    project: ProjectName,
    /// Without its page, whose files became rows.
    read: PageRead,
    page: Option<PageRows>,
    options: Options,
    clock: Clock,
}

struct PageRows {
    rows: Vec<PageRow>,
    /// The number of files on the page, with those that have no row.
    count: usize,
}

impl Reading {
    fn rows(&self) -> &[PageRow] {
        self.page.as_ref().map_or(&[], |page| &page.rows)
    }
}

/// Writes readings of one index, in one transaction.
fn write(c: &mut dyn Conn, readings: &[Arc<Reading>]) -> Result<Vec<Stored>, DbError> {
    for reading in readings {
        project::lock(c, reading.options.source, reading.project.as_str())?;
    }
    if readings.len() > 1 {
        project::lock_sequences(c)?;
    }
    let mut written = Vec::with_capacity(readings.len());
    let mut last_head = None;
    for reading in readings {
        let source = reading.options.source;
        let Some(known) = project::known(c, source, reading.project.as_str())? else {
            written.push(unchanged());
            continue;
        };
        last_head = last_head.max(Some((known.head, source)));
        written.push(write_known(c, known, reading)?);
    }
    if let Some((head, source)) = last_head {
        project::check_not_reset(c, source, head)?;
    }
    // A clock that was ahead has been set, perhaps for a repair.
    let is_ahead = readings.iter().any(|reading| reading.read.requested_at > (reading.clock)());
    if is_ahead { Err(DbError::refuse(IndexReset)) } else { Ok(written) }
}

/// Writes a reading in a transaction of its own.
fn write_one(c: &mut dyn Conn, reading: &Arc<Reading>) -> Result<Stored, DbError> {
    let written = write(c, std::slice::from_ref(reading))?;
    Ok(written.into_iter().next().unwrap_or_else(unchanged))
}

/// Writes the readings that arrive during a transaction in the next one: each transaction takes an fsync, and writes the last
/// pages of the same tables.
#[derive(Default)]
pub(super) struct ReadingWrites {
    waiting: Mutex<VecDeque<WaitingReading>>,
    transaction: tokio::sync::Mutex<()>,
}

struct WaitingReading {
    reading: Arc<Reading>,
    /// Dropped if the transaction fails.
    result: oneshot::Sender<Stored>,
}

impl ReadingWrites {
    async fn write(&self, db: &Db, reading: Arc<Reading>) -> Result<Stored, DbError> {
        let (sender, mut result) = oneshot::channel();
        self.waiting.lock().push_back(WaitingReading { reading: Arc::clone(&reading), result: sender });
        let _transaction = self.transaction.lock().await;
        loop {
            match result.try_recv() {
                Ok(stored) => return Ok(stored),
                Err(TryRecvError::Empty) => self.write_waiting(db).await,
                // The transaction with this reading failed, possibly because of another reading.
                Err(TryRecvError::Closed) => return db.write(move |c| write_one(c, &reading)).await,
            }
        }
    }

    /// Writes the readings that have waited longest, with at most [`LARGE`] files together.
    async fn write_waiting(&self, db: &Db) {
        let mut files = 0;
        let mut batch: Vec<WaitingReading> = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            while let Some(next) = waiting.pop_front() {
                files += next.reading.rows().len();
                if files > LARGE && !batch.is_empty() {
                    waiting.push_front(next);
                    break;
                }
                batch.push(next);
            }
        }
        // Other servers lock the projects of their batches in the same order.
        batch.sort_unstable_by(|a, b| a.reading.project.cmp(&b.reading.project));
        let readings: Vec<Arc<Reading>> = batch.iter().map(|waiting| Arc::clone(&waiting.reading)).collect();
        let stored = db.write(move |c| write(c, &readings)).await;
        for (waiting, stored) in batch.into_iter().zip(stored.unwrap_or_default()) {
            // The task that waited for it may have ended.
            let _ = waiting.result.send(stored);
        }
    }
}

fn unchanged() -> Stored {
    Stored::Written { replaced: Vec::new() }
}

fn write_known(c: &mut dyn Conn, known: KnownProject, reading: &Reading) -> Result<Stored, DbError> {
    let Reading { project, read, page, options, .. } = reading;
    let Options { source, language, lists_recent_files, begins_yanks_at_reading, may_shrink } = *options;
    let package = match known.package {
        Some(package) => package,
        None => {
            let packages = package::upsert_many(c, source, &[project.as_str()])?;
            packages.first().copied().unwrap_or(PackageId(0))
        }
    };
    let previous_valid_at = known.valid_at();
    let valid_at = read.valid_at(&known, reading.rows()).max(previous_valid_at.unwrap_or(0));
    let state = PageState {
        serial: read.serial,
        etag: read.etag.clone(),
        page: read.digest,
        fetched_at: read.requested_at,
        // While digests are missing, files are left out, and the reading is not valid for any further time.
        valid_at: if read.digests.missing == 0 { valid_at } else { previous_valid_at.unwrap_or(0) },
        status: read.status.clone(),
        reason: read.reason.clone(),
    };
    let is_same = |last: &PageState| last.page == read.digest && last.status == read.status;
    let is_unchanged = read.digests.missing == 0 && known.reading.as_ref().is_some_and(is_same);
    // The page of a quarantined project lists no files, but their lives only pause.
    let page = page.as_ref().filter(|_| !is_unchanged && !read.is_quarantined);
    let target = IndexTarget { source, tree: tree::built_in(c, source)?.id, package };
    let files = if page.is_some() { index_file::of_project(c, target)? } else { Vec::new() };
    if let Some(page) = page.filter(|_| !may_shrink && !read.is_newer_than_reading(&known)) {
        let listed = files.iter().filter(|file| file.life.is_some()).count();
        let left = page.count;
        if left * 2 < listed {
            return Ok(Stored::Shrunk { listed, left });
        }
    }
    if !project::put_reading(c, source, package, &state)? {
        return Ok(unchanged());
    }
    let has_other_status = known.reading.as_ref().is_some_and(|last| last.status != read.status);
    if (page.is_some() || has_other_status) && tlog::exists(c)? {
        let rows = page.as_ref().map_or(&[][..], |page| &page.rows);
        let root = Root::of(
            rows.iter().map(|row| project_leaf(project.as_str(), &row.name, &row.sha256.to_string())),
        );
        let (files, root, valid) = (root.count, hex::encode(root.hash), Timestamp(state.valid_at));
        let serial = state.serial.map(|serial| format!("serial {serial}\n")).unwrap_or_default();
        let status = if read.is_quarantined { "status quarantined\n" } else { "" };
        let text = format!("project {project}\nfiles {files}\nroot {root}\n{serial}valid {valid}\n{status}");
        tlog_event::add_of_source(c, "page", source, &text)?;
    }
    if has_other_status {
        // A quarantine applies to all days, and servers keep resolved addresses until the catalog changes.
        clock::bump_catalog(c, clock::Change::Nothing)?;
    }
    let Some(page) = page else { return Ok(unchanged()) };
    // A project that was quarantined at the first reading has no history yet.
    let previous_valid_at = previous_valid_at.filter(|_| !files.is_empty() || !was_quarantined(&known));
    let instants = Instants {
        previous_valid_at,
        valid_at,
        read_at: read.requested_at.0,
        head: known.head,
        lists_recent_files,
        begins_yanks_at_reading,
    };
    let plan = plan::plan(language, files, page.rows.clone(), instants);
    index_file::apply(c, target, plan.changes)?;
    Ok(Stored::Written { replaced: plan.replaced })
}

/// Ends the lives of all files of a project without a page: if it is listed again, its files come from another page.
pub(super) async fn end(reads: &IndexReads, project: &ProjectName) -> ReadResult {
    let (source, language, name) = (reads.source, reads.language, project.clone());
    let write = move |c: &mut dyn Conn| {
        project::lock(c, source, name.as_str())?;
        let Some(known) = project::known(c, source, name.as_str())? else { return Ok(()) };
        let (Some(package), Some(previous_valid_at)) = (known.package, known.valid_at()) else {
            return Ok(());
        };
        let at = known.project.to_at;
        if at == Seq::OPEN.0 {
            return Ok(());
        }
        let target = IndexTarget { source, tree: tree::built_in(c, source)?.id, package };
        let files = index_file::of_project(c, target)?;
        let previous_valid_at = Some(previous_valid_at.max(at));
        let (lists_recent_files, begins_yanks_at_reading) = (false, false);
        let instants = Instants {
            previous_valid_at,
            valid_at: at,
            read_at: at,
            head: known.head,
            lists_recent_files,
            begins_yanks_at_reading,
        };
        index_file::apply(c, target, plan::plan(language, files, Vec::new(), instants).changes)?;
        project::check_not_reset(c, source, known.head)
    };
    reads.state.db.write(write).await.map_err(write_error)
}

pub(super) fn write_error(error: DbError) -> PageError {
    match error.into_refusal::<IndexReset>() {
        Ok(IndexReset) => PageError::ClockRepaired,
        Err(error) => PageError::Failed(error.to_string()),
    }
}

fn was_quarantined(known: &KnownProject) -> bool {
    known.reading.as_ref().is_some_and(|reading| reading.status == ProjectStatus::Quarantined.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Config;
    use base::model::kind::Language;
    use store::db::project::{ListChange, ListInstants};
    use store::db::tree::{Axis, Role};

    const SOURCE: SourceId = SourceId::PYPI;
    const NOW: Timestamp = Timestamp(1_000);
    const PROJECTS: [&str; 4] = ["a", "b", "c", "d"];

    async fn database(folder: &tempfile::TempDir) -> Db {
        let config = Config::example(folder.path(), "").expect("a configuration").config;
        let open = tokio::task::spawn_blocking(move || Db::open(&config));
        let db = open.await.expect("no panic").expect("a database");
        let write = |c: &mut dyn Conn| {
            let tree = tree::create(c, SOURCE, "", Role::Source, Axis::Time)?;
            let added =
                |name: &str| ListChange::Added { normalized_name: name.to_owned(), name: None, serial: None };
            let instants = ListInstants { old_head: 0, head: NOW.0 };
            project::apply(c, SOURCE, instants, &PROJECTS.map(added))?;
            project::publish_head(c, tree, NOW.0)
        };
        db.write(write).await.expect("a list of projects");
        db
    }

    fn reading(name: &str, files: usize, requested_at: Timestamp) -> Arc<Reading> {
        let language = language::of(Language::Python).projects().expect("an index");
        let file = |number| {
            format!("<a href='{name}-1.{number}.tar.gz#sha256={number:064x}'>{name}-1.{number}.tar.gz</a>")
        };
        let body: String = (0..files).map(file).collect();
        let (project, url) = (ProjectName::folded(name), "http://h/".parse().expect("a URL"));
        let pages =
            language.read_page(Some("text/html"), body.as_bytes(), &url, std::slice::from_ref(&project));
        let page = pages.expect("a page").remove(0);
        let digests = ComputedDigests::default();
        let rows = plan::rows(language, page.files, &digests.by_name, |url| Some(url.to_owned()));
        assert_eq!(rows.len(), files);
        let page = Some(PageRows { count: rows.len(), rows });
        let read = PageRead {
            serial: None,
            age: 0,
            etag: None,
            digest: Sha256::of(&body),
            requested_at,
            is_quarantined: false,
            status: ProjectStatus::Active.as_str().to_owned(),
            reason: None,
            page: None,
            digests,
        };
        let options = Options {
            source: SOURCE,
            language,
            lists_recent_files: false,
            begins_yanks_at_reading: false,
            may_shrink: false,
        };
        Arc::new(Reading { project, read, page, options, clock: Arc::new(|| NOW) })
    }

    async fn read_projects(db: &Db) -> Vec<&'static str> {
        let has_reading = |c: &mut dyn Conn| -> Result<Vec<bool>, DbError> {
            let known = PROJECTS.map(|name| project::known(c, SOURCE, name));
            known.into_iter().map(|known| Ok(known?.is_some_and(|known| known.reading.is_some()))).collect()
        };
        let has_reading = db.read(has_reading).await.expect("a read");
        PROJECTS
            .into_iter()
            .zip(has_reading)
            .filter(|(_, has_reading)| *has_reading)
            .map(|(name, _)| name)
            .collect()
    }

    fn wait(writes: &ReadingWrites, reading: Arc<Reading>) -> oneshot::Receiver<Stored> {
        let (sender, result) = oneshot::channel();
        writes.waiting.lock().push_back(WaitingReading { reading, result: sender });
        result
    }

    #[tokio::test]
    async fn readings_that_wait_are_written_together_up_to_a_number_of_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, writes) = (database(&folder).await, ReadingWrites::default());
        let results = [("c", LARGE / 2), ("a", LARGE / 2), ("b", 1)]
            .map(|(name, files)| wait(&writes, reading(name, files, NOW)));
        writes.write_waiting(&db).await;
        assert_eq!(read_projects(&db).await, ["a", "c"]);
        let stored = writes.write(&db, reading("d", 1, NOW)).await;
        assert!(matches!(stored, Ok(Stored::Written { .. })));
        assert_eq!(read_projects(&db).await, PROJECTS);
        for mut result in results {
            assert!(matches!(result.try_recv(), Ok(Stored::Written { .. })));
        }
    }

    #[tokio::test]
    async fn a_refused_reading_does_not_prevent_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, writes) = (database(&folder).await, ReadingWrites::default());
        let refused = reading("a", 1, Timestamp(NOW.0 + 1));
        let mut result = wait(&writes, Arc::clone(&refused));
        let stored = writes.write(&db, reading("b", 1, NOW)).await;
        assert!(matches!(stored, Ok(Stored::Written { .. })));
        assert!(matches!(result.try_recv(), Err(TryRecvError::Closed)), "the transaction was rolled back");
        let error = writes.write(&db, refused).await.map(drop).expect_err("a time in the future");
        assert!(matches!(write_error(error), PageError::ClockRepaired));
        assert_eq!(read_projects(&db).await, ["b"]);
    }
}
