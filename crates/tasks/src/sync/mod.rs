//! Syncs sources with their mirrors: fetch what a mirror declares, plan the changes (pure), publish one transaction.

mod advisories;
pub mod backfill;
mod binaries;
mod bioconductor;
mod clear;
mod cran;
mod declaration;
mod descriptions;
pub mod directories;
pub mod error;
pub mod existing_source;
mod failures;
mod fetch;
mod index_files;
mod list_writer;
mod package;
pub mod plan;
mod project_list;
mod projects;
mod requirements;
mod run;
mod schedule;
mod skew;
mod stored_dataset;
pub mod task;

pub use error::SyncError;

use std::sync::Arc;

use parking_lot::Mutex;

use base::model::ids::{SourceId, TreeId};
use base::model::kind::SourceKind;
use base::model::point::PointTree;
use base::model::project_name::ProjectName;
use base::model::time::Timestamp;
use content::index::PageReads;
use failures::{MeasuredSync, log_failure, log_success};
use formats::r::bioconductor::VersionName;
use runtime::catalog::Tree;
use runtime::jobs::lease::{ClaimError, Lease};
use runtime::jobs::{AfterHalt, JobStart, Reporter};
use runtime::publish::transaction::{Rows, abandon};
use runtime::state::State;
use store::db::{tree, upstream};
use task::{SourceLock, Subject, SyncTrigger, Task, TaskState};

/// Syncs sources with their mirrors; clones share one state.
#[derive(Clone)]
pub struct Sync {
    state: Arc<State>,
    page_reads: Arc<PageReads>,
    /// Halted syncs with their trigger, to be resumed.
    halted_syncs: Arc<Mutex<Vec<HaltedSync>>>,
    /// The state of each task, in the order of [`Task::ALL`].
    tasks: Arc<[TaskState; Task::ALL.len()]>,
}

#[derive(Clone, Debug)]
pub struct HaltedSync {
    task: Task,
    kind: SourceKind,
    /// The version of Bioconductor; `None` for all versions, and for other sources.
    version: Option<VersionName>,
    trigger: SyncTrigger,
}

impl HaltedSync {
    /// Returns the kind of source, and the Bioconductor version if the sync was limited to one.
    pub fn target(&self) -> (SourceKind, Option<VersionName>) {
        (self.kind, self.version)
    }

    /// Returns the administrator who started the sync; `None` for other triggers, which start it again automatically.
    pub fn administrator(&self) -> Option<&str> {
        match &self.trigger {
            SyncTrigger::Administrator(actor) | SyncTrigger::Confirmed(actor) => Some(actor),
            SyncTrigger::Schedule | SyncTrigger::Mismatch => None,
        }
    }
}

impl Sync {
    /// Creates a `Sync` on the shared state. Pages of indexes that it reads count towards the limit of `page_reads`.
    pub fn new(page_reads: Arc<PageReads>, state: Arc<State>) -> Sync {
        Sync { state, page_reads, halted_syncs: Arc::default(), tasks: Arc::default() }
    }

    /// Starts (or attaches to) the sync of the built-in source of `kind` for an administrator.
    pub fn start(&self, kind: SourceKind) -> Result<JobStart, SyncError> {
        self.start_by(kind, None, "rspm sync")
    }

    /// As [`Sync::start`], optionally for one Bioconductor version; the transaction names `actor`.
    ///
    /// # Errors
    /// [`SyncError::NotSynced`] for sources without mirror, [`SyncError::Refused`] for a version of another source.
    pub fn start_by(
        &self,
        kind: SourceKind,
        version: Option<VersionName>,
        actor: &str,
    ) -> Result<JobStart, SyncError> {
        let trigger = SyncTrigger::Administrator(actor.to_owned());
        let task = Task::of_kind(kind)?;
        if version.is_some() && task != Task::Bioconductor {
            return Err(SyncError::Refused(
                "--version is a version of Bioconductor; it requires --type=bioconductor".to_owned(),
            ));
        }
        Ok(self.begin(task, version, trigger))
    }

    /// Starts (or attaches to) the sync of an index of projects, and accepts a list that has lost projects or whose serials
    /// decreased. Fails as [`Sync::start_by`].
    pub fn start_confirmed(&self, kind: SourceKind, actor: &str) -> Result<JobStart, SyncError> {
        let task = Task::of_kind(kind)?;
        Ok(self.begin(task, None, SyncTrigger::Confirmed(actor.to_owned())))
    }

    /// Starts clearing CRAN: its newest state lists nothing until the next sync.
    pub fn start_clear(&self, actor: &str) -> JobStart {
        let (sync, now, actor) = (self.clone(), (self.state.clock)(), actor.to_owned());
        let work = |report| async move {
            let _guard = sync.source_lock(Task::Cran).lock().await;
            clear::run(&sync.state, &actor, &report).await.map_err(|error| error.to_string())
        };
        // The job has the key of the sync, so that only one of the two runs at a time.
        self.state.jobs.start_with(AfterHalt::Restarts, "sync:cran", "clear", now, work)
    }

    /// Syncs a source whose mirror serves a file of a package that differs from the database; of an index of projects, only
    /// the page of the project is read again, because it states the digests. Unlike a sync by an administrator, this never
    /// confirms an index that shrank. Ignores other sources. Must be called inside the runtime.
    pub fn report_mismatch(&self, tree: PointTree, package: &str) {
        if tree.source == SourceId::CRAN {
            self.begin(Task::Cran, None, SyncTrigger::Mismatch);
        } else if tree.source == SourceId::BIOCONDUCTOR {
            let part = self.state.catalog.get().tree(tree.tree).and_then(Tree::part);
            if let Some(part) = part {
                let version = Some(VersionName::Exact(part.version));
                self.begin(Task::Bioconductor, version, SyncTrigger::Mismatch);
            }
        } else if let Ok(page_reads) = self.page_reads.of(tree.source) {
            let project = ProjectName::folded(package);
            let page_reads = Arc::clone(page_reads);
            let source = self.state.catalog.get().source_name(tree.source);
            tokio::spawn(async move {
                tracing::info!(target: "sync", source = source.as_str(), %project, "a file is not the one that the page of its project states, or is missing; reading the page again");
                // An error is logged there.
                page_reads.refresh(&[project]).await;
            });
        }
    }

    /// Rolls back the pending rows of a killed sync. The daemon calls it before it serves; each sync does the same.
    pub async fn recover(&self) -> Result<(), SyncError> {
        let state = &self.state;
        let (tree, binary_trees) =
            state.db.read(|c| Ok((tree::built_in(c, SourceId::CRAN)?, binaries::pending(c)?))).await?;
        let bioconductor = state.db.read(bioconductor::pending_trees).await?;
        let rows = Rows::Releases(SourceId::BIOCONDUCTOR);
        self.roll_back("sync:bioconductor", &[(rows, &bioconductor)]).await?;
        let source_tree = tree.pending.map(|_| tree.id);
        let rows = Rows::Releases(SourceId::CRAN);
        self.roll_back("sync:cran", &[(Rows::Binaries, &binary_trees), (rows, source_tree.as_slice())]).await
    }

    /// Rolls back pending rows of trees, unless there are none or another server is writing now.
    async fn roll_back(&self, lease: &str, pending: &[(Rows, &[TreeId])]) -> Result<(), SyncError> {
        let state = &self.state;
        if pending.iter().all(|(_, trees)| trees.is_empty()) {
            return Ok(());
        }
        let lease = match Lease::claim(&state.db, state.node, lease).await {
            Err(ClaimError::HeldByOther(_)) => return Ok(()),
            result => result?,
        };
        let result = async {
            for &(rows, trees) in pending {
                abandon(&state.db, &lease, rows, trees).await?;
            }
            Ok::<(), SyncError>(())
        };
        let result = result.await;
        lease.release().await;
        result
    }

    /// Returns the time of the last successful sync of CRAN, with or without changes; `None` before the first.
    pub async fn last_success(&self) -> Result<Option<Timestamp>, SyncError> {
        self.success_time(Task::Cran).await
    }

    async fn success_time(&self, task: Task) -> Result<Option<Timestamp>, SyncError> {
        let key = task.success_key();
        let row = self.state.db.read(move |c| upstream::get(c, &key)).await?;
        Ok(row.map(|row| row.fetched_at))
    }

    /// Logs the directories that serve as mirrors: the paths immediately, the findings when the future completes.
    pub fn report_directories(&self) -> impl Future<Output = ()> + Send + 'static {
        for path in directories::paths(&self.state.config.load()) {
            tracing::info!(
                "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{path}'."
            );
        }
        let state = Arc::clone(&self.state);
        async move { directories::report(&state).await }
    }

    /// Loads the stored rules for system requirements. Readers wait until the future completes or is dropped.
    pub fn load_rules(&self) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        let loading = state.sysreqs.begin_load();
        async move {
            requirements::load(&state).await;
            drop(loading);
        }
    }

    /// As [`Sync::load_rules`], for the advisories.
    pub fn load_advisories(&self) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        let loading = state.advisories.begin_load();
        async move {
            advisories::load(&state).await;
            drop(loading);
        }
    }

    /// Starts (or attaches to) a refresh of the system requirement rules and the package database.
    pub fn start_requirements(&self, actor: &str) -> JobStart {
        self.begin(Task::Requirements, None, SyncTrigger::Administrator(actor.to_owned()))
    }

    /// Starts (or attaches to) a refresh of the package advisories.
    pub fn start_advisories(&self, actor: &str) -> JobStart {
        self.begin(Task::Advisories, None, SyncTrigger::Administrator(actor.to_owned()))
    }

    fn is_offered(&self, source: SourceId) -> bool {
        let catalog = self.state.catalog.get();
        // A curated source selects from the list of an index, also before a repository subscribes to it.
        catalog.repos.iter().any(|repo| repo.subscribes_to(source))
            || catalog.sources.iter().any(|other| other.kind.origin() == Some(source))
    }

    /// Returns the syncs that were halted since the last call.
    pub fn take_halted(&self) -> Vec<HaltedSync> {
        std::mem::take(&mut self.halted_syncs.lock())
    }

    /// Resumes a halted sync, possibly one of another `Sync`.
    pub fn resume(&self, sync: HaltedSync) {
        self.begin(sync.task, sync.version, sync.trigger);
    }

    fn task_state(&self, task: Task) -> &TaskState {
        &self.tasks[task as usize]
    }

    fn source_lock(&self, task: Task) -> &SourceLock {
        &self.task_state(task).source_lock
    }

    /// Starts (or attaches to) a run of a task, for one version of Bioconductor or for all.
    fn begin(&self, task: Task, version: Option<VersionName>, trigger: SyncTrigger) -> JobStart {
        let (sync, now, name) = (self.clone(), (self.state.clock)(), task.as_str());
        let key = match version {
            Some(version) => format!("sync:{name}:{version}"),
            None => format!("sync:{name}"),
        };
        self.state.jobs.start(
            &key,
            now,
            |report| async move { sync.run(task, version, trigger, &report).await },
        )
    }

    async fn run(
        &self,
        task: Task,
        version: Option<VersionName>,
        trigger: SyncTrigger,
        report: &Reporter,
    ) -> Result<String, String> {
        let (state, name) = (&self.state, task.as_str());
        let measurement = MeasuredSync::begin(state, name);
        if trigger == SyncTrigger::Schedule && version.is_none() && self.is_idle(task) {
            let source = task.kind().map_or(name, SourceKind::label);
            return Ok(log_success(name, format!("no repository offers {source}; nothing to sync")));
        }
        let result = match task.subject() {
            Subject::Cran => {
                // Waits for the final phase of a back-fill, which takes seconds.
                let _guard = self.source_lock(task).lock().await;
                cran::run(state, &trigger, report).await
            }
            Subject::Bioconductor => {
                bioconductor::run(state, &trigger, version, self.source_lock(task), report).await
            }
            Subject::Projects(index) => {
                let _guard = self.source_lock(task).lock().await;
                projects::run(state, &self.page_reads, index, &trigger, report).await
            }
            Subject::Requirements => requirements::refresh(state, &trigger, report).await,
            Subject::Advisories => advisories::refresh(state, &trigger, report).await,
        };
        measurement.end(&result).await;
        if let (Err(SyncError::Halted), Some(kind)) = (&result, task.kind()) {
            self.halted_syncs.lock().push(HaltedSync { task, kind, version, trigger });
        }
        match task.subject() {
            Subject::Advisories => advisories::log_end(state, &self.task_state(task).last_error, result),
            Subject::Cran | Subject::Bioconductor | Subject::Projects(_) | Subject::Requirements => {
                result.map(|message| log_success(name, message)).map_err(|error| log_failure(name, &error))
            }
        }
    }
}
