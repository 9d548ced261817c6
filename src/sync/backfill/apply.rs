//! Writes a back-fill below a tree's first step: chunks of invisible rows, then one short publish; an error removes
//! all of them.

use std::sync::Arc;

use super::rows::BackfillRows;
use crate::db::backfill_write::{self, ReleaseHistory};
use crate::db::import::ImportTarget;
use crate::db::{Db, DbError};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::ids::{PackageId, Seq, SourceId, TreeId, TxId};
use crate::model::language::Language;
use crate::model::time::Timestamp;
use crate::sync::SyncError;
use crate::sync::apply::{ANALYZE_ABOVE, CHUNK};

/// Number of packages whose unpublished history is removed per write.
const PACKAGES: i64 = 200;

/// The transaction of a back-fill.
pub(super) struct BackfillTransaction<'a> {
    pub(super) db: &'a Db,
    /// The lease of syncs: no other writer of the source may run.
    pub(super) lease: &'a Lease,
    pub(super) source: SourceId,
    pub(super) tree: TreeId,
    /// The tree's first step.
    pub(super) first: Seq,
    pub(super) started_at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) report: &'a Reporter,
}

impl BackfillTransaction<'_> {
    /// Publishes one transaction per day; returns the first and the last. On an error the written rows are removed.
    pub(super) async fn publish(
        &self,
        past: BackfillRows,
        now: Timestamp,
    ) -> Result<(TxId, TxId), SyncError> {
        // Rows of a back-fill that was killed.
        abandon(self.db, self.lease, self.tree).await?;
        match self.try_publish(past, now).await {
            Ok(published) => Ok(published),
            // The commit may have succeeded: the next run checks first.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                if let Err(undo) = abandon(self.db, self.lease, self.tree).await {
                    tracing::warn!(target: "sync", error = %undo, "could not remove the rows of a failed back-fill; the next one removes them");
                }
                Err(error)
            }
        }
    }

    async fn try_publish(&self, past: BackfillRows, now: Timestamp) -> Result<(TxId, TxId), SyncError> {
        let many = past.releases.len() >= ANALYZE_ABOVE;
        self.write(past.releases).await?;
        if many {
            self.db.analyze().await?;
        }
        self.report.progress("publishing", 1, Some(1));
        let publish = backfill_write::BackfillPublish {
            now,
            source: self.source,
            tree: self.tree,
            first: self.first,
            started_at: self.started_at,
            actor: self.actor.to_owned(),
            steps: past.steps,
        };
        let fence = self.lease.guard();
        let published = self.db.write(move |c| {
            fence.check(c)?;
            backfill_write::publish(c, &publish)
        });
        Ok(published.await?)
    }

    async fn write(&self, pasts: Vec<ReleaseHistory>) -> Result<(), SyncError> {
        let total = pasts.len() as u64;
        let target =
            ImportTarget { tree: self.tree, pending: self.first, origin: self.source, language: Language::R };
        let mut done = 0;
        let mut pasts = pasts.into_iter();
        loop {
            // Most releases have two lives.
            let chunk: Arc<[ReleaseHistory]> = pasts.by_ref().take(CHUNK / 2).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            // A safe point to halt: the rows are still invisible, and are removed.
            if self.report.is_halted() {
                return Err(SyncError::Halted);
            }
            self.report.progress("writing old releases", done, Some(total));
            done += chunk.len() as u64;
            let fence = self.lease.guard();
            let written = self.db.bulk(move |c| {
                fence.check(c)?;
                backfill_write::write(c, &target, &chunk)
            });
            written.await?;
        }
    }
}

/// Removes the unpublished rows below the first step of a tree. The clean-up removes releases that are no longer
/// listed. No other writer of the source may run.
pub(super) async fn abandon(db: &Db, lease: &Lease, tree: TreeId) -> Result<(), SyncError> {
    let mut after = Some(PackageId(0));
    while let Some(from) = after {
        let fence = lease.guard();
        let some = db.bulk(move |c| {
            fence.check(c)?;
            backfill_write::abandon(c, tree, from, PACKAGES)
        });
        after = some.await?;
    }
    Ok(())
}
