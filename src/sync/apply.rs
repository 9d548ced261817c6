//! Writes a plan: chunks of rows that are invisible until one short publish; an error rolls all of them back.

use std::sync::Arc;

use super::SyncError;
use super::plan::Plan;
use crate::db::import::ImportTarget;
use crate::db::{Conn, Db, DbError, clock, import, release, tree, tx, upstream};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::change::{Change, Counts};
use crate::model::ids::{SourceId, TreeId, TxId};
use crate::model::language::Language;
use crate::model::time::Timestamp;

/// Changes per write; an `rspm add` waits for at most one write.
pub(super) const CHUNK: usize = 2_000;

/// Above this many changes the planner statistics of the database are refreshed (`ANALYZE`).
pub(super) const ANALYZE_ABOVE: usize = 10_000;

/// Validators to store by URL; `None` deletes the row.
pub(super) type ValidatorUpdates = Vec<(String, Option<upstream::StoredValidators>)>;

/// Writes validator updates.
pub(super) fn store_validators(c: &mut dyn Conn, memory: &ValidatorUpdates) -> Result<(), DbError> {
    memory.iter().try_for_each(|(url, seen)| match seen {
        Some(seen) => upstream::put(c, url, seen),
        None => upstream::delete(c, url),
    })
}

/// A sync transaction: trees that are written one by one and published together.
pub(super) struct SyncTransaction<'a> {
    pub(super) db: &'a Db,
    pub(super) lease: &'a Lease,
    pub(super) source: SourceId,
    pub(super) started_at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) comment: String,
    pub(super) report: &'a Reporter,
    written: WriteTotals,
}

/// Totals of the rows written so far.
#[derive(Default)]
struct WriteTotals {
    trees: Vec<TreeId>,
    counts: Counts,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    changes: usize,
}

impl<'a> SyncTransaction<'a> {
    /// A transaction of a sync that started at `started_at`; nothing is written yet.
    pub(super) fn new(
        db: &'a Db,
        lease: &'a Lease,
        source: SourceId,
        started_at: Timestamp,
        actor: &'a str,
        report: &'a Reporter,
    ) -> SyncTransaction<'a> {
        let (comment, written) = (String::new(), WriteTotals::default());
        SyncTransaction { db, lease, source, started_at, actor, comment, report, written }
    }

    /// Returns whether there is nothing to publish.
    pub(super) fn is_empty(&self) -> bool {
        self.written.trees.is_empty()
    }

    /// Claims a tree and writes the plan of its next step. On an error the caller must roll back.
    pub(super) async fn write(&mut self, tree: TreeId, plan: Plan) -> Result<(), SyncError> {
        let (job, fence) = (self.started_at.0, self.lease.guard());
        let pending = self
            .db
            .write(move |c| {
                fence.check(c)?;
                tree::begin(c, tree, job)
            })
            .await?;
        let written = &mut self.written;
        written.trees.push(tree);
        written.counts.added += plan.counts.added;
        written.counts.updated += plan.counts.updated;
        written.counts.archived += plan.counts.archived;
        written.counts.removed += plan.counts.removed;
        written.from = [written.from, plan.published_from].into_iter().flatten().min();
        written.to = written.to.max(plan.published_to);
        written.changes += plan.changes.len();
        let target = ImportTarget { tree, pending, origin: self.source, language: Language::R };
        self.rows(target, plan.changes).await
    }

    /// Publishes the written rows as one transaction together with the validators of the mirror, so that a crash
    /// before the publish makes the next sync read the files again. On an error the written rows are removed.
    pub(super) async fn publish(
        self,
        seen: ValidatorUpdates,
        now: Timestamp,
    ) -> Result<(TxId, Counts), SyncError> {
        let counts = self.written.counts;
        match self.try_publish(seen, now).await {
            Ok(tx) => Ok((tx, counts)),
            // The commit may have succeeded: the next sync checks first.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn try_publish(&self, seen: ValidatorUpdates, now: Timestamp) -> Result<TxId, SyncError> {
        if self.written.changes >= ANALYZE_ABOVE {
            self.db.analyze().await?;
        }
        let publish = clock::Publish {
            now,
            source: Some(self.source),
            repo: None,
            kind: tx::TxKind::Sync,
            started_at: self.started_at,
            published_from: self.written.from,
            published_to: self.written.to,
            counts: self.written.counts,
            actor: self.actor.to_owned(),
            comment: self.comment.clone(),
            trees: self.written.trees.clone(),
            repo_steps: Vec::new(),
        };
        let fence = self.lease.guard();
        let published = self.db.write(move |c| {
            fence.check(c)?;
            store_validators(c, &seen)?;
            clock::publish(c, &publish)
        });
        Ok(published.await?.tx)
    }

    /// Removes the written rows.
    pub(super) async fn roll_back(&self) {
        for tree in &self.written.trees {
            if let Err(undo) = abandon(self.db, self.lease, self.source, *tree).await {
                tracing::warn!(target: "sync", error = %undo, "could not remove the rows of a failed sync; the next sync removes them");
            }
        }
    }

    async fn rows(&self, target: ImportTarget, changes: Vec<Change>) -> Result<(), SyncError> {
        let total = changes.len();
        let mut done = 0;
        let mut changes = changes.into_iter();
        loop {
            let chunk: Arc<[Change]> = changes.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            // A safe point to halt: the rows are still invisible, and are removed.
            if self.report.is_halted() {
                return Err(SyncError::Halted);
            }
            self.report.progress("writing releases", done, Some(total as u64));
            done += chunk.len() as u64;
            let fence = self.lease.guard();
            self.db
                .bulk(move |c| {
                    fence.check(c)?;
                    import::apply(c, &target, &chunk).map(drop)
                })
                .await?;
        }
    }
}

/// Removes the pending rows of a tree that an interrupted sync left. No other sync of the source may be running.
pub(super) async fn abandon(db: &Db, lease: &Lease, source: SourceId, tree: TreeId) -> Result<(), SyncError> {
    let fence = lease.guard();
    db.write(move |c| {
        fence.check(c)?;
        tree::abandon(c, tree)
    })
    .await?;
    loop {
        let fence = lease.guard();
        let swept = db.bulk(move |c| {
            fence.check(c)?;
            release::sweep(c, source, i64::try_from(CHUNK).unwrap_or(i64::MAX))
        });
        if swept.await? == 0 {
            return Ok(());
        }
    }
}
