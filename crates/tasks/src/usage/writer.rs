//! The task that writes the counts every few seconds, in small transactions. Each count is written exactly once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use base::metrics;
use store::db::blocked_request::{self, BlockedCount};
use store::db::download::{self, Count};
use store::db::{Db, DbError};

/// Interval of the writes. A killed process loses at most the counts of this time.
const INTERVAL: Duration = Duration::from_secs(5);
/// Delay of the first write, so that opening the database does not slow down the start.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Maximum number of rows per transaction.
const CHUNK: usize = 1000;

pub(super) struct UsageWriter {
    inner: Arc<Inner>,
    /// The random id of this process in the database.
    writer_id: Arc<str>,
    /// Number of the newest batch.
    last_batch: i64,
    /// The batches to write, in order. Number and rows of a batch do not change until it is known to be written.
    batches: VecDeque<(i64, Arc<[Count]>)>,
    /// The batches of counts of refused requests to write, in order.
    blocked_batches: VecDeque<(i64, Arc<[BlockedCount]>)>,
    is_failing: bool,
}

impl UsageWriter {
    pub(super) fn new(inner: Arc<Inner>) -> UsageWriter {
        let writer_id = format!("{:016x}", rand::random::<u64>()).into();
        UsageWriter {
            inner,
            writer_id,
            last_batch: 0,
            batches: VecDeque::new(),
            blocked_batches: VecDeque::new(),
            is_failing: false,
        }
    }

    /// Writes periodically until the task is notified to stop, and then once more.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_DELAY;
        loop {
            let is_stopping = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                () = self.inner.stop.notified() => true,
            };
            let is_empty = self.batches.is_empty()
                && self.blocked_batches.is_empty()
                && self.inner.tally.len() + self.inner.blocked.len() == 0;
            if !(is_stopping && is_empty) {
                self.write().await;
            }
            pause = INTERVAL;
            if is_stopping {
                let (downloads, refused) = self.discard();
                if downloads + refused > 0 {
                    tracing::warn!(
                        target: "usage",
                        "could not write {downloads} downloads and {refused} refused requests; they are not counted"
                    );
                }
                return;
            }
        }
    }

    /// Discards the counts that are not known to be written; returns the numbers of downloads and of refused requests.
    fn discard(&self) -> (i64, i64) {
        let Inner { tally, blocked, .. } = &*self.inner;
        let downloads = self.batches.iter().flat_map(|(_, rows)| rows.iter()).map(|row| row.count);
        let refused = self.blocked_batches.iter().flat_map(|(_, rows)| rows.iter()).map(|row| row.count);
        let counted = tally.take().into_iter().map(|row| row.count);
        let counted_refused = blocked.take().into_iter().map(|row| row.count);
        (downloads.chain(counted).sum(), refused.chain(counted_refused).sum())
    }

    /// Writes the batches. Only the first of consecutive failures is logged.
    async fn write(&mut self) {
        match self.try_write().await {
            Ok(()) => {
                self.inner.database.record_write(true);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(target: "usage", "the usage database is available again");
                }
            }
            Err(DbError::Closed) => {}
            Err(error) => {
                self.inner.database.record_write(false);
                // Logged only once, because a retry follows every few seconds.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        target: "usage",
                        "could not write usage data; packages are served, and downloads are counted in memory \
                         meanwhile: {error}"
                    );
                }
            }
        }
        let count: usize = self.batches.iter().map(|(_, rows)| rows.len()).sum();
        metrics::set_waiting_usage_rows(count + self.inner.tally.len());
    }

    async fn try_write(&mut self) -> Result<(), DbError> {
        let db = self.inner.database.open().await?;
        if self.batches.is_empty() {
            let counts = self.inner.tally.take();
            for chunk in counts.chunks(CHUNK) {
                self.last_batch += 1;
                self.batches.push_back((self.last_batch, chunk.into()));
            }
        }
        while let Some((batch, rows)) = self.batches.front() {
            let (writer_id, batch, rows) = (Arc::clone(&self.writer_id), *batch, Arc::clone(rows));
            let now = (self.inner.state.clock)();
            let count: i64 = rows.iter().map(|n| n.count).sum();
            // If it is unknown whether a batch was written, the same number prevents that it is counted twice.
            db.bulk(move |c| download::add(c, &writer_id, batch, now, &rows)).await?;
            metrics::add_saved_downloads(u64::try_from(count).unwrap_or(0));
            self.batches.pop_front();
        }
        self.write_blocked(&db).await
    }

    /// Writes the batches of counts of refused requests, with a separate writer id.
    async fn write_blocked(&mut self, db: &Db) -> Result<(), DbError> {
        if self.blocked_batches.is_empty() {
            for chunk in self.inner.blocked.take().chunks(CHUNK) {
                self.last_batch += 1;
                self.blocked_batches.push_back((self.last_batch, chunk.into()));
            }
        }
        while let Some((batch, rows)) = self.blocked_batches.front() {
            let writer_id = format!("{}-blocked", self.writer_id);
            let (batch, rows, now) = (*batch, Arc::clone(rows), (self.inner.state.clock)());
            db.bulk(move |c| blocked_request::add(c, &writer_id, batch, now, &rows)).await?;
            self.blocked_batches.pop_front();
        }
        Ok(())
    }
}
