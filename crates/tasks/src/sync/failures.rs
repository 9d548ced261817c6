//! Logs the results of syncs. The database records the syncs that failed and have not succeeded since, so that
//! administrators see them hours later and after a restart.

use std::time::Instant;

use super::SyncError;
use base::metrics;
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use runtime::state::State;
use store::db::upstream::{self, FAILED_JOBS, StoredValidators};

/// A running sync whose result is recorded at its end.
pub(super) struct MeasuredSync<'a> {
    state: &'a State,
    source: &'static str,
    start_instant: Instant,
    start_time: Timestamp,
}

impl<'a> MeasuredSync<'a> {
    pub(super) fn begin(state: &'a State, source: &'static str) -> MeasuredSync<'a> {
        MeasuredSync { state, source, start_instant: Instant::now(), start_time: (state.clock)() }
    }

    /// Records the result in the metrics and in the database, unless the sync ended early without a failure.
    pub(super) async fn end<T>(&self, result: &Result<T, SyncError>) {
        let has_failed = match result {
            Ok(_) => {
                metrics::sync_ended(self.source, Some((self.state.clock)()), self.start_instant.elapsed());
                false
            }
            Err(error) if !error.is_failure() => return,
            Err(_) => {
                metrics::sync_ended(self.source, None, self.start_instant.elapsed());
                true
            }
        };
        if let Err(error) = self.record_failure(has_failed).await {
            tracing::warn!(target: "sync", source = self.source, %error, "could not record the result of a sync");
        }
    }

    /// Records a failure in a row with the start time of the first failed run since the last success, or
    /// deletes that row after a success. Writes nothing if the row need not change.
    async fn record_failure(&self, has_failed: bool) -> Result<(), store::db::DbError> {
        let key = format!("{FAILED_JOBS}sync:{}", self.source);
        let is_recorded = {
            let key = key.clone();
            self.state.db.read(move |c| upstream::get(c, &key)).await?.is_some()
        };
        let start_time = self.start_time;
        match (has_failed, is_recorded) {
            (true, false) => {
                let row = StoredValidators {
                    etag: None,
                    modified: None,
                    sha256: Sha256([0; 32]),
                    fetched_at: start_time,
                };
                self.state.db.write(move |c| upstream::put(c, &key, &row)).await
            }
            (false, true) => self.state.db.write(move |c| upstream::delete(c, &key)).await,
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// Logs a failed sync; returns its message.
pub(super) fn log_failure(source: &str, error: &SyncError) -> String {
    let message = error.to_string();
    if error.is_failure() {
        for error in message.lines() {
            tracing::error!(target: "sync", source, error, "the sync failed; the last good state is served");
        }
    } else {
        tracing::info!(target: "sync", source, "{message}");
    }
    message
}

/// Logs a successful sync, even without changes, so that the log shows that schedules run.
pub(super) fn log_success(source: &str, message: String) -> String {
    for line in message.lines() {
        tracing::info!(target: "sync", source, "{line}");
    }
    message
}
