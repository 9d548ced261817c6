//! Writes changes of lists of binaries: chunks of invisible rows, then one publish for all lists.

use std::sync::Arc;

use super::BinaryChange;
use crate::db::{Conn, Db, DbError, binary, binary_list, clock, discovered_binary, tree, tx};
use crate::jobs::lease::Lease;
use crate::model::change::Counts;
use crate::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::sync::SyncError;
use crate::sync::apply::{ANALYZE_ABOVE, CHUNK, ValidatorUpdates, store_validators};
use crate::sync::run::SyncContext;

/// A transaction that writes lists of binaries.
pub(super) struct BinaryTransaction<'a> {
    context: &'a SyncContext<'a>,
    started_at: Timestamp,
    claimed: Vec<Claimed>,
    written: usize,
}

struct Claimed {
    tree: TreeId,
    pending: Seq,
    label: String,
    /// Number of new binaries.
    listed: usize,
}

/// A discovered binary: package, release, file and record.
pub(super) type DiscoveredRow = (PackageId, ReleaseId, FileId, Vec<u8>);

impl<'a> BinaryTransaction<'a> {
    pub(super) fn new(context: &'a SyncContext<'a>) -> BinaryTransaction<'a> {
        BinaryTransaction { context, started_at: (context.state.clock)(), claimed: Vec::new(), written: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }

    /// Writes the changes of one list.
    pub(super) async fn write(
        &mut self,
        label: &str,
        changes: Vec<BinaryChange>,
        listed: usize,
    ) -> Result<(), SyncError> {
        if changes.is_empty() {
            return Ok(());
        }
        let db = &self.context.state.db;
        let (tree, pending) = self.claim(label, listed).await?;
        let total = changes.len();
        let mut changes = changes.into_iter();
        let mut done = 0;
        loop {
            let chunk: Arc<[BinaryChange]> = changes.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                self.written += total;
                return Ok(());
            }
            if self.context.report.is_halted() {
                return Err(SyncError::Halted);
            }
            self.context.report.progress(format!("writing binaries of {label}"), done, Some(total as u64));
            done += chunk.len() as u64;
            let fence = self.context.lease.guard();
            db.bulk(move |c| {
                fence.check(c)?;
                binary_list::apply(c, tree, pending, &chunk)
            })
            .await?;
        }
    }

    /// Adds discovered binaries to a list.
    pub(super) async fn write_discovered(
        &mut self,
        label: &str,
        found: Vec<DiscoveredRow>,
    ) -> Result<(), SyncError> {
        let (tree, pending) = self.claim(label, found.len()).await?;
        for chunk in found.chunks(CHUNK) {
            let (chunk, fence): (Arc<[DiscoveredRow]>, _) = (chunk.into(), self.context.lease.guard());
            let write = self.context.state.db.bulk(move |c| {
                fence.check(c)?;
                discovered_binary::list(c, tree, pending, &chunk)
            });
            write.await?;
        }
        Ok(())
    }

    /// Returns the tree with this label and its pending step; the first call claims it.
    async fn claim(&mut self, label: &str, listed: usize) -> Result<(TreeId, Seq), SyncError> {
        if let Some(claimed) = self.claimed.iter_mut().find(|claimed| claimed.label == label) {
            claimed.listed += listed;
            return Ok((claimed.tree, claimed.pending));
        }
        let (name, job, fence) = (label.to_owned(), self.started_at.0, self.context.lease.guard());
        let claim = self.context.state.db.write(move |c| {
            fence.check(c)?;
            let tree = binary::tree(c, SourceId::CRAN, &name)?;
            Ok((tree, tree::begin(c, tree, job)?))
        });
        let (tree, pending) = claim.await?;
        self.claimed.push(Claimed { tree, pending, label: label.to_owned(), listed });
        Ok((tree, pending))
    }

    /// Publishes the written rows as one transaction. On an error they are removed.
    pub(super) async fn publish(self, seen: ValidatorUpdates) -> Result<TxId, SyncError> {
        match self.try_publish(seen).await {
            Ok(tx) => Ok(tx),
            // The commit may have succeeded: the next sync checks first.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn try_publish(&self, seen: ValidatorUpdates) -> Result<TxId, SyncError> {
        let SyncContext { state, trigger: cause, lease, .. } = self.context;
        if self.written >= ANALYZE_ABOVE {
            state.db.analyze().await?;
        }
        let lists: Vec<String> =
            self.claimed.iter().map(|claimed| format!("{} of {}", claimed.listed, claimed.label)).collect();
        let publish = clock::Publish {
            now: (state.clock)(),
            source: Some(SourceId::CRAN),
            repo: None,
            kind: tx::TxKind::Sync,
            started_at: self.started_at,
            published_from: None,
            published_to: None,
            counts: Counts::default(),
            actor: cause.actor().to_owned(),
            comment: format!("binaries: {}", lists.join(", ")),
            trees: self.claimed.iter().map(|claimed| claimed.tree).collect(),
            repo_steps: Vec::new(),
        };
        let fence = lease.guard();
        let published = state.db.write(move |c| {
            fence.check(c)?;
            store_validators(c, &seen)?;
            discovered_binary::clear_marker(c, SourceId::CRAN)?;
            clock::publish(c, &publish)
        });
        Ok(published.await?.tx)
    }

    /// Removes the written rows.
    pub(super) async fn roll_back(&self) {
        let trees: Vec<TreeId> = self.claimed.iter().map(|claimed| claimed.tree).collect();
        if trees.is_empty() {
            return;
        }
        if let Err(undo) = abandon(&self.context.state.db, self.context.lease, trees).await {
            tracing::warn!(target: "sync", error = %undo, "could not remove the binaries of a failed sync; the next sync removes them");
        }
    }
}

/// Returns the lists of binaries of CRAN with pending rows.
pub(in crate::sync) fn pending(c: &mut dyn Conn) -> Result<Vec<TreeId>, DbError> {
    let trees = tree::of_source(c, SourceId::CRAN)?;
    let pending = trees.into_iter().filter(|t| t.role == tree::Role::Binary && t.pending.is_some());
    Ok(pending.map(|tree| tree.id).collect())
}

/// Removes the pending rows of lists of binaries that an interrupted sync left. No other sync of the source may be
/// running.
pub(in crate::sync) async fn abandon(db: &Db, lease: &Lease, trees: Vec<TreeId>) -> Result<(), SyncError> {
    let fence = lease.guard();
    db.write(move |c| {
        fence.check(c)?;
        trees.iter().try_for_each(|tree| tree::abandon(c, *tree))
    })
    .await?;
    loop {
        let fence = lease.guard();
        let swept = db.bulk(move |c| {
            fence.check(c)?;
            binary_list::sweep(c, i64::try_from(CHUNK).unwrap_or(i64::MAX))
        });
        if swept.await? == 0 {
            return Ok(());
        }
    }
}
