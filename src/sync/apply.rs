//! Writes a plan: chunks of rows nobody sees, then one short publish; or nothing at all.

use std::sync::Arc;

use super::SyncError;
use super::lease::Lease;
use super::plan::Plan;
use crate::db::import::Target;
use crate::db::{Conn, Db, DbError, clock, import, release, tree, tx, upstream};
use crate::jobs::Reporter;
use crate::model::change::Change;
use crate::model::ids::{SourceId, TreeId, TxId};
use crate::model::language::Language;
use crate::model::time::Timestamp;

/// Changes in one write: an `rspm add` waits for at most one of them.
pub(super) const CHUNK: usize = 2_000;

/// So many changes make the database's idea of its tables wrong.
pub(super) const MANY: usize = 10_000;

/// What is remembered of a file from now on: by URL, and `None` forgets it.
pub(super) type Memory = Vec<(String, Option<upstream::Seen>)>;

/// Writes what is remembered.
pub(super) fn remember(c: &mut dyn Conn, memory: &Memory) -> Result<(), DbError> {
    memory.iter().try_for_each(|(url, seen)| match seen {
        Some(seen) => upstream::put(c, url, seen),
        None => upstream::forget(c, url),
    })
}

/// What a publish is about.
pub(super) struct Work<'a> {
    pub(super) db: &'a Db,
    pub(super) lease: &'a Lease,
    pub(super) source: SourceId,
    pub(super) tree: TreeId,
    pub(super) started_at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) comment: String,
    /// What was seen of the mirror: remembered in the publish, so that a crash before it skips nothing.
    pub(super) seen: Memory,
    pub(super) report: &'a Reporter,
}

impl Work<'_> {
    /// Publishes the plan under one transaction. On failure what was written is undone.
    pub(super) async fn publish(&self, plan: Plan, now: Timestamp) -> Result<TxId, SyncError> {
        let job = self.started_at.0;
        let (tree, fence) = (self.tree, self.lease.guard());
        let pending = self
            .db
            .write(move |c| {
                fence.check(c)?;
                tree::begin(c, tree, job)
            })
            .await?;
        let target = Target { tree, pending, origin: self.source, language: Language::R };
        let written = async {
            let (counts, from, to) = (plan.counts, plan.published_from, plan.published_to);
            let many = plan.changes.len() >= MANY;
            self.write(target, plan.changes).await?;
            if many {
                self.db.settle().await?;
            }
            let publish = clock::Publish {
                now,
                source: Some(self.source),
                repo: None,
                kind: tx::TxKind::Sync,
                started_at: self.started_at,
                published_from: from,
                published_to: to,
                counts,
                actor: self.actor.to_owned(),
                comment: self.comment.clone(),
                trees: vec![tree],
                repo_steps: Vec::new(),
            };
            let (fence, seen) = (self.lease.guard(), self.seen.clone());
            let published = self.db.write(move |c| {
                fence.check(c)?;
                remember(c, &seen)?;
                clock::publish(c, &publish)
            });
            Ok::<TxId, SyncError>(published.await?.tx)
        };
        match written.await {
            Ok(tx) => Ok(tx),
            // Whether it was committed is not known: the next sync begins by looking.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                if let Err(undo) = abandon(self.db, self.lease, self.source, self.tree).await {
                    tracing::warn!(target: "sync", error = %undo, "what a failed sync wrote will be removed by the next one");
                }
                Err(error)
            }
        }
    }

    async fn write(&self, target: Target, changes: Vec<Change>) -> Result<(), SyncError> {
        let total = changes.len();
        let mut done = 0;
        let mut changes = changes.into_iter();
        loop {
            let chunk: Arc<[Change]> = changes.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            // A safe point: nobody sees the rows yet, and they are removed.
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

/// Undoes what a sync that ended early left in a tree. Call it only while no other sync of the source can be under
/// way.
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
