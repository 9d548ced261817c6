//! Syncs one list of packages of a mirror, from revalidating its files to the transaction of the changes. The rows are
//! written in chunks of at most 2,000, with lower priority than interactive writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::task_result;
use super::existing_source::ExistingSource;
use super::fetch::{FILES, IndexFile, IndexFiles, MirrorReader, Revalidation, no_index};
use super::index_files::{
    Acceptance, Coverage, PlanError, ShrinkPolicy, ShrunkIndex, digest, parse_and_plan, versions,
};
use super::plan::Plan;
use super::task::SyncTrigger;
use super::{SyncError, plan};
use ::upstream::origin::index_proof::prove_index;
use ::upstream::{Mirror, Upstream};
use base::config::Config;
use base::model::change::Counts;
use base::model::digest::Sha256;
use base::model::ids::{SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use formats::tlog::policy::Policy;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::publish::transaction::{CHUNK, Rows, Transaction, abandon};
use runtime::state::State;
use store::db::import::{self, ImportTarget};
use store::db::tx::{Publish, TxKind};
use store::db::upstream::StoredValidators;
use store::db::{Conn, DbError, tree, upstream};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncSummary {
    /// No changes, nothing published.
    Unchanged {
        /// Number of packages with releases younger than the delay.
        delayed_count: usize,
    },
    Published {
        tx: TxId,
        counts: Counts,
        /// Number of packages with releases younger than the delay.
        delayed_count: usize,
    },
}

struct ListValidators {
    files: HashMap<&'static str, StoredValidators>,
    /// Digest of the last declaration that was refused because it had shrunk.
    refused_digest: Option<Sha256>,
}

pub(super) struct PackageList {
    pub(super) source: SourceId,
    pub(super) tree: TreeId,
    /// Key, or key prefix, of the rows with its validators.
    pub(super) key: String,
    pub(super) name: String,
    /// The command with which an administrator syncs it.
    pub(super) command: String,
    /// The mirror whose `src/contrib` is the list.
    pub(super) mirror: Mirror,
    /// Minimum age of new releases.
    pub(super) delay: Duration,
    /// The part of its source that it contains.
    pub(super) coverage: Coverage,
    /// The policy by which the log of another server must prove the index.
    pub(super) policy: Option<Policy>,
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
        let read_files: Vec<&IndexFile> =
            [Some(&files.index), files.current.as_ref(), files.archive.as_ref()]
                .into_iter()
                .flatten()
                .collect();
        let validators =
            |path: &str| read_files.iter().find(|file| file.path == path).map(|file| file.validators.clone());
        let mut updates: ValidatorUpdates = FILES.map(|path| (self.url(path), validators(path))).into();
        updates.push(self.success_row(started_at));
        updates.push((self.refused_key(), None));
        updates
    }

    /// Returns the row that records a successful sync from this mirror.
    pub(super) fn success_row(&self, started_at: Timestamp) -> (String, Option<StoredValidators>) {
        let row = StoredValidators::success(self.mirror.address(), started_at);
        (self.key.clone(), Some(row))
    }

    fn refuse(&self, reason: &str) -> SyncError {
        SyncError::Refused(format!("{}: {reason}", self.mirror.address()))
    }
}

/// The result of revalidating a list.
pub(super) enum ListCheck {
    /// The mirror does not have the list.
    Absent,
    /// Unchanged; the validators to store.
    Unchanged(ValidatorUpdates),
    Changed(Box<IndexFiles>),
}

/// The changes of a list, and the validators to store with them.
pub(super) struct PlannedList {
    pub(super) plan: Plan,
    pub(super) validators: ValidatorUpdates,
    /// Whether the list was never published.
    pub(super) is_new: bool,
}

impl PlannedList {
    pub(super) fn must_publish(&self) -> bool {
        self.is_new || !self.plan.changes.is_empty()
    }
}

/// The context of a running sync. A reload takes effect with the next sync.
pub(super) struct SyncContext<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) config: &'a Config,
    pub(super) upstream: &'a Upstream,
    pub(super) trigger: &'a SyncTrigger,
    pub(super) report: &'a Reporter,
    pub(super) lease: &'a Lease,
}

impl SyncContext<'_> {
    /// Syncs a list that is a whole source.
    pub(super) async fn sync(&self, list: &PackageList) -> Result<SyncSummary, SyncError> {
        let state = self.state;
        let started_at = (state.clock)();
        list.mirror.check().await?;
        let files = match self.revalidate(list, started_at).await? {
            ListCheck::Absent => return Err(no_index(&list.mirror)),
            ListCheck::Unchanged(updates) => {
                self.store_validators(updates).await?;
                return Ok(SyncSummary::Unchanged { delayed_count: 0 });
            }
            ListCheck::Changed(files) => *files,
        };
        if let Some(policy) = &list.policy {
            let IndexFile { path, bytes, .. } = &files.index;
            let proof = prove_index(&list.mirror, policy, path, bytes.clone()).await?;
            let (log, entry) = (proof.note.text().lines().next().unwrap_or_default(), proof.index);
            tracing::info!(target: "sync", source = list.name, "the index is that of entry {entry} of the log {log}");
        }
        let step = self.plan(list, files, started_at).await?;
        let delayed_count = step.plan.delayed_count;
        tracing::debug!(
            list = list.name,
            changes = step.plan.changes.len(),
            delayed_count,
            "compared a list"
        );
        if step.plan.changes.is_empty() {
            self.store_validators(step.validators).await?;
            return Ok(SyncSummary::Unchanged { delayed_count });
        }
        let mut transaction = self.transaction(list.source, started_at);
        if let Err(error) = transaction.write(list.tree, step.plan).await {
            transaction.inner.roll_back().await;
            return Err(error);
        }
        let (tx, counts) = transaction.publish(step.validators, (state.clock)()).await?;
        Ok(SyncSummary::Published { tx, counts, delayed_count })
    }

    /// Returns an empty transaction.
    pub(super) fn transaction(&self, source: SourceId, started_at: Timestamp) -> SyncTransaction<'_> {
        let now = (self.state.clock)();
        let publish = Publish {
            source: Some(source),
            ..Publish::new(TxKind::Sync, now, started_at, self.trigger.actor())
        };
        let rows = Rows::Releases(source);
        let transaction = Transaction::new(self.state, self.lease, self.report, rows);
        SyncTransaction { inner: transaction, source, publish }
    }

    /// Revalidates the files of a list. Until something is written, every await point is a safe point to halt.
    pub(super) async fn revalidate(
        &self,
        list: &PackageList,
        started_at: Timestamp,
    ) -> Result<ListCheck, SyncError> {
        let validators = self.list_validators(list).await?;
        let reader = MirrorReader {
            mirror: &list.mirror,
            validators: validators.files,
            clock: &self.state.clock,
            report: self.report,
        };
        let revalidation = tokio::select! {
            revalidation = reader.revalidate() => revalidation?,
            () = self.report.wait_halted() => return Err(SyncError::Halted),
        };
        Ok(match revalidation {
            Revalidation::Absent => ListCheck::Absent,
            Revalidation::Unchanged(validators) => {
                let updates =
                    validators.into_iter().map(|(path, validator)| (list.url(path), Some(validator)));
                ListCheck::Unchanged(updates.chain([list.success_row(started_at)]).collect())
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
    ) -> Result<PlannedList, SyncError> {
        let state = self.state;
        let view = list.mirror.view().await?;
        if let Some(view) = &view {
            plan::set_in_releases(&state.db, self.lease, list.source, view).await?;
        }
        let tree = self.tree(list).await?;
        self.report.progress("comparing with the database", 0, None);
        let (source, is_new) = (list.source, tree.head.is_none());
        let (files, index_versions) = match list.coverage {
            Coverage::Whole => (files, None),
            Coverage::Part => {
                let result = tokio::task::spawn_blocking(move || (versions(&files), files)).await;
                let (index_versions, files) = task_result(result)?;
                (files, index_versions.map_err(|reason| list.refuse(&reason))?)
            }
        };
        let load = move |c: &mut dyn Conn| ExistingSource::load(c, source, &tree, index_versions.as_deref());
        let existing_source = state.db.read(load).await?;
        let refused_digest = self.list_validators(list).await?.refused_digest;
        let digest = digest(&files);
        let is_confirmed =
            matches!(self.trigger, SyncTrigger::Administrator(_)) && refused_digest == Some(digest);
        let policy = if is_confirmed { ShrinkPolicy::Accept } else { ShrinkPolicy::Refuse };
        let mut updates = list.validator_updates(&files, started_at);
        let acceptance = Acceptance {
            shrink_policy: policy,
            cutoff: (!list.delay.is_zero()).then(|| started_at - list.delay),
            coverage: list.coverage,
            command: list.command.clone(),
        };
        // Takes seconds of CPU time: not on an async thread.
        let plan_view = view.clone();
        let result = tokio::task::spawn_blocking(move || {
            parse_and_plan(&existing_source, files, plan_view, &acceptance)
        })
        .await;
        let plan = match task_result(result)? {
            Ok(mut plan) => {
                if let Some(view) = &view {
                    plan::set_in_plan(&mut plan, view);
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
        if plan.delayed_count > 0 {
            tracing::info!(target: "sync", source = list.name, packages = plan.delayed_count, "new releases are delayed by CRAN.DelaySyncDuration");
            // Delayed releases become old enough without a change of the mirror, so the next sync must read all files. The
            // validators of a bundle keep its serial.
            let outdated = |row: StoredValidators| StoredValidators {
                etag: row.etag.map(|etag| etag + "-delayed"),
                sha256: Sha256([0; 32]),
                ..row
            };
            updates
                .iter_mut()
                .filter(|(url, _)| FILES.iter().any(|path| *url == list.url(path)))
                .for_each(|row| row.1 = row.1.take().filter(|_| view.is_some()).map(outdated));
        }
        Ok(PlannedList { plan, validators: updates, is_new })
    }

    /// Returns the tree of a list without pending rows: those of a process that has ended are rolled back.
    async fn tree(&self, list: &PackageList) -> Result<tree::Tree, SyncError> {
        let (db, id) = (&self.state.db, list.tree);
        let read_tree = move |c: &mut dyn Conn| {
            let error = DbError::Shape { column: 0, found: "no row", expected: "a tree" };
            tree::get(c, id)?.ok_or(error)
        };
        let tree = db.read(read_tree).await?;
        if tree.pending.is_some() {
            abandon(db, self.lease, Rows::Releases(list.source), &[tree.id]).await?;
            return Ok(db.read(read_tree).await?);
        }
        Ok(tree)
    }

    async fn list_validators(&self, list: &PackageList) -> Result<ListValidators, SyncError> {
        let (address, key, refused_key) = (list.mirror.address(), list.key.clone(), list.refused_key());
        let urls = FILES.map(|path| (path, list.url(path)));
        let is_proved = list.policy.is_some();
        let validators = self.state.db.read(move |c| {
            let success_row = upstream::get(c, &key)?;
            let refused_digest = upstream::get(c, &refused_key)?.map(|row| row.sha256);
            let mut files = HashMap::new();
            // Validators of another mirror do not apply: after a change of `CRAN.URL` all files are read again. So are files
            // that must be proved.
            if !is_proved && success_row.is_some_and(|row| row.mirror_address() == Some(address.as_str())) {
                for (path, url) in &urls {
                    if let Some(row) = upstream::get(c, url)? {
                        files.insert(*path, row);
                    }
                }
            }
            Ok(ListValidators { files, refused_digest })
        });
        Ok(validators.await?)
    }

    pub(super) async fn store_validators(&self, updates: ValidatorUpdates) -> Result<(), SyncError> {
        Ok(self.lease.write(&self.state.db, move |c| store_validators(c, &updates)).await?)
    }
}

/// Validators to store by URL; `None` deletes the row.
pub(super) type ValidatorUpdates = Vec<(String, Option<StoredValidators>)>;

pub(super) fn store_validators(c: &mut dyn Conn, updates: &ValidatorUpdates) -> Result<(), DbError> {
    updates.iter().try_for_each(|(url, validators)| match validators {
        Some(validators) => upstream::put(c, url, validators),
        None => upstream::delete(c, url),
    })
}

/// A sync transaction: trees that are written one by one and published together.
pub(super) struct SyncTransaction<'a> {
    pub(super) inner: Transaction<'a>,
    pub(super) source: SourceId,
    pub(super) publish: Publish,
}

impl SyncTransaction<'_> {
    /// Claims a tree and writes the plan of its next step. On an error the caller must roll back.
    pub(super) async fn write(&mut self, tree: TreeId, plan: Plan) -> Result<(), SyncError> {
        let (_, pending) = self.inner.claim(self.publish.started_at, move |_| Ok(tree)).await?;
        let publish = &mut self.publish;
        publish.counts += plan.counts;
        publish.published_from = [publish.published_from, plan.published_from].into_iter().flatten().min();
        publish.published_to = publish.published_to.max(plan.published_to);
        let target = ImportTarget { tree, pending, origin: self.source };
        let apply = move |c: &mut dyn Conn, chunk: &[_]| import::apply(c, &target, chunk).map(drop);
        Ok(self.inner.write("writing releases", plan.changes, CHUNK, apply).await?)
    }

    /// Publishes the written rows as one transaction together with the validators of the mirror, so that a crash
    /// before the publish makes the next sync read the files again. On an error the written rows are removed.
    pub(super) async fn publish(
        self,
        validators: ValidatorUpdates,
        now: Timestamp,
    ) -> Result<(TxId, Counts), SyncError> {
        let publish = Publish { now, ..self.publish };
        let counts = publish.counts;
        Ok((self.inner.publish(publish, move |c| store_validators(c, &validators)).await?, counts))
    }
}
