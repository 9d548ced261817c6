//! The tasks of syncing: one table with the name, the schedule and the key of each; and what triggers them.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::SyncError;
use base::config::Config;
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::words;

words! {
    /// A task that runs on a schedule, or when an administrator starts it, with its name in keys, logs and metrics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Task {
        Cran = "cran",
        Bioconductor = "bioconductor",
        Pypi = "pypi",
        /// The refresh of the rules for system requirements and of the package database.
        Requirements = "sysreqs",
        /// The refresh of the package advisories.
        Advisories = "vulns",
    }
    prepared { Sample = "sample", }
}

struct TaskRow {
    /// The property with its schedule.
    property: &'static str,
    /// Returns the value of the property.
    schedule: fn(&Config) -> &str,
    subject: Subject,
}

/// What a task refreshes.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Cran,
    Bioconductor,
    /// The list of projects of an index.
    Projects(SourceId),
    Requirements,
    Advisories,
}

impl Task {
    fn row(self) -> TaskRow {
        match self {
            Task::Cran => TaskRow {
                property: "CRAN.SyncSchedule",
                schedule: |config| &config.cran.sync_schedule,
                subject: Subject::Cran,
            },
            Task::Bioconductor => TaskRow {
                property: "Bioconductor.SyncSchedule",
                schedule: |config| &config.bioconductor.sync_schedule,
                subject: Subject::Bioconductor,
            },
            Task::Pypi => TaskRow {
                property: "PyPI.SyncSchedule",
                schedule: |config| config.index(SourceId::PYPI).map_or("", |index| &index.sync_schedule),
                subject: Subject::Projects(SourceId::PYPI),
            },
            #[cfg(debug_assertions)]
            Task::Sample => TaskRow {
                property: "Sample.SyncSchedule",
                schedule: |config| {
                    config
                        .index(SourceKind::Sample.language().index())
                        .map_or("", |index| &index.sync_schedule)
                },
                subject: Subject::Projects(SourceKind::Sample.language().index()),
            },
            Task::Requirements => TaskRow {
                property: "SystemRequirements.SyncSchedule",
                schedule: |config| &config.requirements.sync_schedule,
                subject: Subject::Requirements,
            },
            Task::Advisories => TaskRow {
                property: "Vulnerabilities.SyncSchedule",
                schedule: |config| &config.vulnerabilities.sync_schedule,
                subject: Subject::Advisories,
            },
        }
    }

    pub fn property(self) -> &'static str {
        self.row().property
    }

    pub(super) fn schedule(self, config: &Config) -> &str {
        (self.row().schedule)(config)
    }

    pub(super) fn subject(self) -> Subject {
        self.row().subject
    }

    /// Returns the source that it syncs, if any.
    fn source(self) -> Option<SourceId> {
        match self.subject() {
            Subject::Cran => Some(SourceId::CRAN),
            Subject::Bioconductor => Some(SourceId::BIOCONDUCTOR),
            Subject::Projects(index) => Some(index),
            Subject::Requirements | Subject::Advisories => None,
        }
    }

    pub(super) fn of_kind(kind: SourceKind) -> Result<Task, SyncError> {
        Task::ALL.into_iter().find(|task| task.kind() == Some(kind)).ok_or(SyncError::NotSynced(kind))
    }

    pub(super) fn kind(self) -> Option<SourceKind> {
        self.source().and_then(SourceKind::of_built_in)
    }

    /// Returns the key of the row of the last success: `fetched_at` is the time, for a source `etag` is the mirror.
    pub(super) fn success_key(self) -> String {
        self.source().map_or_else(|| format!("sync:{self}"), success_key)
    }
}

/// Returns the key of the row of the last successful sync of a source.
pub(super) fn success_key(source: SourceId) -> String {
    format!("sync:{source}")
}

/// Serializes the writers of one source.
pub(super) type SourceLock = tokio::sync::Mutex<()>;

#[derive(Default)]
pub(super) struct TaskState {
    /// Held by a writer of the source: a sync (of one version, for Bioconductor), or the final phase of a back-fill.
    pub(super) source_lock: SourceLock,
    /// Notified when the schedule changes.
    pub(super) schedule_changed: Notify,
    /// Error of the last run, if it failed; for tasks that log an error only when it changes.
    pub(super) last_error: Mutex<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncTrigger {
    /// The schedule, or a missed run.
    Schedule,
    /// A package file that differs from the index.
    Mismatch,
    /// An administrator, under the name that the transaction records.
    Administrator(String),
    /// As [`SyncTrigger::Administrator`], who accepts a list of projects that has lost projects or whose serials decreased.
    Confirmed(String),
}

impl SyncTrigger {
    pub(super) fn actor(&self) -> &str {
        match self {
            SyncTrigger::Schedule => "schedule",
            SyncTrigger::Mismatch => "a package that differs from the index",
            SyncTrigger::Administrator(actor) | SyncTrigger::Confirmed(actor) => actor,
        }
    }
}
