//! Syncs the lists of binaries of `CRAN.BinaryURL` after each sync of the sources: reads changed indexes, compares,
//! publishes one transaction. An unavailable or faulty binary server does not fail the sync of the sources.

mod apply;
mod check;
mod plan;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use super::apply::ValidatorUpdates;
use super::index_files::{self, ShrinkPolicy};
use super::run::SyncContext;
use super::task::SyncTrigger;
use crate::db::binary_list::Releases;
use crate::db::{Conn, DbError, binary_list, discovered_binary, tree, upstream};
use crate::model::digest::Sha256;
use crate::model::ids::{Seq, SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::publish::transaction::{Rows, abandon};
use crate::r::binary_index::{self, indexed_binary};
use crate::r::index;
use crate::r::packages;
use crate::r::platform::Platform;
use crate::upstream::Mirror;
use crate::upstream::origin::binary_indexes::{self, BinaryList, Index};
use apply::{BinaryTransaction, DiscoveredRow};
use check::{FetchedIndex, IndexCheck, IndexChecker, mark};
use plan::{DeclaredIndex, Plan, plan};

/// The result of syncing the binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BinarySyncSummary {
    /// The transaction, if anything changed.
    pub(super) tx: Option<TxId>,
    /// Number of new binaries.
    pub(super) new: usize,
    /// Number of binaries of versions that the source does not have, or not yet, in the lists that were read again.
    pub(super) unknown: usize,
    /// Errors of single lists, for people.
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
    let sources = context.state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?;
    let Some(head) = sources.head else { return Ok(summary) };
    let addresses: Vec<String> = mirrors.iter().map(Mirror::address).collect();
    let (lists_to_read, addresses_of_lists) = (lists.clone(), addresses.clone());
    let known = context
        .state
        .db
        .read(move |c| check::known_validators(c, &lists_to_read, &addresses_of_lists))
        .await?;
    let checker = IndexChecker {
        mirrors: &mirrors,
        stored: &known,
        clock: &context.state.clock,
        is_manual: matches!(context.trigger, SyncTrigger::Administrator(_)),
        server_errors: mirrors.iter().map(|_| OnceLock::new()).collect(),
    };
    let mut sync = BinarySync {
        context,
        checker: &checker,
        addresses: &addresses,
        sources: (sources.id, head),
        releases: None,
        publisher: BinaryTransaction::new(context),
        validators: ValidatorUpdates::new(),
        summary,
    };
    let result = async {
        sync.sync_lists(&lists).await?;
        sync.list_discovered().await
    };
    match result.await {
        Ok(()) => sync.end().await,
        Err(error) => {
            sync.publisher.transaction.roll_back().await;
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
    sources: (TreeId, Seq),
    releases: Option<Arc<Releases>>,
    publisher: BinaryTransaction<'a>,
    validators: ValidatorUpdates,
    summary: BinarySyncSummary,
}

/// The stored state of a list: a digest of its indexes, the step since which binaries wait for their release, and the
/// digest of a refused declaration.
struct ListState {
    indexes: Option<String>,
    waiting_since: Option<String>,
    refused: Option<Sha256>,
}

impl BinarySync<'_> {
    async fn sync_lists(&mut self, lists: &[BinaryList]) -> Result<(), SyncError> {
        let report = self.context.report;
        report.progress("reading the lists of binaries", 0, Some(lists.len() as u64));
        let mut before = Vec::with_capacity(lists.len());
        for list in lists {
            before.push(self.list_state(&list.label).await?);
        }
        let is_trusted = |(list, before): (&BinaryList, &ListState)| {
            let same = before.indexes.as_ref() == Some(&self.indexes(list));
            same && before.waiting_since.as_ref().is_none_or(|seq| *seq == self.sources.1.to_string())
        };
        let trusted: Vec<bool> = lists.iter().zip(&before).map(is_trusted).collect();
        let to_check = lists.iter().zip(&trusted).flat_map(|(list, t)| list.indexes.iter().map(|i| (i, *t)));
        let checks = tokio::select! {
            checks = self.checker.check(to_check.collect()) => checks,
            () = report.wait_halted() => return Err(SyncError::Halted),
        };
        let mut checks = checks.into_iter();
        for (done, ((list, before), trusted)) in lists.iter().zip(before).zip(trusted).enumerate() {
            if report.is_halted() {
                return Err(SyncError::Halted);
            }
            report.progress("reading the lists of binaries", done as u64, Some(lists.len() as u64));
            let of_list: Result<Vec<IndexCheck>, SyncError> =
                checks.by_ref().take(list.indexes.len()).collect();
            let result = match of_list {
                Ok(checks) => self.list(list, &before, trusted, checks).await,
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
    async fn list(
        &mut self,
        list: &BinaryList,
        before: &ListState,
        trusted: bool,
        mut checks: Vec<IndexCheck>,
    ) -> Result<(), SyncError> {
        let changed =
            |check: &IndexCheck| matches!(check, IndexCheck::Read(FetchedIndex { changed: true, .. }));
        if !checks.iter().any(changed)
            && (trusted || checks.iter().all(|check| matches!(check, IndexCheck::Absent)))
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
        let mut pages = Vec::new();
        for (index, check) in list.indexes.iter().zip(&checks) {
            if let IndexCheck::Read(page) = check {
                hasher.update(page.validators.sha256.0);
                pages.push((index.clone(), page.clone()));
            }
        }
        let digest = Sha256(hasher.finalize().into());
        let confirmed = self.checker.is_manual && before.refused == Some(digest);
        let policy = if confirmed { ShrinkPolicy::Accept } else { ShrinkPolicy::Refuse };
        let plan = self.plan_list(list, pages).await?;
        if let Some(loss) = plan.loss.filter(|loss| policy == ShrinkPolicy::Refuse && loss.is_suspicious()) {
            let row = upstream::StoredValidators { sha256: digest, ..mark(None, None, self.now()) };
            self.validators.push((refused_key(&list.label), Some(row)));
            return Err(SyncError::Refused(index_files::shrunk_message(loss, "the index", "rspm sync")));
        }
        self.add_validators(list, &checks);
        let waiting_since = (plan.unknown > 0).then(|| self.sources.1.to_string());
        let row = mark(Some(self.indexes(list)), waiting_since, self.now());
        self.validators.push((list_key(&list.label), Some(row)));
        self.validators.push((refused_key(&list.label), None));
        self.summary.new += plan.new;
        self.summary.unknown += plan.unknown;
        self.publisher.write(&list.label, plan.changes, plan.new).await
    }

    /// Lists binaries that were discovered by requests for them.
    async fn list_discovered(&mut self) -> Result<(), SyncError> {
        let ready = self.context.state.db.read(|c| discovered_binary::ready(c, SourceId::CRAN)).await?;
        let mut by_label: BTreeMap<String, Vec<DiscoveredRow>> = BTreeMap::new();
        for binary in ready {
            let Some(platform) = Platform::parse_database_form(&binary.platform) else { continue };
            let built = String::from_utf8_lossy(&binary.built);
            let (name, size) = ((binary.name.as_str(), binary.version.as_str()), binary.size.unsigned_abs());
            let stanza = binary_index::discovered_stanza(
                binary.source.as_deref(),
                name,
                &built,
                &platform,
                (binary.sha256, size),
            );
            let row = (binary.package, binary.release, binary.file, stanza);
            by_label.entry(platform.label()).or_default().push(row);
        }
        for (label, rows) in by_label {
            self.summary.new += rows.len();
            self.publisher.write_discovered(&label, rows).await?;
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

    /// Returns a digest of the indexes of a list, in order.
    fn indexes(&self, list: &BinaryList) -> String {
        let mut hasher = Hasher::new();
        for index in &list.indexes {
            hasher.update(format!("{}/{} {}\n", self.addresses[index.url], index.folder, index.platform));
        }
        hex::encode(hasher.finalize())
    }

    async fn list_state(&self, label: &str) -> Result<ListState, SyncError> {
        let (list, refused) = (list_key(label), refused_key(label));
        let read = self.context.state.db.read(move |c| {
            let stored = upstream::get(c, &list)?;
            let refused = upstream::get(c, &refused)?.map(|row| row.sha256);
            let (indexes, waiting_since) = stored.map_or((None, None), |row| (row.etag, row.modified));
            Ok(ListState { indexes, waiting_since, refused })
        });
        Ok(read.await?)
    }

    async fn plan_list(
        &mut self,
        list: &BinaryList,
        pages: Vec<(Index, FetchedIndex)>,
    ) -> Result<Plan, SyncError> {
        let db = &self.context.state.db;
        let releases = match &self.releases {
            Some(releases) => releases.clone(),
            None => {
                let (tree, seq) = self.sources;
                let read = db.read(move |c| binary_list::releases(c, tree, seq)).await?;
                self.releases.insert(Arc::new(read)).clone()
            }
        };
        let label = list.label.clone();
        let listed = db.read(move |c| {
            let trees = tree::of_source(c, SourceId::CRAN)?;
            match trees.into_iter().find(|t| t.role == tree::Role::Binary && t.label == label) {
                Some(found) => binary_list::listed(c, found.id),
                None => Ok(Vec::new()),
            }
        });
        let (listed, addresses) = (listed.await?, self.addresses.to_vec());
        // Parsing takes tenths of a second of CPU.
        let planned = tokio::task::spawn_blocking(move || {
            let mut declared = Vec::with_capacity(pages.len());
            for (index, page) in pages {
                let url = format!("{}/{}", addresses[index.url], page.path);
                declared.push(declare(index, &page, &url)?);
            }
            Ok(plan(&listed, &releases, declared))
        });
        planned.await.map_err(|_| SyncError::Stopping)?
    }

    /// Publishes, or only stores validators.
    async fn end(mut self) -> Result<BinarySyncSummary, SyncError> {
        for error in &self.summary.errors {
            tracing::warn!(target: "sync", source = "cran", "{error}");
        }
        let updates = std::mem::take(&mut self.validators);
        if self.publisher.transaction.is_empty() {
            if !updates.is_empty() {
                self.context.store_validators(updates).await?;
            }
            return Ok(self.summary);
        }
        self.summary.tx = Some(self.publisher.publish(updates).await?);
        Ok(self.summary)
    }
}

/// Parses the binaries of an index.
fn declare(index: Index, page: &FetchedIndex, url: &str) -> Result<DeclaredIndex, SyncError> {
    let refused = |reason: String| SyncError::Refused(format!("{url}: {reason}"));
    let text = index::text(&page.path, &page.bytes).map_err(refused)?;
    let (mut binaries, mut invalid, mut first) = (Vec::new(), 0_usize, None);
    for record in packages::records(&text) {
        let found = match record {
            Ok(record) => indexed_binary(&record, &index.platform, index.which),
            Err(error @ packages::IndexError::Dcf(_)) => return Err(refused(error.to_string())),
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(found) => binaries.extend(found),
            Err(reason) => {
                invalid += 1;
                first.get_or_insert(reason);
            }
        }
    }
    if let Some(first) = first {
        if invalid > binaries.len() {
            return Err(refused(format!("{invalid} of its records are invalid: {first}")));
        }
        tracing::warn!(target: "sync", source = "cran", "{url}: skipped {invalid} invalid records: {first}");
    }
    Ok(DeclaredIndex { platform: index.platform, folder: index.folder, binaries })
}

fn list_key(label: &str) -> String {
    format!("sync:{}:builds:{label}", SourceId::CRAN)
}

fn refused_key(label: &str) -> String {
    format!("sync:{}:builds:{label}:refused", SourceId::CRAN)
}
