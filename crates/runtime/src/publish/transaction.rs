//! A transaction written in chunks: rows that are invisible until one short publish; an error removes all of them.

use std::sync::Arc;

use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::state::State;
use base::model::ids::{PackageId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use store::db::backfill_write::{self, BackfillPublish};
use store::db::tx::Publish;
use store::db::{Conn, Db, DbError, binary_list, clock, release, tree};

/// Changes per write; an `rspm add` waits for at most one write.
pub const CHUNK: usize = 2_000;

/// Number of changes from which a publish refreshes the planner statistics of the database (`ANALYZE`).
const ANALYZE_THRESHOLD: usize = 10_000;

/// Number of packages whose unpublished history is removed per write.
const PACKAGES_PER_WRITE: i64 = 200;

/// The kind of rows that a transaction writes, which determines how they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A step of trees with releases of the source.
    Releases(SourceId),
    /// A step of lists of binaries.
    Binaries,
    /// Steps below the first one of a tree.
    History(SourceId),
}

/// The reason why rows were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the job was halted")]
    Halted,
}

/// A transaction: trees that are written one by one and published together. The caller has the lease to write them.
pub struct Transaction<'a> {
    state: &'a State,
    lease: &'a Lease,
    report: &'a Reporter,
    rows: Rows,
    trees: Vec<TreeId>,
    /// Number of changes written so far.
    changes: usize,
}

impl<'a> Transaction<'a> {
    /// Creates a transaction without rows.
    pub fn new(state: &'a State, lease: &'a Lease, report: &'a Reporter, rows: Rows) -> Transaction<'a> {
        Transaction { state, lease, report, rows, trees: Vec::new(), changes: 0 }
    }

    /// Removes the rows of an interrupted back-fill, and returns a transaction that writes below the first step of
    /// `tree`. Plan its rows after this call, which also removes releases in no tree: an earlier plan could use them.
    pub async fn new_history(
        state: &'a State,
        lease: &'a Lease,
        report: &'a Reporter,
        source: SourceId,
        tree: TreeId,
    ) -> Result<Transaction<'a>, DbError> {
        let rows = Rows::History(source);
        abandon(&state.db, lease, rows, &[tree]).await?;
        Ok(Transaction { trees: vec![tree], ..Transaction::new(state, lease, report, rows) })
    }

    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Claims the tree that `find_tree` returns or creates; returns it with its pending step for `started_at`.
    pub async fn claim<F>(&mut self, started_at: Timestamp, find_tree: F) -> Result<(TreeId, Seq), DbError>
    where
        F: Fn(&mut dyn Conn) -> Result<TreeId, DbError> + Send + 'static,
    {
        let claim = self.lease.write(&self.state.db, move |c| {
            let tree = find_tree(c)?;
            Ok((tree, tree::begin(c, tree, started_at.0)?))
        });
        let (tree, pending) = claim.await?;
        self.trees.push(tree);
        Ok((tree, pending))
    }

    /// Writes changes in chunks of `size`. On an error the caller must roll back.
    ///
    /// # Errors
    /// Database errors; [`WriteError::Halted`].
    pub async fn write<T, F>(
        &mut self,
        phase: &str,
        changes: Vec<T>,
        size: usize,
        apply: F,
    ) -> Result<(), WriteError>
    where
        T: Send + Sync + 'static,
        F: Fn(&mut dyn Conn, &[T]) -> Result<(), DbError> + Clone + Send + 'static,
    {
        let total = changes.len();
        let mut done_count = 0;
        let mut changes = changes.into_iter();
        loop {
            let chunk: Arc<[T]> = changes.by_ref().take(size).collect();
            if chunk.is_empty() {
                self.changes += total;
                return Ok(());
            }
            // A safe point to halt: the rows are still invisible, and are removed.
            if self.report.is_halted() {
                return Err(WriteError::Halted);
            }
            self.report.progress(phase, done_count, Some(total as u64));
            done_count += chunk.len() as u64;
            let apply = apply.clone();
            self.lease.bulk(&self.state.db, move |c| apply(c, &chunk)).await?;
        }
    }

    /// Publishes the claimed trees as one transaction together with the rows that `write_rows` writes, then refreshes
    /// the catalog. If the publish fails, the written rows are removed. A catalog that cannot be read is not an error:
    /// it is read again in the background.
    pub async fn publish<F>(self, publish: Publish, write_rows: F) -> Result<TxId, DbError>
    where
        F: Fn(&mut dyn Conn) -> Result<(), DbError> + Send + 'static,
    {
        let publish = Publish { trees: self.trees.clone(), ..publish };
        let commit = move |c: &mut dyn Conn| {
            write_rows(c)?;
            Ok(clock::publish(c, &publish)?.tx)
        };
        self.commit(commit).await
    }

    /// Like [`Transaction::publish`], for steps below the first one; returns the first and the last transaction.
    pub async fn publish_history(self, publish: BackfillPublish) -> Result<(TxId, TxId), DbError> {
        self.commit(move |c| backfill_write::publish(c, &publish)).await
    }

    async fn commit<T, F>(self, publish: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        match self.try_commit(publish).await {
            Ok(published) => {
                self.state.catalog.refresh_after_publish(&self.state.db).await;
                Ok(published)
            }
            // The commit may have succeeded, so nothing is removed; the next run checks whether it did.
            Err(error @ DbError::UnknownOutcome(_)) => Err(error),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn try_commit<T, F>(&self, publish: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        if self.changes >= ANALYZE_THRESHOLD {
            self.state.db.analyze().await?;
        }
        self.report.progress("publishing", 1, Some(1));
        self.lease.write(&self.state.db, publish).await
    }

    pub async fn roll_back(&self) {
        if let Err(error) = abandon(&self.state.db, self.lease, self.rows, &self.trees).await {
            match self.rows {
                Rows::Releases(_) => {
                    tracing::warn!(target: "sync", %error, "could not remove the rows of a failed sync; the next sync removes them");
                }
                Rows::Binaries => {
                    tracing::warn!(target: "sync", %error, "could not remove the binaries of a failed sync; the next sync removes them");
                }
                Rows::History(_) => {
                    tracing::warn!(target: "sync", %error, "could not remove the rows of a failed back-fill; the next one removes them");
                }
            }
        }
    }
}

/// Removes the pending rows of trees that an interrupted transaction left. No other writer of the trees may run.
pub async fn abandon(db: &Db, lease: &Lease, rows: Rows, trees: &[TreeId]) -> Result<(), DbError> {
    const LIMIT: i64 = CHUNK as i64;
    for &tree in trees {
        match rows {
            Rows::Releases(_) | Rows::Binaries => lease.write(db, move |c| tree::abandon(c, tree)).await?,
            Rows::History(_) => abandon_history(db, lease, tree).await?,
        }
    }
    if trees.is_empty() {
        return Ok(());
    }
    let sweep = move |c: &mut dyn Conn| match rows {
        Rows::Releases(source) | Rows::History(source) => release::sweep(c, source, LIMIT),
        Rows::Binaries => binary_list::sweep(c, LIMIT),
    };
    while lease.bulk(db, sweep).await? > 0 {}
    Ok(())
}

/// Removes the unpublished rows below the first step of a tree.
async fn abandon_history(db: &Db, lease: &Lease, tree: TreeId) -> Result<(), DbError> {
    let mut next_package = Some(PackageId(0));
    while let Some(from) = next_package {
        next_package =
            lease.bulk(db, move |c| backfill_write::abandon(c, tree, from, PACKAGES_PER_WRITE)).await?;
    }
    Ok(())
}
