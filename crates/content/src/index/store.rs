//! Writes one reading in one transaction: its row, and the changed rows of files.

use std::sync::Arc;

use super::digests::ComputedDigests;
use super::plan::{self, Instants, PageRow};
use super::{IndexReads, MARGIN, PageError, ReadResult, locator};
use base::config::EarlierYanks;
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq, SourceId};
use base::model::project_name::ProjectName;
use base::model::project_page::{ProjectStatus, UpstreamPage};
use base::model::time::{SECOND, Timestamp};
use formats::language::{self, Projects};
use store::db::index_file::{self, IndexTarget};
use store::db::project::{self, IndexReset, KnownProject, PageState};
use store::db::{Conn, DbError, clock, package, tree};
use upstream::{PageAge, UpstreamError};

/// Maximum number of files of a reading that is written as an interactive write; a larger one has lower priority.
const LARGE: usize = 2_000;

#[derive(Clone, Debug)]
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
    pub(super) page: Option<Arc<UpstreamPage>>,
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
    read: PageRead,
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
    let (rows, skipped) = match &read.page {
        Some(page) => plan::rows(language, page, &read.digests.by_name, |url| locator::locator(url, &config)),
        None => (Vec::new(), 0),
    };
    if rows.is_empty() && skipped > 0 {
        let reason = format!(
            "none of its {skipped} files can be served: their digests could not be computed (the server log has the \
             reasons), or their addresses cannot be requested"
        );
        let url = format!("{}/{project}/", language.addresses().folder());
        return Err(UpstreamError::Refused { url, reason }.into());
    }
    let others = read.page.as_ref().map_or(0, |page| page.skipped_files.len());
    if skipped + others > 0 {
        tracing::info!(target: "sync", %project, files = skipped + others, "files of a page are left out: their names or addresses cannot be used, or their digests could not be computed");
    }
    let (is_large, rows, name) = (rows.len() > LARGE, Arc::new(rows), project.clone());
    let clock = Arc::clone(&state.clock);
    let write = move |c: &mut dyn Conn| {
        let stored = write(c, &name, &read, &rows, options)?;
        // A clock that was ahead has been set, perhaps for a repair.
        if read.requested_at > clock() { Err(DbError::refuse(IndexReset)) } else { Ok(stored) }
    };
    let result = if is_large { state.db.bulk(write).await } else { state.db.write(write).await };
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

fn write(
    c: &mut dyn Conn,
    project: &ProjectName,
    read: &PageRead,
    rows: &[PageRow],
    options: Options,
) -> Result<Stored, DbError> {
    let source = options.source;
    project::lock(c, source, project.as_str())?;
    let Some(known) = project::known(c, source, project.as_str())? else { return Ok(unchanged()) };
    let head = known.head;
    let stored = write_known(c, project, known, read, rows, options)?;
    project::check_not_reset(c, source, head)?;
    Ok(stored)
}

fn unchanged() -> Stored {
    Stored::Written { replaced: Vec::new() }
}

fn write_known(
    c: &mut dyn Conn,
    project: &ProjectName,
    known: KnownProject,
    read: &PageRead,
    rows: &[PageRow],
    options: Options,
) -> Result<Stored, DbError> {
    let Options { source, language, lists_recent_files, begins_yanks_at_reading, may_shrink } = options;
    let package = match known.package {
        Some(package) => package,
        None => {
            let packages = package::upsert_many(c, source, &[project.as_str()])?;
            packages.first().copied().unwrap_or(PackageId(0))
        }
    };
    let previous_valid_at = known.valid_at();
    let valid_at = read.valid_at(&known, rows).max(previous_valid_at.unwrap_or(0));
    let reading = PageState {
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
    let page = read.page.as_ref().filter(|_| !is_unchanged && !read.is_quarantined);
    let target = IndexTarget { source, tree: tree::built_in(c, source)?.id, package };
    let files = if page.is_some() { index_file::of_project(c, target)? } else { Vec::new() };
    if let Some(page) = page.filter(|_| !may_shrink && !read.is_newer_than_reading(&known)) {
        let listed = files.iter().filter(|file| file.life.is_some()).count();
        let left = page.files.len();
        if left * 2 < listed {
            return Ok(Stored::Shrunk { listed, left });
        }
    }
    if !project::put_reading(c, source, package, &reading)? {
        return Ok(unchanged());
    }
    if known.reading.as_ref().is_some_and(|last| last.status != read.status) {
        // A quarantine applies to all days, and servers keep resolved addresses until the catalog changes.
        clock::bump_catalog(c, clock::Change::Nothing)?;
    }
    if page.is_none() {
        return Ok(unchanged());
    }
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
    let plan = plan::plan(language, files, rows.to_vec(), instants);
    index_file::apply(c, target, &plan.changes)?;
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
        index_file::apply(c, target, &plan::plan(language, files, Vec::new(), instants).changes)?;
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
