//! Writes a past below a tree's first step: chunks of rows nobody sees, then one short publish; or nothing at all.
//! Where the days come from is not its business.

use std::sync::Arc;

use super::past::Assembled;
use crate::db::import::Target;
use crate::db::prepend::{self, Past};
use crate::db::{Db, DbError};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::ids::{PackageId, Seq, SourceId, TreeId, TxId};
use crate::model::language::Language;
use crate::model::time::Timestamp;
use crate::sync::SyncError;
use crate::sync::apply::{CHUNK, MANY};

/// Packages whose unpublished past is removed at a time.
const PACKAGES: i64 = 200;

/// What a past is about.
pub(super) struct Work<'a> {
    pub(super) db: &'a Db,
    /// That of syncs: a past is written while nobody else writes the source.
    pub(super) lease: &'a Lease,
    pub(super) source: SourceId,
    pub(super) tree: TreeId,
    /// The tree's first step.
    pub(super) first: Seq,
    pub(super) started_at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) report: &'a Reporter,
}

impl Work<'_> {
    /// Publishes the past, a transaction for each day; the first and the last of them. On failure what was written is
    /// removed.
    pub(super) async fn publish(&self, past: Assembled, now: Timestamp) -> Result<(TxId, TxId), SyncError> {
        // What one left that was killed.
        abandon(self.db, self.lease, self.tree).await?;
        match self.write_and_publish(past, now).await {
            Ok(published) => Ok(published),
            // Whether it was committed is not known: the next run begins by looking.
            Err(error @ SyncError::Db(DbError::UnknownOutcome(_))) => Err(error),
            Err(error) => {
                if let Err(undo) = abandon(self.db, self.lease, self.tree).await {
                    tracing::warn!(target: "sync", error = %undo, "what a failed back-fill wrote will be removed by the next one");
                }
                Err(error)
            }
        }
    }

    async fn write_and_publish(&self, past: Assembled, now: Timestamp) -> Result<(TxId, TxId), SyncError> {
        let many = past.pasts.len() >= MANY;
        self.write(past.pasts).await?;
        if many {
            self.db.settle().await?;
        }
        self.report.progress("publishing", 1, Some(1));
        let publish = prepend::Publish {
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
            prepend::publish(c, &publish)
        });
        Ok(published.await?)
    }

    async fn write(&self, pasts: Vec<Past>) -> Result<(), SyncError> {
        let total = pasts.len() as u64;
        let target =
            Target { tree: self.tree, pending: self.first, origin: self.source, language: Language::R };
        let mut done = 0;
        let mut pasts = pasts.into_iter();
        loop {
            // Most releases have two lives.
            let chunk: Arc<[Past]> = pasts.by_ref().take(CHUNK / 2).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            // A safe point: nobody sees the rows yet, and they are removed.
            if self.report.is_halted() {
                return Err(SyncError::Halted);
            }
            self.report.progress("writing releases of the past", done, Some(total));
            done += chunk.len() as u64;
            let fence = self.lease.guard();
            let written = self.db.bulk(move |c| {
                fence.check(c)?;
                prepend::write(c, &target, &chunk)
            });
            written.await?;
        }
    }
}

/// Removes what was written below the first step of a tree and never published. Releases that nobody lists any more go
/// with the clean-up. Call it only while nobody else can write the source.
pub(super) async fn abandon(db: &Db, lease: &Lease, tree: TreeId) -> Result<(), SyncError> {
    let mut after = Some(PackageId(0));
    while let Some(from) = after {
        let fence = lease.guard();
        let some = db.bulk(move |c| {
            fence.check(c)?;
            prepend::abandon(c, tree, from, PACKAGES)
        });
        after = some.await?;
    }
    Ok(())
}
