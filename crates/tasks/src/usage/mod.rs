//! Usage data: counts of downloads, and of requests that block rules refused, in a separate database.
//!
//! Downloads are counted in memory ([`tally`]), written every few seconds and when the server stops
//! ([`writer`]), and aggregated by nightly work, which removes old days ([`rollup`]). Clients are not
//! recorded, except for their kind in counts of refused requests.

mod blocked;
mod database;
mod rollup;
mod summary;
mod tally;
mod writer;

pub use blocked::{BlockedReport, BlockedRequest};
pub use summary::UsageError;
pub use tally::Download;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use base::metrics;
use base::model::ids::SourceId;
use blocked::BlockedTally;
use database::UsageDb;
use runtime::state::State;
use summary::Summaries;
use tally::Tally;
use writer::UsageWriter;

/// Timeout for writing the remaining counts when the server stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for querying the counts of a few packages, a detail of a response, and for opening the database.
const QUERY_TIMEOUT: Duration = Duration::from_millis(500);

/// Counts downloads and refused requests, if `Server.UsageDataEnabled` is not false; clones share the state.
#[derive(Clone, Default)]
pub struct Usage(Option<Arc<Inner>>);

struct Inner {
    state: Arc<State>,
    tally: Tally,
    blocked: BlockedTally,
    database: UsageDb,
    summaries: Summaries,
    stop: Notify,
    writer: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Usage {
    /// Starts counting, in a Tokio runtime, and the task that opens the database (with retries) and writes to it.
    pub fn start(state: &Arc<State>) -> Usage {
        let config = state.config.load_full();
        if !config.server.usage_data_enabled {
            return Usage(None);
        }
        let inner = Arc::new(Inner {
            state: Arc::clone(state),
            tally: Tally::default(),
            blocked: BlockedTally::default(),
            database: UsageDb::new(config),
            summaries: Summaries::default(),
            stop: Notify::new(),
            writer: tokio::sync::Mutex::default(),
        });
        let task = tokio::spawn(UsageWriter::new(Arc::clone(&inner)).run());
        *inner.writer.try_lock().expect("no other task has it yet") = Some(task);
        Usage(Some(inner))
    }

    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Counts a download: a hash, an uncontended lock, and an allocation for the first equal one since the last write.
    pub fn count(&self, download: &Download<'_>) {
        let Some(inner) = &self.0 else { return };
        let catalog = inner.state.catalog.get();
        // A source that was deleted meanwhile has no name any more, so the download is not counted.
        let is_counted = catalog
            .source_by_id(download.source)
            .is_some_and(|source| inner.tally.count(source.kind.language(), source.name.as_str(), download));
        if !is_counted {
            metrics::add_lost_downloads(1);
        }
    }

    /// Returns the total downloads of packages, each from its source, without the last seconds; 0 after a timeout.
    pub async fn totals(&self, packages: &[(SourceId, &str)]) -> Vec<i64> {
        let zeros = vec![0; packages.len()];
        let Some(inner) = &self.0 else { return zeros };
        let Some(db) = inner.database.available_db() else { return zeros };
        let catalog = inner.state.catalog.get();
        let source_and_name = |(source, package): &(SourceId, &str)| match catalog.source_by_id(*source) {
            Some(source) => (source.kind.language().as_str(), source.name.to_string(), (*package).to_owned()),
            None => ("", String::new(), String::new()),
        };
        let keys: Vec<_> = packages.iter().map(source_and_name).collect();
        let totals = db.read(move |c| store::db::download::totals(c, &keys));
        tokio::time::timeout(QUERY_TIMEOUT, totals).await.ok().and_then(Result::ok).unwrap_or(zeros)
    }

    /// Writes the remaining counts, for at most two seconds, and closes the database.
    pub async fn close(&self) {
        let Some(inner) = &self.0 else { return };
        inner.stop.notify_one();
        if let Some(mut task) = inner.writer.lock().await.take()
            && tokio::time::timeout(FLUSH_TIMEOUT, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!(target: "usage", "could not write the last downloads in time; they are not counted");
        }
        inner.database.close().await;
    }
}
