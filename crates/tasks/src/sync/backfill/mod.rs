//! `rspm backfill`: reconstructs the days before the first sync from a plain mirror (`docs/admin/history.md`).
//!
//! The days come from the file times of the mirror (`r::history`), the index records of old releases from the first
//! bytes of their archives (`fetch_descriptions`), and the rows from both (`rows`, pure). They are written below the
//! first step and published together (`run`). Read records are stored, so that a resumed run does not fetch them again.
//!
//! `run` does not depend on where the days come from.

mod fetch_descriptions;
mod files;
mod plan;
mod rows;
mod run;
mod tables;

use std::time::Duration;

use super::task::Task;
use super::{Sync, SyncError};
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::time::Day;
use fetch_descriptions::MAX_RATE;
use run::BackfillRun;
use runtime::jobs::{AfterHalt, JobStart};
use store::db::backfill::{self, PendingBackfill};
use store::db::{Conn, audit};
use upstream::UpstreamError;

/// Default number of requests per second: about two per connection.
pub const DEFAULT_RATE: u32 = 8;

/// Delay before the retry of a back-fill that failed because the mirror or the database was unavailable.
const RETRY_DELAY: Duration = Duration::from_secs(600);
/// The key of the job; a dry run appends `:dry`.
const JOB_KEY: &str = "backfill:cran";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRequest {
    pub kind: SourceKind,
    /// The oldest day to fill in.
    pub since: Day,
    /// Maximum number of requests to the mirror per second.
    pub rate: u32,
    /// Only report what would be done.
    pub dry_run: bool,
    /// The administrator who requested it.
    pub actor: String,
}

impl Sync {
    /// Starts (or attaches to) the back-fill of the built-in source of a kind. It resumes after a restart of the
    /// server until it is complete or stopped.
    ///
    /// # Errors
    /// [`SyncError::NotBackfillable`] for kinds other than CRAN; database errors.
    pub async fn backfill(&self, request: &BackfillRequest) -> Result<JobStart, SyncError> {
        if !request.kind.is_backfillable() {
            return Err(SyncError::NotBackfillable(request.kind));
        }
        let pending = PendingBackfill {
            since: request.since.start(),
            rate: i64::from(request.rate.clamp(1, MAX_RATE)),
            actor: request.actor.clone(),
            requested_at: (self.state.clock)(),
        };
        if request.dry_run {
            return Ok(self.begin_backfill(pending, true));
        }
        let is_running = self.state.jobs.running().iter().any(|job| job.key == JOB_KEY);
        if !is_running {
            let row = pending.clone();
            self.state.db.write(move |c| backfill::put(c, SourceId::CRAN, &row)).await?;
        }
        Ok(self.begin_backfill(pending, false))
    }

    /// Stops the back-fill at its next safe point without resuming it later; returns a message about the result.
    /// Records that were read are not deleted.
    pub async fn stop_backfill(&self) -> Result<String, SyncError> {
        let is_running = self.state.jobs.running().iter().any(|job| job.key == JOB_KEY);
        let stop = move |c: &mut dyn Conn| {
            if is_running || backfill::get(c, SourceId::CRAN)?.is_some() {
                audit::record(c, "stop back-fill", "source", "cran", "")?;
            }
            backfill::delete(c, SourceId::CRAN)
        };
        let was_pending = self.state.db.write(stop).await?;
        let job = self.state.jobs.stop(JOB_KEY);
        if let Some(job) = &job {
            // The job may have ended before it noticed the request to stop.
            if let Ok(message) = job.wait_end().await {
                return Ok(message);
            }
        }
        if !was_pending && job.is_none() {
            return Ok("No back-fill of cran is under way.".to_owned());
        }
        run::abandon(&self.state, self.source_lock(Task::Cran)).await?;
        Ok("The back-fill of cran was stopped. Its progress is stored; the command without --stop resumes it."
            .to_owned())
    }

    /// Resumes a requested back-fill that is not complete, until the task is dropped.
    pub async fn run_backfills(&self) {
        loop {
            match self.state.db.read(|c| backfill::get(c, SourceId::CRAN)).await {
                Ok(None) => {}
                Ok(Some(pending)) => {
                    // The result is in the log.
                    let _ = self.begin_backfill(pending, false).job().wait_end().await;
                }
                Err(error) => {
                    tracing::warn!(target: "sync", %error, "could not read the pending back-fill");
                }
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    fn begin_backfill(&self, pending: PendingBackfill, dry_run: bool) -> JobStart {
        let sync = self.clone();
        let now = (self.state.clock)();
        let key = if dry_run { format!("{JOB_KEY}:dry") } else { JOB_KEY.to_owned() };
        self.state.jobs.start_with(AfterHalt::Resumes, &key, "", now, |report| async move {
            let state = &sync.state;
            let run = BackfillRun { state, source_lock: sync.source_lock(Task::Cran), request: &pending, report: &report, dry_run };
            let result = run.run().await;
            let is_over = match &result {
                Ok(result) => !result.lacks_digests,
                Err(error) => is_final(error),
            };
            if !dry_run && is_over {
                let deletion = state.db.write(|c| backfill::delete(c, SourceId::CRAN)).await;
                if let Err(error) = deletion {
                    tracing::warn!(target: "sync", source = "cran", %error, "could not delete the request of a back-fill that has ended; the back-fill is repeated within ten minutes");
                }
            }
            result.map(|result| result.summary.to_string()).map_err(|error| log_failure(&error, report.is_stopped()))
        })
    }
}

/// Returns whether a retry would have the same result.
fn is_final(error: &SyncError) -> bool {
    match error {
        SyncError::Refused(_)
        | SyncError::NotSynced(_)
        | SyncError::NotBackfillable(_)
        | SyncError::Upstream(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => true,
        SyncError::Upstream(UpstreamError::Unavailable { .. })
        | SyncError::Db(_)
        | SyncError::Storage(_)
        | SyncError::HeldByOtherServer(_)
        | SyncError::Halted
        | SyncError::Stopping => false,
    }
}

/// Logs a failure and returns its message.
fn log_failure(error: &SyncError, is_stopped: bool) -> String {
    let message = match error {
        SyncError::Halted if is_stopped => {
            "the back-fill was stopped; its progress is stored: the same command resumes it".to_owned()
        }
        SyncError::Halted => {
            "the back-fill was halted because the server goes offline; it resumes when the server is online again"
                .to_owned()
        }
        SyncError::HeldByOtherServer(_) => {
            "another server that uses this database runs the back-fill; its result will be visible here as well"
                .to_owned()
        }
        error if is_final(error) => {
            tracing::error!(target: "sync", source = "cran", %error, "the back-fill failed");
            return error.to_string();
        }
        error => {
            let message = format!("{error}; its progress is stored, and the back-fill resumes within ten minutes");
            tracing::error!(target: "sync", source = "cran", "{message}");
            return message;
        }
    };
    tracing::info!(target: "sync", source = "cran", "{message}");
    message
}
