//! `rspm backfill`: days before the first sync, out of nothing but a plain mirror (`docs/admin/history.md`).
//!
//! The days come from the times of the mirror's files (`r::history`), the index records of old releases from the first
//! bytes of their archives (`look`), and the rows from both (`past`, pure). They are written below the first step and
//! published at once (`apply`). What was read is kept, so that whoever goes on later asks for none of it again.

mod apply;
mod evidence;
mod look;
mod pace;
mod past;
mod plan;
mod run;
mod tables;

use std::time::Duration;

use super::{Sync, SyncError};
use crate::db::backfill::{self, Wish};
use crate::jobs::{IfHalted, Started};
use crate::model::ids::SourceId;
use crate::model::source::SourceKind;
use crate::model::time::Day;
use crate::upstream::UpstreamError;
use run::Run;

/// Requests in a second where nobody says otherwise: some two on each connection.
pub const RATE: u32 = 8;
/// The largest rate that can be asked for.
pub const FASTEST: u32 = 1000;

/// One that ended because the mirror or the database was away is tried again after this.
const AGAIN: Duration = Duration::from_secs(600);
/// The key of the job; of a dry run it has `:dry` behind it.
const KEY: &str = "backfill:cran";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The source.
    pub kind: SourceKind,
    /// The oldest day.
    pub since: Day,
    /// Requests to the mirror in a second, at most.
    pub rate: u32,
    /// Only say what there is to do.
    pub dry_run: bool,
    /// Who asks.
    pub actor: String,
}

impl Sync {
    /// Starts (or attaches to) the back-fill of the built-in source of a kind. It goes on after a restart of the server
    /// until it is done or stopped.
    ///
    /// # Errors
    /// [`SyncError::NotSynced`] for kinds that have no mirror with a history; those of the database.
    pub async fn backfill(&self, asked: &Asked) -> Result<Started, SyncError> {
        if asked.kind != SourceKind::Cran {
            return Err(SyncError::NoPast(asked.kind));
        }
        let wish = Wish {
            since: asked.since.start(),
            rate: i64::from(asked.rate.clamp(1, FASTEST)),
            actor: asked.actor.clone(),
            asked_at: (self.state.clock)(),
        };
        if asked.dry_run {
            return Ok(self.begin_backfill(wish, true));
        }
        let busy = self.state.jobs.running().iter().any(|job| job.key == KEY);
        if !busy {
            let kept = wish.clone();
            self.state.db.write(move |c| backfill::wish(c, SourceId::CRAN, &kept)).await?;
        }
        Ok(self.begin_backfill(wish, false))
    }

    /// Ends the back-fill at its next safe point, and it does not go on by itself; a sentence for people. What was read
    /// is kept.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stop_backfill(&self) -> Result<String, SyncError> {
        let forgotten = self.state.db.write(|c| backfill::forget(c, SourceId::CRAN)).await?;
        let stopped = self.state.jobs.stop(KEY);
        if let Some(job) = &stopped {
            // It may have come to its end before it heard of it.
            if let Ok(sentence) = job.ended().await {
                return Ok(sentence);
            }
        }
        if !forgotten && stopped.is_none() {
            return Ok("No back-fill of cran is under way.".to_owned());
        }
        run::abandon(&self.state, &self.turn).await?;
        Ok("The back-fill of cran was stopped. What was read is kept: the same command goes on from there."
            .to_owned())
    }

    /// Goes on with what was asked for and is not done, until the task is dropped.
    pub async fn run_backfills(&self) {
        loop {
            match self.state.db.read(|c| backfill::wished(c, SourceId::CRAN)).await {
                Ok(None) => {}
                Ok(Some(wish)) => {
                    // How it ended is in the log.
                    let _ = self.begin_backfill(wish, false).job().ended().await;
                }
                Err(error) => {
                    tracing::warn!(target: "sync", %error, "whether a back-fill is to go on is not known");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn begin_backfill(&self, wish: Wish, dry_run: bool) -> Started {
        let (state, turn) = (self.state.clone(), self.turn.clone());
        let now = (self.state.clock)();
        let key = if dry_run { format!("{KEY}:dry") } else { KEY.to_owned() };
        self.state.jobs.start_as(IfHalted::GoesOn, &key, now, |report| async move {
            let run = Run { state: &state, turn: &turn, wish: &wish, report: &report, dry_run };
            let ended = run.run().await;
            if !dry_run && ended.as_ref().err().is_none_or(is_final) {
                let forgotten = state.db.write(|c| backfill::forget(c, SourceId::CRAN)).await;
                forgotten.map_err(|error| error.to_string())?;
            }
            ended.map(|outcome| outcome.to_string()).map_err(|error| failed(&error, report.is_stopped()))
        })
    }
}

/// Whether trying again would change nothing.
fn is_final(error: &SyncError) -> bool {
    match error {
        SyncError::Refused(_)
        | SyncError::NotSynced(_)
        | SyncError::NoPast(_)
        | SyncError::Upstream(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) => true,
        SyncError::Upstream(UpstreamError::Unavailable { .. })
        | SyncError::Db(_)
        | SyncError::Storage(_)
        | SyncError::Elsewhere(_)
        | SyncError::Halted
        | SyncError::Stopping => false,
    }
}

/// The reason of a failure, for people.
fn failed(error: &SyncError, stopped: bool) -> String {
    let told = match error {
        SyncError::Halted if stopped => {
            "the back-fill was stopped; what was read is kept: the same command goes on from there".to_owned()
        }
        SyncError::Halted => {
            "the back-fill was halted because the server goes offline; it goes on when the server is online again"
                .to_owned()
        }
        SyncError::Elsewhere(_) => {
            "another server that uses this database does the back-fill; its result will be visible here as well"
                .to_owned()
        }
        error if is_final(error) => {
            tracing::error!(target: "sync", source = "cran", %error, "the back-fill failed");
            return error.to_string();
        }
        error => {
            let told = format!("{error}; what was read is kept, and the back-fill goes on within ten minutes");
            tracing::error!(target: "sync", source = "cran", "{told}");
            return told;
        }
    };
    tracing::info!(target: "sync", source = "cran", "{told}");
    told
}
