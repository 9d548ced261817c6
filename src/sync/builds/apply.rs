//! Writes changes of lists of binaries: chunks of invisible rows, then one publish for all lists.

use std::sync::Arc;

use super::BuildChange;
use crate::db::{Conn, Db, DbError, binary, build_list, clock, found_build, tree, tx};
use crate::jobs::lease::Lease;
use crate::model::change::Counts;
use crate::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use crate::model::time::Timestamp;
use crate::sync::SyncError;
use crate::sync::apply::{CHUNK, MANY, Memory, remember};
use crate::sync::run::Run;

/// A transaction that writes lists of binaries.
pub(super) struct Publisher<'a> {
    of: &'a Run<'a>,
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
pub(super) type FoundRow = (PackageId, ReleaseId, FileId, Vec<u8>);

impl<'a> Publisher<'a> {
    pub(super) fn new(of: &'a Run<'a>) -> Publisher<'a> {
        Publisher { of, started_at: (of.state.clock)(), claimed: Vec::new(), written: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }

    /// Writes the changes of one list.
    pub(super) async fn write(
        &mut self,
        label: &str,
        changes: Vec<BuildChange>,
        listed: usize,
    ) -> Result<(), SyncError> {
        if changes.is_empty() {
            return Ok(());
        }
        let db = &self.of.state.db;
        let (tree, pending) = self.claim(label, listed).await?;
        let total = changes.len();
        let mut changes = changes.into_iter();
        let mut done = 0;
        loop {
            let chunk: Arc<[BuildChange]> = changes.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                self.written += total;
                return Ok(());
            }
            if self.of.report.is_halted() {
                return Err(SyncError::Halted);
            }
            self.of.report.progress(format!("writing binaries of {label}"), done, Some(total as u64));
            done += chunk.len() as u64;
            let fence = self.of.lease.guard();
            db.bulk(move |c| {
                fence.check(c)?;
                build_list::apply(c, tree, pending, &chunk)
            })
            .await?;
        }
    }

    /// Adds discovered binaries to a list.
    pub(super) async fn write_found(&mut self, label: &str, found: Vec<FoundRow>) -> Result<(), SyncError> {
        let (tree, pending) = self.claim(label, found.len()).await?;
        for chunk in found.chunks(CHUNK) {
            let (chunk, fence): (Arc<[FoundRow]>, _) = (chunk.into(), self.of.lease.guard());
            let write = self.of.state.db.bulk(move |c| {
                fence.check(c)?;
                found_build::list(c, tree, pending, &chunk)
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
        let (name, job, fence) = (label.to_owned(), self.started_at.0, self.of.lease.guard());
        let claim = self.of.state.db.write(move |c| {
            fence.check(c)?;
            let tree = binary::tree(c, SourceId::CRAN, &name)?;
            Ok((tree, tree::begin(c, tree, job)?))
        });
        let (tree, pending) = claim.await?;
        self.claimed.push(Claimed { tree, pending, label: label.to_owned(), listed });
        Ok((tree, pending))
    }

    /// Publishes the written rows as one transaction. On an error they are removed.
    pub(super) async fn publish(self, seen: Memory) -> Result<TxId, SyncError> {
        match self.published(seen).await {
            Ok(tx) => Ok(tx),
            // The commit may have succeeded: the next sync checks first.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    async fn published(&self, seen: Memory) -> Result<TxId, SyncError> {
        let Run { state, cause, lease, .. } = self.of;
        if self.written >= MANY {
            state.db.settle().await?;
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
            remember(c, &seen)?;
            found_build::settle(c, SourceId::CRAN)?;
            clock::publish(c, &publish)
        });
        Ok(published.await?.tx)
    }

    /// Removes the written rows.
    pub(super) async fn give_up(&self) {
        let trees: Vec<TreeId> = self.claimed.iter().map(|claimed| claimed.tree).collect();
        if trees.is_empty() {
            return;
        }
        if let Err(undo) = abandon(&self.of.state.db, self.of.lease, trees).await {
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
            build_list::sweep(c, i64::try_from(CHUNK).unwrap_or(i64::MAX))
        });
        if swept.await? == 0 {
            return Ok(());
        }
    }
}
