//! Logs how syncs ended, and records in the database which failed and have not succeeded since: administrators see it
//! hours later and after a restart.

use std::time::Instant;

use super::SyncError;
use crate::db::upstream::{self, FAILED, StoredValidators};
use crate::metrics;
use crate::model::digest::Sha256;
use crate::model::time::Timestamp;
use crate::state::State;

/// A running sync whose result is recorded at its end.
pub(super) struct MeasuredSync<'a> {
    state: &'a State,
    source: &'static str,
    since: Instant,
    start: Timestamp,
}

impl<'a> MeasuredSync<'a> {
    /// Starts the measurement.
    pub(super) fn begin(state: &'a State, source: &'static str) -> MeasuredSync<'a> {
        MeasuredSync { state, source, since: Instant::now(), start: (state.clock)() }
    }

    /// Records the result in the metrics and in the database. A halted sync resumes later, and a sync that another
    /// server runs is not a failure of this one.
    pub(super) async fn end<T>(&self, ended: &Result<T, SyncError>) {
        let failed = match ended {
            Ok(_) => {
                metrics::sync_ended(self.source, Some((self.state.clock)()), self.since.elapsed());
                false
            }
            Err(SyncError::Halted) => return,
            Err(error) => {
                metrics::sync_ended(self.source, None, self.since.elapsed());
                if matches!(error, SyncError::Elsewhere(_) | SyncError::Stopping) {
                    return;
                }
                true
            }
        };
        if let Err(error) = self.record_failure(failed).await {
            tracing::warn!(target: "sync", source = self.source, %error, "could not record how the sync ended");
        }
    }

    /// The row holds the start time of the first failed run since the last success; it is written on a change only.
    async fn record_failure(&self, failed: bool) -> Result<(), crate::db::DbError> {
        let key = format!("{FAILED}sync:{}", self.source);
        let is_repeated = {
            let key = key.clone();
            self.state.db.read(move |c| upstream::get(c, &key)).await?.is_some()
        };
        let start = self.start;
        match (failed, is_repeated) {
            (true, false) => {
                let row = StoredValidators {
                    etag: None,
                    modified: None,
                    sha256: Sha256([0; 32]),
                    fetched_at: start,
                };
                self.state.db.write(move |c| upstream::put(c, &key, &row)).await
            }
            (false, true) => self.state.db.write(move |c| upstream::delete(c, &key)).await,
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// Logs a failed sync; returns the message for people.
pub(super) fn log_failure(source: &str, error: &SyncError) -> String {
    match error {
        SyncError::Halted => tracing::info!(target: "sync", source, "{error}"),
        error => {
            for error in error.to_string().lines() {
                tracing::error!(target: "sync", source, error, "the sync failed; the last good state is served");
            }
        }
    }
    error.to_string()
}

/// Logs a successful sync, even without changes, so that an administrator sees that schedules run.
pub(super) fn log_success(source: &str, message: String) -> String {
    for line in message.lines() {
        tracing::info!(target: "sync", source, "{line}");
    }
    message
}
