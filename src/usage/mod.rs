//! Usage data: which packages are downloaded, counted beside the requests and kept in a database of its own.
//!
//! A request counts in memory ([`tally`]); a task writes what has gathered every few seconds and at a stop ([`saver`]);
//! at night finished days are added up into storage and old ones go ([`night`]). Nothing of a client is recorded.

mod aggregate;
mod book;
mod night;
mod saver;
mod summary;
mod tally;

pub use summary::UsageError;
pub use tally::Download;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::metrics;
use crate::model::ids::SourceId;
use crate::state::State;
use book::Book;
use saver::Saver;
use summary::Summaries;
use tally::Tally;

/// So long a stop waits for what was counted to be written.
const LAST: Duration = Duration::from_secs(2);
/// So long who asks waits for the database: for the count of one package, which is a detail of their answer, and for one
/// that is not open yet.
const PATIENCE: Duration = Duration::from_millis(500);

/// The counter; cloning shares it. Where `Server.UsageDataEnabled` is false it counts nothing, and no database is
/// opened.
#[derive(Clone, Default)]
pub struct Usage(Option<Arc<Inner>>);

struct Inner {
    state: Arc<State>,
    tally: Tally,
    book: Book,
    summaries: Summaries,
    /// Told to write what there is and to end.
    stop: Notify,
    /// The task that writes.
    saver: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Usage {
    /// Begins to count. Called inside the runtime: it starts the task that writes, which also opens the database; one
    /// that cannot be opened is tried again, and keeps nothing from being served.
    #[must_use]
    pub fn start(state: &Arc<State>) -> Usage {
        let config = state.config.load_full();
        if !config.server.usage_data_enabled {
            return Usage(None);
        }
        let inner = Arc::new(Inner {
            state: Arc::clone(state),
            tally: Tally::default(),
            book: Book::new(config),
            summaries: Summaries::default(),
            stop: Notify::new(),
            saver: tokio::sync::Mutex::default(),
        });
        let task = tokio::spawn(Saver::new(Arc::clone(&inner)).run());
        *inner.saver.try_lock().expect("nobody else has it yet") = Some(task);
        Usage(Some(inner))
    }

    /// Whether downloads are counted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Counts one. It takes a hash and a lock that nobody else holds; no allocation unless it is the first of its kind since the last writing.
    pub fn count(&self, download: &Download<'_>) {
        let Some(inner) = &self.0 else { return };
        let catalog = inner.state.catalog.get();
        // One that was deleted this very moment has no name any more.
        let counted = catalog
            .source_by_id(download.source)
            .is_some_and(|source| inner.tally.count(source.kind.language(), source.name.as_str(), download));
        if !counted {
            metrics::usage_lost(1);
        }
    }

    /// All downloads of these packages, each from its source, since counting began, but for those of the last seconds.
    /// 0 when the database cannot tell at once: nobody shall wait for it.
    pub async fn totals(&self, packages: &[(SourceId, &str)]) -> Vec<i64> {
        let none = vec![0; packages.len()];
        let Some(inner) = &self.0 else { return none };
        let Some(db) = inner.book.at_hand() else { return none };
        let catalog = inner.state.catalog.get();
        let named = |(source, package): &(SourceId, &str)| match catalog.source_by_id(*source) {
            Some(source) => (source.kind.language().as_str(), source.name.to_string(), (*package).to_owned()),
            None => ("", String::new(), String::new()),
        };
        let wanted: Vec<_> = packages.iter().map(named).collect();
        let asked = db.read(move |c| crate::db::download::totals(c, &wanted));
        tokio::time::timeout(PATIENCE, asked).await.ok().and_then(Result::ok).unwrap_or(none)
    }

    /// Writes what was counted, for some seconds at most, and closes the database.
    pub async fn close(&self) {
        let Some(inner) = &self.0 else { return };
        inner.stop.notify_one();
        if let Some(mut task) = inner.saver.lock().await.take()
            && tokio::time::timeout(LAST, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!(target: "usage", "the last downloads could not be written in time and are not counted");
        }
        inner.book.close().await;
    }
}

/// Days since the epoch, as the tables count them.
fn day_number(at: crate::model::time::Timestamp) -> i64 {
    at.seconds().div_euclid(86_400)
}
