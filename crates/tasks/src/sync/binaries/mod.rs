//! Syncs the lists of binaries of `CRAN.BinaryURL` after each sync of the sources: reads changed indexes, compares,
//! publishes one transaction. An unavailable or faulty binary server does not fail the sync of the sources.
//!
//! Each list is a separate tree, and a binary in it belongs to a release of the sources. `indexes` has the possible
//! indexes (pure); each is requested conditionally.

mod apply;
mod check;
mod plan;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use super::error::task_result;
use super::index_files::{self, ShrinkPolicy};
use super::run::{SyncContext, ValidatorUpdates};
use super::task::SyncTrigger;
use ::upstream::Mirror;
use ::upstream::origin::binary_indexes::{self, BinaryList, Index};
use apply::{BinaryTransaction, DiscoveredRow};
use base::model::digest::Sha256;
use base::model::ids::{Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use check::{FetchedIndex, IndexCheck, IndexChecker, marker_row};
use formats::r::binary_index::{self, indexed_binary};
use formats::r::platform::Platform;
use formats::r::{index, packages};
use plan::{BinaryListChanges, DeclaredIndex, plan};
use runtime::publish::transaction::{Rows, abandon};
use store::db::binary_list::Releases;
use store::db::{Conn, DbError, binary_list, discovered_binary, tree, upstream};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BinarySyncSummary {
    /// The transaction, if anything changed.
    pub(super) tx: Option<TxId>,
    pub(super) new_count: usize,
    /// Number of binaries in the lists that were read again whose versions the source does not have (yet).
    pub(super) unknown_count: usize,
    /// Errors of single lists, for the result message.
    pub(super) errors: Vec<String>,
}

/// Updates the lists of binaries of CRAN.
pub(super) async fn run(context: &SyncContext<'_>) -> Result<BinarySyncSummary, SyncError> {
    let urls = context.upstream.binaries(&context.config.cran);
    if urls.is_empty() {
        return Ok(BinarySyncSummary::default());
    }
    let (lists, errors) = binary_indexes::lists(&urls, &context.config.platforms);
    let summary = BinarySyncSummary { errors, ..BinarySyncSummary::default() };
    let mirrors = urls.iter().map(|url| context.upstream.mirror(&url.base));
    let mirrors: Vec<Mirror> = mirrors.collect::<Result<_, _>>()?;
    recover(context).await?;
    let source_tree = context.state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?;
    let Some(head) = source_tree.head else { return Ok(summary) };
    let addresses: Vec<String> = mirrors.iter().map(Mirror::address).collect();
    let (lists_to_read, addresses_of_lists) = (lists.clone(), addresses.clone());
    let known_validators = context
        .state
        .db
        .read(move |c| check::known_validators(c, &lists_to_read, &addresses_of_lists))
        .await?;
    let checker = IndexChecker {
        mirrors: &mirrors,
        known_validators: &known_validators,
        clock: &context.state.clock,
        is_manual: matches!(context.trigger, SyncTrigger::Administrator(_)),
        server_errors: mirrors.iter().map(|_| OnceLock::new()).collect(),
    };
    let mut sync = BinarySync {
        context,
        checker: &checker,
        addresses: &addresses,
        source_tree: (source_tree.id, head),
        releases: None,
        transaction: BinaryTransaction::new(context),
        validators: ValidatorUpdates::new(),
        summary,
    };
    let result = async {
        sync.sync_lists(&lists).await?;
        sync.list_discovered().await
    };
    match result.await {
        Ok(()) => sync.finish().await,
        Err(error) => {
            sync.transaction.inner.roll_back().await;
            Err(error)
        }
    }
}

/// Removes the pending rows of a sync that was killed.
async fn recover(context: &SyncContext<'_>) -> Result<(), SyncError> {
    let pending = context.state.db.read(pending).await?;
    Ok(abandon(&context.state.db, context.lease, Rows::Binaries, &pending).await?)
}

/// Returns the lists of binaries of CRAN with pending rows.
pub(super) fn pending(c: &mut dyn Conn) -> Result<Vec<TreeId>, DbError> {
    let trees = tree::of_source(c, SourceId::CRAN)?;
    let pending = trees.into_iter().filter(|t| t.role == tree::Role::Binary && t.pending.is_some());
    Ok(pending.map(|tree| tree.id).collect())
}

struct BinarySync<'a> {
    context: &'a SyncContext<'a>,
    checker: &'a IndexChecker<'a>,
    addresses: &'a [String],
    /// The source tree, which has the releases of the binaries.
    source_tree: (TreeId, Seq),
    releases: Option<Arc<Releases>>,
    transaction: BinaryTransaction<'a>,
    validators: ValidatorUpdates,
    summary: BinarySyncSummary,
}

struct ListState {
    /// Digest of the addresses of its indexes, [`BinarySync::indexes_digest`].
    indexes_digest: Option<String>,
    /// The step of the source tree with which the list was compared last, if some binaries have no release there.
    compared_step: Option<String>,
    /// Digest of the indexes that were refused because of a loss.
    refused_digest: Option<Sha256>,
}

impl BinarySync<'_> {
    async fn sync_lists(&mut self, lists: &[BinaryList]) -> Result<(), SyncError> {
        let report = self.context.report;
        report.progress("reading the lists of binaries", 0, Some(lists.len() as u64));
        let mut states = Vec::with_capacity(lists.len());
        for list in lists {
            states.push(self.list_state(&list.label).await?);
        }
        let is_trusted = |(list, state): (&BinaryList, &ListState)| {
            let is_unchanged = state.indexes_digest.as_ref() == Some(&self.indexes_digest(list));
            is_unchanged
                && state.compared_step.as_ref().is_none_or(|seq| *seq == self.source_tree.1.to_string())
        };
        let are_trusted: Vec<bool> = lists.iter().zip(&states).map(is_trusted).collect();
        let indexes_to_check = lists
            .iter()
            .zip(&are_trusted)
            .flat_map(|(list, is_trusted)| list.indexes.iter().map(|index| (index, *is_trusted)));
        let checks = tokio::select! {
            checks = self.checker.check(indexes_to_check.collect()) => checks,
            () = report.wait_halted() => return Err(SyncError::Halted),
        };
        let mut checks = checks.into_iter();
        for (done, ((list, state), is_trusted)) in lists.iter().zip(states).zip(are_trusted).enumerate() {
            if report.is_halted() {
                return Err(SyncError::Halted);
            }
            report.progress("reading the lists of binaries", done as u64, Some(lists.len() as u64));
            let list_checks: Result<Vec<IndexCheck>, SyncError> =
                checks.by_ref().take(list.indexes.len()).collect();
            let result = match list_checks {
                Ok(checks) => self.sync_list(list, &state, is_trusted, checks).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => {}
                Err(error @ (SyncError::Upstream(_) | SyncError::Refused(_))) => {
                    self.summary
                        .errors
                        .push(format!("the binaries of {} were not updated: {error}", list.label));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Compares one list with its indexes and writes the changes.
    async fn sync_list(
        &mut self,
        list: &BinaryList,
        state: &ListState,
        is_trusted: bool,
        mut checks: Vec<IndexCheck>,
    ) -> Result<(), SyncError> {
        let is_changed =
            |check: &IndexCheck| matches!(check, IndexCheck::Read(FetchedIndex { is_changed: true, .. }));
        if !checks.iter().any(is_changed)
            && (is_trusted || checks.iter().all(|check| matches!(check, IndexCheck::Absent)))
        {
            self.add_validators(list, &checks);
            return Ok(());
        }
        for (index, check) in list.indexes.iter().zip(&mut checks) {
            if matches!(check, IndexCheck::Unchanged) {
                *check = self.checker.fetch(index).await?;
            }
        }
        let mut hasher = Hasher::new();
        let mut indexes = Vec::new();
        for (index, check) in list.indexes.iter().zip(&checks) {
            if let IndexCheck::Read(fetched_index) = check {
                hasher.update(fetched_index.validators.sha256.0);
                indexes.push((index.clone(), fetched_index.clone()));
            }
        }
        let digest = Sha256(hasher.finalize().into());
        let is_confirmed = self.checker.is_manual && state.refused_digest == Some(digest);
        let policy = if is_confirmed { ShrinkPolicy::Accept } else { ShrinkPolicy::Refuse };
        let plan = self.plan_list(list, indexes).await?;
        if let Some(loss) = plan.loss.filter(|loss| policy == ShrinkPolicy::Refuse && loss.is_suspicious()) {
            let row = upstream::StoredValidators { sha256: digest, ..marker_row(None, None, self.now()) };
            self.validators.push((refused_key(&list.label), Some(row)));
            return Err(SyncError::Refused(index_files::shrunk_message(loss, "the index", "rspm sync")));
        }
        self.add_validators(list, &checks);
        let compared_step = (plan.unknown_count > 0).then(|| self.source_tree.1.to_string());
        let row = marker_row(Some(self.indexes_digest(list)), compared_step, self.now());
        self.validators.push((list_key(&list.label), Some(row)));
        self.validators.push((refused_key(&list.label), None));
        self.summary.new_count += plan.new_count;
        self.summary.unknown_count += plan.unknown_count;
        self.transaction.write(&list.label, plan.changes, plan.new_count).await
    }

    /// Lists binaries that were discovered by requests for them.
    async fn list_discovered(&mut self) -> Result<(), SyncError> {
        let ready_binaries =
            self.context.state.db.read(|c| discovered_binary::ready_binaries(c, SourceId::CRAN)).await?;
        let mut by_label: BTreeMap<String, Vec<DiscoveredRow>> = BTreeMap::new();
        for binary in ready_binaries {
            let Some(platform) = Platform::parse_database_form(&binary.platform) else { continue };
            let built = String::from_utf8_lossy(&binary.built);
            let stanza = binary_index::discovered_stanza(
                binary.source_record.as_deref(),
                &binary.name,
                &binary.version,
                &built,
                &platform,
                binary.sha256,
                binary.size.unsigned_abs(),
            );
            let row = (binary.package, binary.release, binary.file, stanza);
            by_label.entry(platform.label()).or_default().push(row);
        }
        for (label, rows) in by_label {
            self.summary.new_count += rows.len();
            self.transaction.write_discovered(&label, rows).await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        (self.context.state.clock)()
    }

    fn add_validators(&mut self, list: &BinaryList, checks: &[IndexCheck]) {
        for (index, check) in list.indexes.iter().zip(checks) {
            self.validators.extend(self.checker.validator_updates(index, check));
        }
    }

    /// Returns a digest of the addresses and platforms of a list's indexes, in order.
    fn indexes_digest(&self, list: &BinaryList) -> String {
        let mut hasher = Hasher::new();
        for index in &list.indexes {
            hasher
                .update(format!("{}/{} {}\n", self.addresses[index.url_index], index.folder, index.platform));
        }
        hex::encode(hasher.finalize())
    }

    async fn list_state(&self, label: &str) -> Result<ListState, SyncError> {
        let (list_key, refused_key) = (list_key(label), refused_key(label));
        let state = self.context.state.db.read(move |c| {
            let row = upstream::get(c, &list_key)?;
            let refused_digest = upstream::get(c, &refused_key)?.map(|row| row.sha256);
            let (indexes_digest, compared_step) = row.map_or((None, None), |row| (row.etag, row.modified));
            Ok(ListState { indexes_digest, compared_step, refused_digest })
        });
        Ok(state.await?)
    }

    async fn plan_list(
        &mut self,
        list: &BinaryList,
        indexes: Vec<(Index, FetchedIndex)>,
    ) -> Result<BinaryListChanges, SyncError> {
        let db = &self.context.state.db;
        let releases = match &self.releases {
            Some(releases) => releases.clone(),
            None => {
                let (tree, seq) = self.source_tree;
                let releases = db.read(move |c| binary_list::releases(c, tree, seq)).await?;
                self.releases.insert(Arc::new(releases)).clone()
            }
        };
        let label = list.label.clone();
        let listed_binaries = db.read(move |c| {
            let trees = tree::of_source(c, SourceId::CRAN)?;
            match trees.into_iter().find(|t| t.role == tree::Role::Binary && t.label == label) {
                Some(tree) => binary_list::listed_binaries(c, tree.id),
                None => Ok(Vec::new()),
            }
        });
        let (listed_binaries, addresses) = (listed_binaries.await?, self.addresses.to_vec());
        // Parsing takes tenths of a second of CPU time.
        let result = tokio::task::spawn_blocking(move || {
            let mut declarations = Vec::with_capacity(indexes.len());
            for (index, fetched_index) in indexes {
                let url = format!("{}/{}", addresses[index.url_index], fetched_index.path);
                declarations.push(declare(index, &fetched_index, &url)?);
            }
            Ok(plan(&listed_binaries, &releases, declarations))
        });
        task_result(result.await)?
    }

    /// Publishes the changes, or stores only the validators if there are none.
    async fn finish(mut self) -> Result<BinarySyncSummary, SyncError> {
        for error in &self.summary.errors {
            tracing::warn!(target: "sync", source = "cran", "{error}");
        }
        let updates = std::mem::take(&mut self.validators);
        if self.transaction.inner.is_empty() {
            if !updates.is_empty() {
                self.context.store_validators(updates).await?;
            }
            return Ok(self.summary);
        }
        self.summary.tx = Some(self.transaction.publish(updates).await?);
        Ok(self.summary)
    }
}

fn declare(index: Index, fetched_index: &FetchedIndex, url: &str) -> Result<DeclaredIndex, SyncError> {
    let refusal = |reason: String| SyncError::Refused(format!("{url}: {reason}"));
    let text = index::text(&fetched_index.path, &fetched_index.bytes).map_err(refusal)?;
    let (mut binaries, mut invalid, mut first_reason) = (Vec::new(), 0_usize, None);
    for record in packages::records(&text) {
        let result = match record {
            Ok(record) => indexed_binary(&record, &index.platform, index.record_filter),
            Err(error @ packages::IndexError::Dcf(_)) => return Err(refusal(error.to_string())),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(binary) => binaries.extend(binary),
            Err(reason) => {
                invalid += 1;
                first_reason.get_or_insert(reason);
            }
        }
    }
    if let Some(first_reason) = first_reason {
        if invalid > binaries.len() {
            return Err(refusal(format!("{invalid} of its records are invalid: {first_reason}")));
        }
        tracing::warn!(target: "sync", source = "cran", "{url}: skipped {invalid} invalid records: {first_reason}");
    }
    Ok(DeclaredIndex { platform: index.platform, folder: index.folder, binaries })
}

fn list_key(label: &str) -> String {
    format!("sync:{}:builds:{label}", SourceId::CRAN)
}

fn refused_key(label: &str) -> String {
    format!("sync:{}:builds:{label}:refused", SourceId::CRAN)
}
