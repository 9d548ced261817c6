//! Syncs one list of packages of a mirror, from revalidating its files to the plan of changes. The sync of CRAN is one
//! such list plus its binaries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::SyncError;
use super::apply::{self, SyncTransaction, ValidatorUpdates};
use super::binaries::{self, BinarySyncSummary};
use super::bundle_digests;
use super::existing::ExistingSource;
use super::fetch::{FILES, IndexFile, IndexFiles, Reader, Revalidation, no_index};
use super::index_files::{self, ShrinkPolicy, ShrunkIndex};
use super::plan::{MirrorDeclaration, Plan, plan};
use super::skew;
use crate::db::upstream::StoredValidators;
use crate::db::{Conn, DbError, source, tree, upstream};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::digest::Sha256;
use crate::model::ids::{SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::r::index;
use crate::r::packages::IndexRecord;
use crate::state::State;
use crate::upstream::Mirror;
use crate::upstream::mirror_view::MirrorView;

/// The trigger of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncTrigger {
    /// The schedule, or a missed run.
    Schedule,
    /// A package file that differs from the index.
    Mismatch,
    /// An administrator, under the name that the transaction records.
    Administrator(String),
}

impl SyncTrigger {
    pub(super) fn actor(&self) -> &str {
        match self {
            SyncTrigger::Schedule => "schedule",
            SyncTrigger::Mismatch => "a package that differs from the index",
            SyncTrigger::Administrator(actor) => actor,
        }
    }
}

/// The result of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncSummary {
    /// No changes, nothing published; number of packages held back.
    Nothing(usize),
    /// One transaction; number of packages held back.
    Published(TxId, crate::model::change::Counts, usize),
}

/// Stored validators of a list.
struct ListValidators {
    files: HashMap<&'static str, StoredValidators>,
    /// Digest of the last declaration that was refused because it had shrunk.
    refused: Option<Sha256>,
}

/// The key of the row of the last success: its `etag` is the mirror's address, its `fetched_at` the time.
pub(super) fn success_key(source: SourceId) -> String {
    format!("sync:{source}")
}

/// Syncs the built-in CRAN source.
pub(super) async fn cran(
    state: &Arc<State>,
    cause: &SyncTrigger,
    report: &Reporter,
) -> Result<(SyncSummary, BinarySyncSummary), SyncError> {
    // One configuration for the whole run: a reload takes effect with the next run.
    let config = state.config.load_full();
    let mirror = state.upstream.load().mirror(&config.cran.url)?;
    skew::check_clock(state, &mirror, "src/contrib/PACKAGES.gz").await?;
    let lease = Lease::claim(&state.db, &config, &state.clock, "sync:cran").await?;
    let run = SyncContext { state, trigger: cause, report, lease: &lease };
    let outcome = async {
        let list = PackageList {
            source: SourceId::CRAN,
            tree: state.db.read(cran_tree).await?.id,
            key: success_key(SourceId::CRAN),
            name: "cran".to_owned(),
            command: "rspm sync".to_owned(),
            mirror,
            delay: config.cran.delay,
            coverage: Coverage::Whole,
        };
        let sources = run.sync(&list).await?;
        Ok((sources, binaries::run(&run).await?))
    };
    let outcome = outcome.await;
    lease.release(&state.db).await;
    outcome
}

/// Returns the tree of CRAN, which the first migration creates.
pub(super) fn cran_tree(c: &mut dyn Conn) -> Result<tree::Tree, DbError> {
    let missing = || DbError::Shape { column: 0, found: "no row", wanted: "the tree of the source cran" };
    let found = source::get(c, SourceId::CRAN)?.ok_or_else(missing)?;
    let trees = tree::of_source(c, found.id)?;
    trees.into_iter().find(|tree| tree.role == tree::Role::Source).ok_or_else(missing)
}

/// A list of packages of a mirror.
pub(super) struct PackageList {
    /// Its source.
    pub(super) source: SourceId,
    /// The tree that stores it.
    pub(super) tree: TreeId,
    /// Key, or key prefix, of the rows with its validators.
    pub(super) key: String,
    /// Name for messages.
    pub(super) name: String,
    /// The command with which an administrator syncs it.
    pub(super) command: String,
    /// The mirror whose `src/contrib` is the list.
    pub(super) mirror: Mirror,
    /// Minimum age of new releases.
    pub(super) delay: Duration,
    /// Which part of its source it is.
    pub(super) coverage: Coverage,
}

/// Which part of its source a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// The whole source. A mirror without packages is an error.
    Whole,
    /// One of several lists that share releases; it may be empty if it always was.
    Part,
}

impl PackageList {
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.mirror.address())
    }

    fn refused_key(&self) -> String {
        format!("{}:refused", self.key)
    }

    /// Returns the validators to store once the changes are in the database.
    fn validator_updates(&self, files: &IndexFiles, started_at: Timestamp) -> ValidatorUpdates {
        let read: Vec<&IndexFile> = [Some(&files.index), files.current.as_ref(), files.archive.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let seen =
            |path: &str| read.iter().find(|file| file.path == path).map(|file| file.validators.clone());
        let mut memory: ValidatorUpdates = FILES.map(|path| (self.url(path), seen(path))).into();
        memory.push(self.success(started_at));
        memory.push((self.refused_key(), None));
        memory
    }

    /// Returns the row that records a successful sync from this mirror.
    pub(super) fn success(&self, started_at: Timestamp) -> (String, Option<StoredValidators>) {
        let row = StoredValidators {
            etag: Some(self.mirror.address()),
            modified: None,
            sha256: Sha256([0; 32]),
            fetched_at: started_at,
        };
        (self.key.clone(), Some(row))
    }

    fn refuse(&self, reason: &str) -> SyncError {
        SyncError::Refused(format!("{}: {reason}", self.mirror.address()))
    }
}

/// The result of revalidating a list.
pub(super) enum ListCheck {
    /// The mirror does not have it.
    Absent,
    /// Unchanged; the validators to store.
    Unchanged(ValidatorUpdates),
    /// Changed files to compare.
    Changed(Box<IndexFiles>),
}

/// The changes of a list, and the validators to store with them.
pub(super) struct PlannedStep {
    pub(super) plan: Plan,
    pub(super) validators: ValidatorUpdates,
    /// The list was never published.
    pub(super) is_new: bool,
}

impl PlannedStep {
    /// Returns whether there is a step to publish.
    pub(super) fn is_step(&self) -> bool {
        self.is_new || !self.plan.changes.is_empty()
    }
}

pub(super) struct SyncContext<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) trigger: &'a SyncTrigger,
    pub(super) report: &'a Reporter,
    pub(super) lease: &'a Lease,
}

impl SyncContext<'_> {
    async fn sync(&self, list: &PackageList) -> Result<SyncSummary, SyncError> {
        let state = self.state;
        let started_at = (state.clock)();
        list.mirror.check().await?;
        let files = match self.revalidate(list, started_at).await? {
            ListCheck::Absent => return Err(no_index(&list.mirror)),
            ListCheck::Unchanged(memory) => {
                self.store_validators(memory).await?;
                return Ok(SyncSummary::Nothing(0));
            }
            ListCheck::Changed(files) => *files,
        };
        let planned = self.plan(list, files, started_at).await?;
        let held = planned.plan.held_back;
        if planned.plan.changes.is_empty() {
            self.store_validators(planned.validators).await?;
            return Ok(SyncSummary::Nothing(held));
        }
        let mut work = self.transaction(list.source, started_at);
        if let Err(error) = work.write(list.tree, planned.plan).await {
            work.roll_back().await;
            return Err(error);
        }
        let (tx, counts) = work.publish(planned.validators, (state.clock)()).await?;
        self.report.progress("publishing", 1, Some(1));
        state.catalog.refresh(&state.db).await?;
        Ok(SyncSummary::Published(tx, counts, held))
    }

    /// Returns an empty transaction.
    pub(super) fn transaction(&self, source: SourceId, started_at: Timestamp) -> SyncTransaction<'_> {
        SyncTransaction::new(
            &self.state.db,
            self.lease,
            source,
            started_at,
            self.trigger.actor(),
            self.report,
        )
    }

    /// Revalidates the files of a list. Until something is written, every await point is a safe point to halt.
    pub(super) async fn revalidate(
        &self,
        list: &PackageList,
        started_at: Timestamp,
    ) -> Result<ListCheck, SyncError> {
        let remembered = self.list_validators(list).await?;
        let reader = Reader {
            mirror: &list.mirror,
            known: remembered.files,
            clock: &self.state.clock,
            report: self.report,
        };
        let look = tokio::select! {
            look = reader.revalidate() => look?,
            () = self.report.wait_halted() => return Err(SyncError::Halted),
        };
        Ok(match look {
            Revalidation::Absent => ListCheck::Absent,
            Revalidation::Unchanged(moved) => {
                let moved = moved.into_iter().map(|(path, seen)| (list.url(path), Some(seen)));
                ListCheck::Unchanged(moved.chain([list.success(started_at)]).collect())
            }
            Revalidation::Changed(files) => ListCheck::Changed(files),
        })
    }

    /// Compares the declaration of a mirror with the database.
    pub(super) async fn plan(
        &self,
        list: &PackageList,
        files: IndexFiles,
        started_at: Timestamp,
    ) -> Result<PlannedStep, SyncError> {
        let state = self.state;
        let shown = list.mirror.view().await?;
        if let Some(shown) = &shown {
            bundle_digests::set_in_releases(&state.db, self.lease, list.source, shown).await?;
        }
        let of = self.tree(list).await?;
        self.report.progress("comparing with the database", 0, None);
        let (source, is_new) = (list.source, of.head.is_none());
        let (files, among) = match list.coverage {
            Coverage::Whole => (files, None),
            Coverage::Part => {
                let named = tokio::task::spawn_blocking(move || (versions(&files), files)).await;
                let (among, files) = named.map_err(|_| SyncError::Stopping)?;
                (files, among.map_err(|reason| list.refuse(&reason))?)
            }
        };
        let known = state.db.read(move |c| ExistingSource::load(c, source, &of, among.as_deref())).await?;
        let refused = self.list_validators(list).await?.refused;
        let digest = digest(&files);
        let confirmed = matches!(self.trigger, SyncTrigger::Administrator(_)) && refused == Some(digest);
        let trust = if confirmed { ShrinkPolicy::Accept } else { ShrinkPolicy::Refuse };
        let mut memory = list.validator_updates(&files, started_at);
        let delay = i64::try_from(list.delay.as_micros()).unwrap_or(i64::MAX);
        let believe = Acceptance {
            trust,
            until: (delay > 0).then(|| Timestamp(started_at.0.saturating_sub(delay))),
            coverage: list.coverage,
            command: list.command.clone(),
        };
        // Takes seconds of CPU: not on an async thread.
        let files_shown = shown.clone();
        let planned =
            tokio::task::spawn_blocking(move || parse_and_plan(&known, files, files_shown, &believe)).await;
        let plan = match planned.map_err(|_| SyncError::Stopping)? {
            Ok(mut plan) => {
                if let Some(shown) = &shown {
                    bundle_digests::set_in_plan(&mut plan, shown);
                }
                plan
            }
            Err(PlanError::Refused(reason)) => return Err(list.refuse(&reason)),
            Err(PlanError::Shrunk(ShrunkIndex(reason))) => {
                let row =
                    StoredValidators { etag: None, modified: None, sha256: digest, fetched_at: started_at };
                self.store_validators(vec![(list.refused_key(), Some(row))]).await?;
                return Err(list.refuse(&reason));
            }
        };
        for warning in &plan.warnings {
            tracing::warn!(target: "sync", source = list.name, "{warning}");
        }
        if plan.held_back > 0 {
            tracing::info!(target: "sync", source = list.name, packages = plan.held_back, "new releases are held back by CRAN.DelaySyncDuration");
            // They become old enough without a change of the mirror, so the next sync must read all files.
            memory
                .iter_mut()
                .filter(|(url, _)| FILES.iter().any(|path| *url == list.url(path)))
                .for_each(|row| row.1 = None);
        }
        Ok(PlannedStep { plan, validators: memory, is_new })
    }

    /// Returns the tree of a list without pending rows: syncs of a source exclude each other, so pending rows belong
    /// to a dead process.
    async fn tree(&self, list: &PackageList) -> Result<tree::Tree, SyncError> {
        let (db, id) = (&self.state.db, list.tree);
        let read = move |c: &mut dyn Conn| {
            let missing = DbError::Shape { column: 0, found: "no row", wanted: "a tree" };
            tree::get(c, id)?.ok_or(missing)
        };
        let found = db.read(read).await?;
        if found.pending.is_some() {
            apply::abandon(db, self.lease, list.source, found.id).await?;
            return Ok(db.read(read).await?);
        }
        Ok(found)
    }

    async fn list_validators(&self, list: &PackageList) -> Result<ListValidators, SyncError> {
        let (address, key, refused_key) = (list.mirror.address(), list.key.clone(), list.refused_key());
        let urls = FILES.map(|path| (path, list.url(path)));
        let read = self.state.db.read(move |c| {
            let last = upstream::get(c, &key)?;
            let refused = upstream::get(c, &refused_key)?.map(|row| row.sha256);
            let mut files = HashMap::new();
            // Validators of another mirror do not apply: after a change of `CRAN.URL` all files are read again.
            if last.and_then(|row| row.etag).as_ref() == Some(&address) {
                for (path, url) in &urls {
                    if let Some(seen) = upstream::get(c, url)? {
                        files.insert(*path, seen);
                    }
                }
            }
            Ok(ListValidators { files, refused })
        });
        Ok(read.await?)
    }

    /// Writes validators.
    pub(super) async fn store_validators(&self, memory: ValidatorUpdates) -> Result<(), SyncError> {
        let fence = self.lease.guard();
        let write = self.state.db.write(move |c| {
            fence.check(c)?;
            apply::store_validators(c, &memory)
        });
        Ok(write.await?)
    }
}

/// Returns the packages and versions of an index, the whole declaration of a list without an archive; `None` if there
/// is one.
fn versions(files: &IndexFiles) -> Result<Option<Vec<(String, String)>>, String> {
    if files.archive.is_some() {
        return Ok(None);
    }
    let refused = |reason: String| format!("{}: {reason}", files.index.path);
    let text = index::text(files.index.path, &files.index.bytes).map_err(refused)?;
    let records = index::records(&text, &mut Vec::new()).map_err(refused)?;
    let pair = |record: IndexRecord<'_>| (record.package.to_owned(), record.version.to_owned());
    let mut versions: Vec<(String, String)> = records.into_iter().map(pair).collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(Some(versions))
}

/// Returns the digest that identifies a repeated declaration.
fn digest(files: &IndexFiles) -> Sha256 {
    use sha2::{Digest, Sha256 as Hasher};
    let mut hasher = Hasher::new();
    hasher.update(files.index.validators.sha256.0);
    hasher.update(files.archive.as_ref().map_or([0; 32], |file| file.validators.sha256.0));
    Sha256(hasher.finalize().into())
}

/// The conditions under which a declaration is accepted.
struct Acceptance {
    trust: ShrinkPolicy,
    until: Option<Timestamp>,
    coverage: Coverage,
    command: String,
}

/// Why there is no plan.
enum PlanError {
    Refused(String),
    Shrunk(ShrunkIndex),
}

fn parse_and_plan(
    known: &ExistingSource,
    files: IndexFiles,
    shown: Option<Arc<MirrorView>>,
    believe: &Acceptance,
) -> Result<Plan, PlanError> {
    let mut warnings = files.warnings;
    let refused = |reason: String| PlanError::Refused(format!("{}: {reason}", files.index.path));
    let text = index::text(files.index.path, &files.index.bytes).map_err(refused)?;
    let declared = MirrorDeclaration {
        listed: index::records(&text, &mut warnings).map_err(refused)?,
        current: index_files::current(files.current, &mut warnings),
        archive: index_files::archive(files.archive, &mut warnings),
        shown,
        until: believe.until,
    };
    if declared.listed.is_empty() && believe.coverage == Coverage::Whole {
        return Err(refused("the index lists no package".to_owned()));
    }
    index_files::check_loss(known, &declared, believe.trust, &believe.command).map_err(PlanError::Shrunk)?;
    let mut plan = plan(known, &declared);
    warnings.append(&mut plan.warnings);
    plan.warnings = warnings;
    Ok(plan)
}
