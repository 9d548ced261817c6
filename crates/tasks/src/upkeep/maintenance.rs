//! Scheduled maintenance. At the start: removes unreferenced objects of refillable classes. After midnight:
//! closes the day, renders its indexes, removes old logs of builds, sweeps storage, and scrubs a part of it.

use std::sync::Arc;
use std::time::Duration;

use super::scrub::{self, ScrubOptions};
use super::sweep::SweepOptions;
use super::{Upkeep, sweep};
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::document::DocumentRequest;
use content::serve::r::document::RDocument;
use content::serve::{self, RepoError};
use runtime::catalog::resolve::Unresolved;
use runtime::jobs::JobStart;
use store::db::git_build;

/// The delay after midnight UTC in which transactions that began before midnight complete.
const MIDNIGHT_DELAY: Duration = Duration::from_secs(5);
/// Time after which the log of a build is removed: 180 days.
const BUILD_LOG_RETENTION: Duration = Duration::from_secs(180 * 86_400);
/// Number of the newest builds of each builder whose logs are not removed.
const MIN_BUILD_LOGS: i64 = 20;
/// Maximum sleep, so that a change of the clock takes effect.
const MAX_SLEEP: Duration = Duration::from_secs(600);

/// Runs until the task is dropped, on one server of a database. A failed night's work is retried the next night.
pub async fn run(upkeep: &Arc<Upkeep>) {
    sweep_storage(upkeep, &SweepOptions { only_refillable: true, ..SweepOptions::default() }).await;
    let mut last_day = (upkeep.state.clock)().day();
    loop {
        let now = (upkeep.state.clock)();
        let due_time = last_day.end() + MIDNIGHT_DELAY;
        if now < due_time {
            tokio::time::sleep(due_time.since(now).min(MAX_SLEEP)).await;
            continue;
        }
        last_day = now.day();
        run_night(upkeep).await;
    }
}

pub async fn run_night(upkeep: &Arc<Upkeep>) {
    serve::point::close_past_days(&upkeep.repositories).await;
    let yesterday = Timestamp((upkeep.state.clock)().day().start().0 - 1).day();
    let names: Vec<String> = upkeep
        .state
        .catalog
        .get()
        .repos
        .iter()
        // Bioconductor has indexes for each version, others have a page for each project: most are never requested.
        .filter(|repo| repo.kind.is_one_list())
        .map(|repo| repo.name.to_string())
        .collect();
    for name in names {
        match render_indexes(upkeep, &name, Snapshot::Date(yesterday)).await {
            Ok(()) | Err(RepoError::NotFound(_)) => {}
            // Nothing was published yet.
            Err(RepoError::Unresolved(Unresolved::Empty | Unresolved::BeforeHistory { .. })) => {}
            Err(error) => {
                tracing::warn!(repo = name, %error, "could not render the indexes of {yesterday}")
            }
        }
    }
    remove_build_logs(upkeep).await;
    sweep_storage(upkeep, &SweepOptions::default()).await;
    let error = match scrub::start(upkeep, ScrubOptions::nightly()) {
        JobStart::New(job) | JobStart::Attached(job) => job.wait_end().await.err(),
        JobStart::Conflicting(job) => Some(format!("job {} scrubs with other options", job.id)),
    };
    if let Some(error) = error {
        tracing::warn!(error, "could not scrub storage");
    }
}

async fn remove_build_logs(upkeep: &Upkeep) {
    let before = (upkeep.state.clock)() - BUILD_LOG_RETENTION;
    let write = upkeep.state.db.write(move |c| git_build::remove_logs(c, before, MIN_BUILD_LOGS));
    if let Err(error) = write.await {
        tracing::warn!(%error, "could not remove the old logs of builds");
    }
}

async fn sweep_storage(upkeep: &Upkeep, options: &SweepOptions) {
    match sweep::sweep(upkeep, options).await {
        Ok(_) => {}
        Err(RepoError::Conflict(reason)) => tracing::info!("skipped the sweep of storage: {reason}"),
        Err(error) => tracing::warn!(%error, "could not sweep storage"),
    }
}

async fn render_indexes(upkeep: &Upkeep, repo: &str, snapshot: Snapshot) -> Result<(), RepoError> {
    let point = serve::point::resolve(&upkeep.repositories, repo, snapshot).await?;
    for document in RDocument::NIGHTLY_DOCUMENTS {
        serve::index::document(&upkeep.repositories, &DocumentRequest::new(point.clone(), document)).await?;
    }
    Ok(())
}
