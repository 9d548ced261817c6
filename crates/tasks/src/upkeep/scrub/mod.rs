//! The scrub: compares stored objects with their rows and digests, and the database with its rules; moves bad objects
//! to the directory `damaged` and stores them again where possible. Stored files without rows are served again.

mod finding;
mod full;
mod inspector;
mod quick;
mod ranges;
mod records;
mod repair;

pub use finding::{Fault, Finding, RepairOutcome};

use std::sync::Arc;
use std::time::Duration;

use super::{JobNumber, Upkeep, claim_lease, ownership};
use crate::backup::stored_again::BackupFiles;
use crate::history::{self, History, Share};
use base::config::BackupPlace;
use base::model::kind::StorageClass;
use base::model::text::count_of;
use base::words;
use content::serve::RepoError;
use runtime::jobs::{AfterHalt, JobStart, Reporter};
use store::storage::Ownership;

/// The maximum number of findings in a result; more are only counted.
const MAX_FINDINGS: usize = 10_000;
/// The maximum number of findings of one scrub that are logged.
const MAX_LOG_LINES: u64 = 100;

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ScrubLevel {
        /// Existence and size of every object that a row refers to.
        Quick = "quick",
        /// The digest of every such object, and the DESCRIPTION of some packages.
        Full = "full",
        /// The database: its own checks, and the rules of its rows.
        Database = "database",
    }
}

/// The objects that a scrub reads. Parts are divided by the first byte of the digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubExtent {
    /// All objects; after an interruption, those that were not read since the interrupted scrub began.
    Everything,
    /// One of several equal parts.
    Part {
        /// Its number, from 1.
        number: u16,
        total: u16,
    },
    /// The part of one night; all objects are read within eight weeks.
    Night,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    pub level: ScrubLevel,
    pub classes: Vec<StorageClass>,
    pub extent: ScrubExtent,
    /// Maximum duration; the next scrub continues where this one ends.
    pub max_duration: Option<Duration>,
    /// Maximum rate of reading, in bytes per second.
    pub rate: u64,
    /// Whether bad objects are stored again.
    pub repair: bool,
    /// A folder of backups that is tried first when a bad object is stored again.
    pub from: Option<BackupPlace>,
    /// The DESCRIPTION of one in this many packages is compared with its rows; 0 for none.
    pub sample: u32,
}

impl ScrubOptions {
    /// Returns the options that read all objects, without limits and without repairs.
    pub fn full() -> ScrubOptions {
        ScrubOptions {
            level: ScrubLevel::Full,
            classes: Vec::new(),
            extent: ScrubExtent::Everything,
            max_duration: None,
            rate: u64::MAX,
            repair: false,
            from: None,
            sample: 100,
        }
    }

    pub fn nightly() -> ScrubOptions {
        ScrubOptions {
            extent: ScrubExtent::Night,
            max_duration: Some(Duration::from_secs(3600)),
            rate: 50_000_000,
            repair: true,
            ..ScrubOptions::full()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubResult {
    pub level: ScrubLevel,
    /// Whether all requested objects were compared; false if the maximum duration ended first.
    pub is_complete: bool,
    pub is_continued: bool,
    pub objects: u64,
    /// Number of bytes that were read.
    pub bytes: u64,
    /// Objects without a row, found by the quick level: the sweep removes them.
    pub unknown: u64,
    /// Number of bad objects that were repaired, or are generated again.
    pub repaired: u64,
    pub bad: u64,
    /// The first findings, at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// As sentences: checks that were done or omitted.
    pub notes: Vec<String>,
}

impl ScrubResult {
    fn new(level: ScrubLevel) -> ScrubResult {
        ScrubResult {
            level,
            is_complete: true,
            is_continued: false,
            objects: 0,
            bytes: 0,
            unknown: 0,
            repaired: 0,
            bad: 0,
            findings: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add(&mut self, finding: Finding) {
        if self.bad + self.repaired < MAX_LOG_LINES {
            finding.log();
        }
        match finding.outcome.is_bad() {
            true => self.bad += 1,
            false => self.repaired += 1,
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Returns whether there was no class to compare, as the notes state.
    fn compared_nothing(&self) -> bool {
        self.level != ScrubLevel::Database
            && self.objects == 0
            && self.bad + self.repaired == 0
            && !self.notes.is_empty()
    }

    pub fn summary(&self) -> String {
        if self.compared_nothing() {
            return "Nothing was compared.".to_owned();
        }
        let work = match self.level {
            ScrubLevel::Database => "Examined the database".to_owned(),
            ScrubLevel::Quick => format!("Looked up {}", count_of(self.objects, "object", "objects")),
            ScrubLevel::Full => format!(
                "Read {} ({} MB)",
                count_of(self.objects, "object", "objects"),
                count_of(self.bytes / 1_000_000, "", "").trim_end()
            ),
        };
        let outcome = match (self.bad, self.repaired) {
            (0, 0) => "nothing is wrong".to_owned(),
            (0, repaired) => format!("{repaired} bad, all of them repaired"),
            (bad, 0) => format!("{bad} bad"),
            (bad, repaired) => format!("{} bad, {repaired} of them repaired", bad + repaired),
        };
        format!("{work}: {outcome}.")
    }
}

/// Starts a scrub as a job, unless one of its kind is running; attaches to one with the same options.
pub fn start(upkeep: &Arc<Upkeep>, options: ScrubOptions) -> JobStart {
    let key = match options.level {
        ScrubLevel::Database => "scrub:database",
        ScrubLevel::Quick | ScrubLevel::Full => "scrub",
    };
    let (this, job) = (Arc::clone(upkeep), JobNumber::default());
    let number = Arc::clone(&job);
    let (now, text) = ((upkeep.state.clock)(), format!("{options:?}"));
    let start = upkeep.state.jobs.start_with(AfterHalt::Resumes, key, &text, now, |reporter| async move {
        let result = run(&this, &options, &reporter).await.map_err(|error| error.to_string())?;
        let summary = result.summary();
        let (bad, repaired) = (result.bad, result.repaired);
        match bad + repaired {
            0 => tracing::debug!("{summary}"),
            _ => tracing::error!(bad, repaired, "{summary}"),
        }
        this.scrub_results.add(number, result);
        Ok(summary)
    });
    if let JobStart::New(new_job) = &start {
        // The number is known only after the start.
        let _ = job.set(new_job.id);
    }
    start
}

pub fn result(upkeep: &Upkeep, job: u64) -> Option<Arc<ScrubResult>> {
    upkeep.scrub_results.get(job)
}

async fn run(upkeep: &Upkeep, options: &ScrubOptions, reporter: &Reporter) -> Result<ScrubResult, RepoError> {
    if options.level == ScrubLevel::Database {
        return examine_database(upkeep, reporter).await;
    }
    let backup = match &options.from {
        Some(place) => {
            let files = BackupFiles::open(&upkeep.state, place).await;
            Some(files.map_err(|error| RepoError::Conflict(error.to_string()))?)
        }
        None => None,
    };
    let condition = upkeep.state.storage.condition();
    if StorageClass::ALL.into_iter().any(|class| condition.ownership(class) == Ownership::Unchecked) {
        // Right after a start, the owners of the classes are not determined yet.
        ownership::claim(upkeep).await;
    }
    let lease = claim_lease(&upkeep.state, "scrub", "is scrubbing storage").await?;
    let result = if options.level == ScrubLevel::Quick {
        quick::run(upkeep, options, backup, &lease, reporter).await
    } else {
        full::run(upkeep, options, backup, &lease, reporter).await
    };
    lease.release().await;
    let mut result = result?;
    let share = match options.extent {
        ScrubExtent::Everything => Some(None),
        // Each state once in eight weeks, as each object.
        ScrubExtent::Night => {
            let day = (upkeep.state.clock)().day_number();
            Some(Some(Share { remainder: day.unsigned_abs() % NIGHTS, divisor: NIGHTS }))
        }
        ScrubExtent::Part { .. } => None,
    };
    if let Some(share) = share.filter(|_| options.level == ScrubLevel::Full) {
        examine_log(upkeep, share, &mut result).await?;
    }
    Ok(result)
}

/// The number of nights in which every state of the log is compared.
const NIGHTS: u64 = 56;

async fn examine_database(upkeep: &Upkeep, reporter: &Reporter) -> Result<ScrubResult, RepoError> {
    reporter.progress("examining the database", 0, None);
    let examination = store::db::invariants::examine(&upkeep.state.db).await?;
    let mut notes = examination.notes;
    // A damaged database is reported by its problems.
    if examination.problems.is_empty() {
        notes.extend(upkeep.state.db.read(records::unreadable).await?);
    }
    let mut result = ScrubResult { notes, ..ScrubResult::new(ScrubLevel::Database) };
    examination.problems.into_iter().map(Finding::in_database).for_each(|finding| result.add(finding));
    examine_log(upkeep, None, &mut result).await?;
    Ok(result)
}

/// Compares the log of the history, and the states in it, with the database.
async fn examine_log(
    upkeep: &Upkeep,
    share: Option<Share>,
    result: &mut ScrubResult,
) -> Result<(), RepoError> {
    let history = History::new(Arc::clone(&upkeep.repositories), Arc::clone(&upkeep.state));
    let examination = history::examine(&history, share).await?;
    result.notes.extend(examination.notes);
    examination.problems.into_iter().map(Finding::in_database).for_each(|finding| result.add(finding));
    Ok(())
}

fn interrupted() -> RepoError {
    RepoError::Conflict("the scrub was interrupted; the next one continues from there".to_owned())
}
