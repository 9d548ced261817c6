//! Syncs the lists of binaries of `CRAN.BinaryURL` after each sync of the sources: reads changed indexes, compares,
//! publishes one transaction. An unavailable or faulty binary server does not fail the sync of the sources.

mod apply;
mod look;
mod plan;

pub(super) use apply::{abandon, pending};

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use super::apply::{Memory, remember};
use super::read::{self, Trust};
use super::run::{Cause, Run, cran_tree};
use crate::db::build_list::{BuildChange, Releases};
use crate::db::{build_list, found_build, tree, upstream};
use crate::model::digest::Sha256;
use crate::model::ids::{Seq, SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::r::index;
use crate::r::offered::{self, offered};
use crate::r::packages;
use crate::r::platform::Platform;
use crate::upstream::Mirror;
use crate::upstream::indexes::{self, Index, List};
use apply::{FoundRow, Publisher};
use look::{Look, Looker, Page, mark};
use plan::{Declared, Plan, plan};

/// The result of syncing the binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Built {
    /// The transaction, if anything changed.
    pub(super) tx: Option<TxId>,
    /// Number of new binaries.
    pub(super) listed: usize,
    /// Number of binaries of versions that the source does not have, or not yet, in the lists that were read again.
    pub(super) unknown: usize,
    /// Errors of single lists, for people.
    pub(super) troubles: Vec<String>,
}

/// Updates the lists of binaries of CRAN.
pub(super) async fn run(of: &Run<'_>) -> Result<Built, SyncError> {
    let config = of.state.config.load_full();
    let upstream = of.state.upstream.load_full();
    let urls = upstream.binaries(&config.cran);
    if urls.is_empty() {
        return Ok(Built::default());
    }
    let mut built = Built::default();
    let (lists, troubles) = indexes::lists(&urls, &config.platforms);
    built.troubles = troubles;
    let mirrors = urls.iter().map(|url| upstream.mirror(&url.base));
    let mirrors: Vec<Mirror> = mirrors.collect::<Result<_, _>>()?;
    recover(of).await?;
    let sources = of.state.db.read(cran_tree).await?;
    let Some(head) = sources.head else { return Ok(built) };
    let addresses: Vec<String> = mirrors.iter().map(Mirror::address).collect();
    let (wanted, of_addresses) = (lists.clone(), addresses.clone());
    let known = of.state.db.read(move |c| look::remembered(c, &wanted, &of_addresses)).await?;
    let looker = Looker {
        mirrors: &mirrors,
        known: &known,
        clock: &of.state.clock,
        by_hand: matches!(of.cause, Cause::Administrator(_)),
        away: mirrors.iter().map(|_| OnceLock::new()).collect(),
    };
    let mut work = Work {
        of,
        looker: &looker,
        addresses: &addresses,
        sources: (sources.id, head),
        releases: None,
        publisher: Publisher::new(of),
        memory: Memory::new(),
        built,
    };
    let written = async {
        work.all(&lists).await?;
        work.found().await
    };
    match written.await {
        Ok(()) => work.end().await,
        Err(error) => {
            work.publisher.give_up().await;
            Err(error)
        }
    }
}

/// Removes the pending rows of a sync that was killed.
async fn recover(of: &Run<'_>) -> Result<(), SyncError> {
    let pending = of.state.db.read(pending).await?;
    if pending.is_empty() { Ok(()) } else { abandon(&of.state.db, of.lease, pending).await }
}

struct Work<'a> {
    of: &'a Run<'a>,
    looker: &'a Looker<'a>,
    addresses: &'a [String],
    /// The source tree, which has the releases of the binaries.
    sources: (TreeId, Seq),
    releases: Option<Arc<Releases>>,
    publisher: Publisher<'a>,
    memory: Memory,
    built: Built,
}

/// The stored state of a list: a digest of its indexes, the step since which binaries wait for their release, and the
/// digest of a refused declaration.
struct Before {
    indexes: Option<String>,
    waits_since: Option<String>,
    refused: Option<Sha256>,
}

impl Work<'_> {
    async fn all(&mut self, lists: &[List]) -> Result<(), SyncError> {
        let report = self.of.report;
        report.progress("reading the lists of binaries", 0, Some(lists.len() as u64));
        let mut before = Vec::with_capacity(lists.len());
        for list in lists {
            before.push(self.before(&list.label).await?);
        }
        let trusted = |(list, before): (&List, &Before)| {
            let same = before.indexes.as_ref() == Some(&self.indexes(list));
            same && before.waits_since.as_ref().is_none_or(|seq| *seq == self.sources.1.to_string())
        };
        let trust: Vec<bool> = lists.iter().zip(&before).map(trusted).collect();
        let to_check = lists.iter().zip(&trust).flat_map(|(list, t)| list.indexes.iter().map(|i| (i, *t)));
        let looks = tokio::select! {
            looks = self.looker.look(to_check.collect()) => looks,
            () = report.halted() => return Err(SyncError::Halted),
        };
        let mut looks = looks.into_iter();
        for (done, ((list, before), trusted)) in lists.iter().zip(before).zip(trust).enumerate() {
            if report.is_halted() {
                return Err(SyncError::Halted);
            }
            report.progress("reading the lists of binaries", done as u64, Some(lists.len() as u64));
            let of_list: Result<Vec<Look>, SyncError> = looks.by_ref().take(list.indexes.len()).collect();
            let settled = match of_list {
                Ok(looks) => self.list(list, &before, trusted, looks).await,
                Err(error) => Err(error),
            };
            match settled {
                Ok(()) => {}
                Err(error @ (SyncError::Upstream(_) | SyncError::Refused(_))) => {
                    self.built
                        .troubles
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
        list: &List,
        before: &Before,
        trusted: bool,
        mut looks: Vec<Look>,
    ) -> Result<(), SyncError> {
        let changed = |look: &Look| matches!(look, Look::Read(Page { changed: true, .. }));
        if !looks.iter().any(changed) && (trusted || looks.iter().all(|look| matches!(look, Look::Absent))) {
            self.note(list, &looks);
            return Ok(());
        }
        for (index, look) in list.indexes.iter().zip(&mut looks) {
            if matches!(look, Look::Unchanged) {
                *look = self.looker.whole(index).await?;
            }
        }
        let mut hasher = Hasher::new();
        let mut pages = Vec::new();
        for (index, look) in list.indexes.iter().zip(&looks) {
            if let Look::Read(page) = look {
                hasher.update(page.seen.sha256.0);
                pages.push((index.clone(), page.clone()));
            }
        }
        let digest = Sha256(hasher.finalize().into());
        let confirmed = self.looker.by_hand && before.refused == Some(digest);
        let trust = if confirmed { Trust::Confirmed } else { Trust::Suspicious };
        let plan = self.planned(list, pages).await?;
        if let Some(loss) = plan.loss.filter(|loss| trust == Trust::Suspicious && loss.is_suspicious()) {
            let row = upstream::Seen { sha256: digest, ..mark(None, None, self.now()) };
            self.memory.push((refused_key(&list.label), Some(row)));
            return Err(SyncError::Refused(read::shrunk(loss, "the index", "rspm sync")));
        }
        self.note(list, &looks);
        let waits = (plan.unknown > 0).then(|| self.sources.1.to_string());
        let row = mark(Some(self.indexes(list)), waits, self.now());
        self.memory.push((list_key(&list.label), Some(row)));
        self.memory.push((refused_key(&list.label), None));
        self.built.listed += plan.listed;
        self.built.unknown += plan.unknown;
        self.publisher.write(&list.label, plan.changes, plan.listed).await
    }

    /// Lists binaries that were discovered by requests for them.
    async fn found(&mut self) -> Result<(), SyncError> {
        let ready = self.of.state.db.read(|c| found_build::ready(c, SourceId::CRAN)).await?;
        let mut by_label: BTreeMap<String, Vec<FoundRow>> = BTreeMap::new();
        for build in ready {
            let Some(platform) = Platform::from_stored(&build.platform) else { continue };
            let built = String::from_utf8_lossy(&build.built);
            let (name, facts) = ((build.name.as_str(), build.version.as_str()), build.size.unsigned_abs());
            let stanza =
                offered::found(build.source.as_deref(), name, &built, &platform, (build.sha256, facts));
            let row = (build.package, build.release, build.file, stanza);
            by_label.entry(platform.label()).or_default().push(row);
        }
        for (label, rows) in by_label {
            self.built.listed += rows.len();
            self.publisher.write_found(&label, rows).await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        (self.of.state.clock)()
    }

    fn note(&mut self, list: &List, looks: &[Look]) {
        for (index, look) in list.indexes.iter().zip(looks) {
            self.memory.extend(self.looker.memory(index, look));
        }
    }

    /// Returns a digest of the indexes of a list, in order.
    fn indexes(&self, list: &List) -> String {
        let mut hasher = Hasher::new();
        for index in &list.indexes {
            hasher.update(format!("{}/{} {}\n", self.addresses[index.url], index.folder, index.platform));
        }
        hex::encode(hasher.finalize())
    }

    async fn before(&self, label: &str) -> Result<Before, SyncError> {
        let (list, refused) = (list_key(label), refused_key(label));
        let read = self.of.state.db.read(move |c| {
            let known = upstream::get(c, &list)?;
            let refused = upstream::get(c, &refused)?.map(|row| row.sha256);
            let (indexes, waits_since) = known.map_or((None, None), |row| (row.etag, row.modified));
            Ok(Before { indexes, waits_since, refused })
        });
        Ok(read.await?)
    }

    async fn planned(&mut self, list: &List, pages: Vec<(Index, Page)>) -> Result<Plan, SyncError> {
        let db = &self.of.state.db;
        let releases = match &self.releases {
            Some(releases) => releases.clone(),
            None => {
                let (tree, seq) = self.sources;
                let read = db.read(move |c| build_list::releases(c, tree, seq)).await?;
                self.releases.insert(Arc::new(read)).clone()
            }
        };
        let label = list.label.clone();
        let known = db.read(move |c| {
            let trees = tree::of_source(c, SourceId::CRAN)?;
            match trees.into_iter().find(|t| t.role == tree::Role::Binary && t.label == label) {
                Some(found) => build_list::open(c, found.id),
                None => Ok(Vec::new()),
            }
        });
        let (known, addresses) = (known.await?, self.addresses.to_vec());
        // Parsing takes tenths of a second of CPU.
        let planned = tokio::task::spawn_blocking(move || {
            let mut declared = Vec::with_capacity(pages.len());
            for (index, page) in pages {
                let place = format!("{}/{}", addresses[index.url], page.path);
                declared.push(declare(index, &page, &place)?);
            }
            Ok(plan(&known, &releases, declared))
        });
        planned.await.map_err(|_| SyncError::Stopping)?
    }

    /// Publishes, or only stores validators.
    async fn end(mut self) -> Result<Built, SyncError> {
        for trouble in &self.built.troubles {
            tracing::warn!(target: "sync", source = "cran", "{trouble}");
        }
        let memory = std::mem::take(&mut self.memory);
        if self.publisher.is_empty() {
            if !memory.is_empty() {
                let fence = self.of.lease.guard();
                let write = self.of.state.db.write(move |c| {
                    fence.check(c)?;
                    remember(c, &memory)
                });
                write.await?;
            }
            return Ok(self.built);
        }
        self.built.tx = Some(self.publisher.publish(memory).await?);
        self.of.state.catalog.refresh(&self.of.state.db).await?;
        Ok(self.built)
    }
}

/// Parses the binaries of an index.
fn declare(index: Index, page: &Page, place: &str) -> Result<Declared, SyncError> {
    let refused = |reason: String| SyncError::Refused(format!("{place}: {reason}"));
    let text = index::text(&page.path, &page.bytes).map_err(refused)?;
    let (mut builds, mut unfit, mut first) = (Vec::new(), 0_usize, None);
    for record in packages::records(&text) {
        let found = match record {
            Ok(record) => offered(&record, &index.platform, index.which),
            Err(error @ packages::IndexError::Dcf(_)) => return Err(refused(error.to_string())),
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(found) => builds.extend(found),
            Err(reason) => {
                unfit += 1;
                first.get_or_insert(reason);
            }
        }
    }
    if let Some(first) = first {
        if unfit > builds.len() {
            return Err(refused(format!("{unfit} of its records are invalid: {first}")));
        }
        tracing::warn!(target: "sync", source = "cran", "{place}: skipped {unfit} invalid records: {first}");
    }
    Ok(Declared { platform: index.platform, folder: index.folder, builds })
}

fn list_key(label: &str) -> String {
    format!("sync:{}:builds:{label}", SourceId::CRAN)
}

fn refused_key(label: &str) -> String {
    format!("sync:{}:builds:{label}:refused", SourceId::CRAN)
}
