//! The task that writes what was counted: every few seconds, in small transactions, each exactly once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::db::DbError;
use crate::db::download::{self, Count};
use crate::metrics;

/// A process that is killed loses the downloads of so long at most.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever starts has more urgent things to do than to open a second database.
const FIRST: Duration = Duration::from_millis(250);
/// Rows of one transaction.
const CHUNK: usize = 1000;

pub(super) struct Saver {
    inner: Arc<Inner>,
    /// This process in the database.
    writer: Arc<str>,
    last: i64,
    /// What is to be written next, in order. A batch keeps its number and its rows until it is known to be written.
    held: VecDeque<(i64, Arc<[Count]>)>,
    failing: bool,
}

impl Saver {
    pub(super) fn new(inner: Arc<Inner>) -> Saver {
        let writer = format!("{:016x}", rand::random::<u64>()).into();
        Saver { inner, writer, last: 0, held: VecDeque::new(), failing: false }
    }

    /// Until it is told to stop, and then once more.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST;
        loop {
            let stopped = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                () = self.inner.stop.notified() => true,
            };
            let nothing = self.held.is_empty() && self.inner.tally.waiting() == 0;
            if !(stopped && nothing) {
                self.save().await;
            }
            pause = EVERY;
            if stopped {
                if !self.held.is_empty() {
                    let lost: i64 = self.held.iter().flat_map(|(_, rows)| rows.iter()).map(|n| n.count).sum();
                    tracing::warn!(target: "usage", "{lost} downloads could not be written and are not counted");
                }
                return;
            }
        }
    }

    async fn save(&mut self) {
        match self.write().await {
            Ok(()) => {
                self.inner.book.went(true);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(target: "usage", "usage data is written again");
                }
            }
            Err(DbError::Closed) => {}
            Err(error) => {
                self.inner.book.went(false);
                // Once: it is tried again every few seconds.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        target: "usage",
                        "usage data cannot be written; packages are served, downloads are counted in memory until it \
                         can: {error}"
                    );
                }
            }
        }
        let held: usize = self.held.iter().map(|(_, rows)| rows.len()).sum();
        metrics::usage_waiting(held + self.inner.tally.waiting());
    }

    async fn write(&mut self) -> Result<(), DbError> {
        let db = self.inner.book.open().await?;
        if self.held.is_empty() {
            let counts = self.inner.tally.take();
            for chunk in counts.chunks(CHUNK) {
                self.last += 1;
                self.held.push_back((self.last, chunk.into()));
            }
        }
        while let Some((batch, rows)) = self.held.front() {
            let (writer, batch, rows) = (Arc::clone(&self.writer), *batch, Arc::clone(rows));
            let now = (self.inner.state.clock)();
            let count: i64 = rows.iter().map(|n| n.count).sum();
            // An unknown outcome is asked for again under the same number: what was written is not written twice.
            db.bulk(move |c| download::add(c, &writer, batch, now, &rows)).await?;
            metrics::usage_saved(u64::try_from(count).unwrap_or(0));
            self.held.pop_front();
        }
        Ok(())
    }
}
