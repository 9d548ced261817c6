//! Syncs sources with their mirrors: fetch what a mirror declares, plan the changes (pure), publish one transaction.

mod advisories;
mod apply;
pub mod backfill;
mod binaries;
mod bioconductor;
mod bundle_digests;
mod declared;
mod descriptions;
pub mod directories;
pub mod error;
pub mod existing;
mod failures;
mod fetch;
mod index_files;
mod package;
pub mod plan;
mod requirements;
mod run;
mod schedule;
mod skew;
mod stored_document;

pub use error::SyncError;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::Tree;
use crate::db::upstream;
use crate::jobs::Started;
use crate::jobs::lease::{ClaimError, Lease};
use crate::model::ids::{SourceId, TreeId};
use crate::model::point::PointTree;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::r::bioconductor::VersionName;
use crate::state::State;
use binaries::BinarySyncSummary;
use failures::MeasuredSync;
use run::{SyncSummary, SyncTrigger};

/// Serialises the writers of one source.
type SourceLock = tokio::sync::Mutex<()>;

/// Syncs sources with their mirrors; clones share one state.
#[derive(Clone)]
pub struct Sync {
    state: Arc<State>,
    /// Halted syncs with their trigger, to be resumed.
    halted: Arc<Mutex<Vec<HaltedSync>>>,
    /// Held by a writer of CRAN: a sync, or the final phase of a back-fill.
    cran_lock: Arc<SourceLock>,
    /// Notified when the schedule of CRAN changes.
    cran_rescheduled: Arc<Notify>,
    /// Notified when the schedule of Bioconductor changes.
    bioconductor_rescheduled: Arc<Notify>,
    /// Held while a version of Bioconductor is synced.
    bioconductor_lock: Arc<SourceLock>,
    /// Notified when the schedule of the system requirement rules changes.
    rules_rescheduled: Arc<Notify>,
    /// Notified when the schedule of the advisories changes.
    advisories_rescheduled: Arc<Notify>,
    /// Error of the last failed advisory refresh; logged only when it changes.
    last_advisory_error: Arc<Mutex<Option<String>>>,
}

/// A halted sync that can be resumed.
#[derive(Clone, Debug)]
pub struct HaltedSync {
    target: SyncTarget,
    trigger: SyncTrigger,
}

/// The target of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyncTarget {
    Cran,
    /// One version, or all.
    Bioconductor(Option<VersionName>),
}

impl HaltedSync {
    /// The kind of source, and the Bioconductor version if the sync was of one.
    #[must_use]
    pub fn target(&self) -> (SourceKind, Option<VersionName>) {
        match self.target {
            SyncTarget::Cran => (SourceKind::Cran, None),
            SyncTarget::Bioconductor(version) => (SourceKind::Bioconductor, version),
        }
    }

    /// The administrator who started it. Syncs with another trigger are started again automatically.
    #[must_use]
    pub fn administrator(&self) -> Option<&str> {
        match &self.trigger {
            SyncTrigger::Administrator(actor) => Some(actor),
            SyncTrigger::Schedule | SyncTrigger::Mismatch => None,
        }
    }
}

impl Sync {
    /// A `Sync` on the shared state.
    #[must_use]
    pub fn new(state: Arc<State>) -> Sync {
        Sync {
            state,
            halted: Arc::default(),
            cran_lock: Arc::default(),
            cran_rescheduled: Arc::default(),
            bioconductor_rescheduled: Arc::default(),
            bioconductor_lock: Arc::default(),
            rules_rescheduled: Arc::default(),
            advisories_rescheduled: Arc::default(),
            last_advisory_error: Arc::default(),
        }
    }

    /// Starts (or attaches to) the sync of the built-in source of `kind` for an administrator.
    pub fn start(&self, kind: SourceKind) -> Result<Started, SyncError> {
        self.start_by(kind, None, "rspm sync")
    }

    /// As [`Sync::start`], optionally for one Bioconductor version; the transaction names `actor`.
    ///
    /// # Errors
    /// [`SyncError::NotSynced`] for sources that have no mirror, [`SyncError::Refused`] for a version of another source.
    pub fn start_by(
        &self,
        kind: SourceKind,
        version: Option<VersionName>,
        actor: &str,
    ) -> Result<Started, SyncError> {
        let cause = SyncTrigger::Administrator(actor.to_owned());
        match kind {
            SourceKind::Bioconductor => Ok(self.begin(SyncTarget::Bioconductor(version), cause)),
            SourceKind::Cran => match version {
                None => Ok(self.begin(SyncTarget::Cran, cause)),
                Some(_) => Err(SyncError::Refused(
                    "--version is a version of Bioconductor; it requires --type=bioconductor".to_owned(),
                )),
            },
            SourceKind::CranSnapshot
            | SourceKind::CuratedCran
            | SourceKind::Local
            | SourceKind::Git
            | SourceKind::Pypi
            | SourceKind::CuratedPypi
            | SourceKind::LocalPython
            | SourceKind::GitPython => Err(SyncError::NotSynced(kind)),
        }
    }

    /// Syncs a source whose mirror serves a file that differs from the database. Unlike a sync by an administrator,
    /// this never confirms an index that shrank. Ignores sources without a mirror.
    pub fn report_mismatch(&self, tree: PointTree) {
        if tree.source == SourceId::CRAN {
            self.begin(SyncTarget::Cran, SyncTrigger::Mismatch);
        } else if tree.source == SourceId::BIOCONDUCTOR {
            let part = self.state.catalog.get().tree(tree.tree).and_then(Tree::part);
            if let Some(part) = part {
                self.begin(
                    SyncTarget::Bioconductor(Some(VersionName::Exact(part.version))),
                    SyncTrigger::Mismatch,
                );
            }
        }
    }

    /// Rolls back the pending rows of a sync that was killed. The daemon calls it before it serves; each sync does the
    /// same before it writes.
    ///
    /// # Errors
    /// Database errors.
    pub async fn recover(&self) -> Result<(), SyncError> {
        let state = &self.state;
        let (tree, lists) = state.db.read(|c| Ok((run::cran_tree(c)?, binaries::pending(c)?))).await?;
        let bioconductor = state.db.read(bioconductor::pending).await?;
        if !bioconductor.is_empty() {
            self.roll_back("sync:bioconductor", SourceId::BIOCONDUCTOR, &bioconductor).await?;
        }
        if tree.pending.is_none() && lists.is_empty() {
            return Ok(());
        }
        match Lease::claim(&state.db, &state.config.load_full(), &state.clock, "sync:cran").await {
            // Another server is writing now.
            Err(ClaimError::HeldByOther(_)) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(lease) => {
                let undone = async {
                    binaries::abandon(&state.db, &lease, lists).await?;
                    apply::abandon(&state.db, &lease, SourceId::CRAN, tree.id).await
                };
                let undone = undone.await;
                lease.release(&state.db).await;
                undone
            }
        }
    }

    /// Rolls back pending rows of trees, unless another server is writing now.
    async fn roll_back(&self, name: &str, source: SourceId, trees: &[TreeId]) -> Result<(), SyncError> {
        let state = &self.state;
        let lease = match Lease::claim(&state.db, &state.config.load_full(), &state.clock, name).await {
            Err(ClaimError::HeldByOther(_)) => return Ok(()),
            claimed => claimed?,
        };
        let mut undone = Ok(());
        for tree in trees {
            undone = undone.and(apply::abandon(&state.db, &lease, source, *tree).await);
        }
        lease.release(&state.db).await;
        undone
    }

    /// Time of the last successful sync of the built-in CRAN source, with or without changes; `None` before the first.
    ///
    /// # Errors
    /// Database errors.
    pub async fn last_success(&self) -> Result<Option<Timestamp>, SyncError> {
        self.success_time(run::success_key(SourceId::CRAN)).await
    }

    async fn success_time(&self, key: String) -> Result<Option<Timestamp>, SyncError> {
        let row = self.state.db.read(move |c| upstream::get(c, &key)).await?;
        Ok(row.map(|row| row.fetched_at))
    }

    /// Logs the state of the directories that serve as mirrors: their paths at once, the findings when the returned
    /// future completes.
    pub fn report_directories(&self) -> impl Future<Output = ()> + Send + 'static {
        for path in directories::paths(&self.state.config.load()) {
            tracing::info!(
                "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{path}'."
            );
        }
        let state = Arc::clone(&self.state);
        async move { directories::report(&state).await }
    }

    /// Loads the stored rules of system requirements. From this call until the returned future completes or is
    /// dropped, readers of the rules wait.
    pub fn load_rules(&self) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        let coming = state.rules.begin_load();
        async move {
            requirements::load(&state).await;
            drop(coming);
        }
    }

    /// As [`Sync::load_rules`], for the advisories.
    pub fn load_advisories(&self) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        let coming = state.advisories.begin_load();
        async move {
            advisories::load(&state).await;
            drop(coming);
        }
    }

    /// Starts (or attaches to) a refresh of the system requirement rules and the package database.
    #[must_use]
    pub fn start_requirements(&self, actor: &str) -> Started {
        self.begin_requirements(SyncTrigger::Administrator(actor.to_owned()))
    }

    /// Starts (or attaches to) a refresh of the package advisories.
    #[must_use]
    pub fn start_advisories(&self, actor: &str) -> Started {
        self.begin_advisories(SyncTrigger::Administrator(actor.to_owned()))
    }

    fn is_bioconductor_offered(&self) -> bool {
        self.state.catalog.get().repos.iter().any(|repo| repo.subscribes_to(SourceId::BIOCONDUCTOR))
    }

    /// Takes the syncs that were halted since the last call.
    #[must_use]
    pub fn take_halted(&self) -> Vec<HaltedSync> {
        std::mem::take(&mut self.halted.lock())
    }

    /// Resumes a halted sync, possibly one of another `Sync`.
    pub fn resume(&self, halted: HaltedSync) {
        self.begin(halted.target, halted.trigger);
    }

    fn begin(&self, what: SyncTarget, cause: SyncTrigger) -> Started {
        let (sync, now) = (self.clone(), (self.state.clock)());
        let (source, key) = match what {
            SyncTarget::Cran => ("cran", "sync:cran".to_owned()),
            SyncTarget::Bioconductor(None) => ("bioconductor", "sync:bioconductor".to_owned()),
            SyncTarget::Bioconductor(Some(version)) => {
                ("bioconductor", format!("sync:bioconductor:{version}"))
            }
        };
        self.state.jobs.start(&key, now, |report| async move {
            let state = &sync.state;
            let run = MeasuredSync::begin(state, source);
            let ended = match what {
                SyncTarget::Cran => {
                    // The final phase of a back-fill takes seconds.
                    let _alone = sync.cran_lock.lock().await;
                    let ended = run::cran(state, &cause, &report).await;
                    ended.map(|(outcome, built)| summary(&outcome, &built))
                }
                SyncTarget::Bioconductor(None)
                    if cause == SyncTrigger::Schedule && !sync.is_bioconductor_offered() =>
                {
                    return Ok("no repository offers Bioconductor; nothing to sync".to_owned());
                }
                SyncTarget::Bioconductor(version) => {
                    bioconductor::run(state, &cause, version, &sync.bioconductor_lock, &report).await
                }
            };
            run.end(&ended).await;
            if let Err(SyncError::Halted) = ended {
                sync.halted.lock().push(HaltedSync { target: what, trigger: cause });
            }
            ended.map(|said| log_success(source, said)).map_err(|error| log_failure(source, &error))
        })
    }

    fn begin_requirements(&self, cause: SyncTrigger) -> Started {
        let state = self.state.clone();
        let now = (state.clock)();
        self.state.jobs.start("sync:sysreqs", now, |report| async move {
            let run = MeasuredSync::begin(&state, "sysreqs");
            let ended = requirements::refresh(&state, &cause, &report).await;
            run.end(&ended).await;
            ended.map(|said| log_success("sysreqs", said)).map_err(|error| log_failure("sysreqs", &error))
        })
    }

    fn begin_advisories(&self, cause: SyncTrigger) -> Started {
        let (state, trouble) = (self.state.clone(), self.last_advisory_error.clone());
        let now = (state.clock)();
        self.state.jobs.start("sync:vulns", now, |report| async move {
            let run = MeasuredSync::begin(&state, "vulns");
            let ended = advisories::refresh(&state, &cause, &report).await;
            run.end(&ended).await;
            if let Err(error @ SyncError::Halted) = &ended {
                return Err(log_failure("vulns", error));
            }
            let said = ended.as_ref().err().map(ToString::to_string);
            let before = std::mem::replace(&mut *trouble.lock(), said.clone());
            match (&ended, said, before) {
                // Without internet the same error would be logged every ten minutes.
                (Err(_), Some(said), Some(before)) if said == before => Err(said),
                (Err(error), _, _) if state.config.load().vulnerabilities.is_configured => {
                    Err(log_failure("vulns", error))
                }
                (Err(error), _, _) => {
                    tracing::warn!(
                        target: "sync", source = "vulns", %error,
                        "could not fetch advisories; without internet access, name a local copy in \
                         Vulnerabilities.URL, or leave it empty"
                    );
                    Err(error.to_string())
                }
                (Ok(done), _, Some(_)) => {
                    tracing::info!(target: "sync", source = "vulns", "{done} (recovered after failed attempts)");
                    ended.map_err(|error| error.to_string())
                }
                (Ok(_), _, None) => ended.map_err(|error| error.to_string()),
            }
        })
    }
}

/// Runs CPU-bound work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SyncError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(SyncError::Refused),
        Err(_) => Err(SyncError::Stopping),
    }
}

fn log_failure(source: &str, error: &SyncError) -> String {
    match error {
        SyncError::Halted => tracing::info!(target: "sync", source, "{error}"),
        error => {
            for error in error.to_string().lines() {
                tracing::error!(target: "sync", source, error, "the sync failed; the last good state is served");
            }
        }
    }
    error.to_string()
}

/// Logs a successful sync, even without changes, so that an administrator sees that schedules run.
fn log_success(source: &str, said: String) -> String {
    for line in said.lines() {
        tracing::info!(target: "sync", source, "{line}");
    }
    said
}

/// The result of a sync for the log and the CLI.
fn summary(outcome: &SyncSummary, built: &BinarySyncSummary) -> String {
    let (said, held) = match outcome {
        SyncSummary::Nothing(held) if built.tx.is_some() => {
            ("cran is up to date; no package changed".to_owned(), *held)
        }
        SyncSummary::Nothing(held) => ("cran is up to date; nothing changed".to_owned(), *held),
        SyncSummary::Published(tx, counts, held) => (
            format!(
                "cran was synced (transaction {tx}): {} packages added, {} updated, {} removed, {} releases archived",
                counts.added, counts.updated, counts.removed, counts.archived
            ),
            *held,
        ),
    };
    let mut said = match held {
        0 => said,
        held => format!("{said}; {held} packages have releases younger than CRAN.DelaySyncDuration"),
    };
    if let Some(tx) = built.tx {
        said.push_str(&format!("; binaries were synced (transaction {tx}): {} new", built.listed));
    }
    if built.unknown > 0 {
        said.push_str(&format!(
            "; {} binaries are of versions that cran does not list, and are not served",
            built.unknown
        ));
    }
    for trouble in &built.errors {
        said.push_str("; ");
        said.push_str(trouble);
    }
    said
}
