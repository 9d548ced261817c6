//! The schedule of builds from git, on the leader: polls the builders that are due, and starts builds from the queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Builds, detection, poll, run};
use base::metrics;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::jobs::AfterHalt;
use store::db::{DbError, git_build, git_builder};

/// Maximum time between two reads of the tables, because another server may have added a builder.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Time between two reads of the tables while there are builds in the queue.
const QUEUE_PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of concurrent polls, with at most one for each host.
const POLLS: usize = 4;
/// Maximum number of due builders that are read. It is large, so that the builders of an unreachable host, which
/// stay due, do not exclude all other builders.
const MAX_DUE: i64 = 100_000;
/// Prefix of the job keys of builds.
const KEY: &str = "git-build:";

/// Polls and builds until the future is dropped. Only the leader may run it.
pub async fn run(builds: &Arc<Builds>) {
    // Ends with this future, and does not delay polls.
    let mut detections = JoinSet::new();
    let detected = Arc::clone(builds);
    detections.spawn(async move { detection::detect_configured(&detected).await });
    let mut polls = JoinSet::new();
    let mut polled: HashSet<i64> = HashSet::new();
    loop {
        let pause = match start_due(builds, &mut polls, &mut polled).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "could not read the builders and builds that are due");
                MAX_PAUSE
            }
        };
        tokio::select! {
            () = builds.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(done) = polls.join_next() => {
                // A poll that panicked is repeated when it is due again.
                match done {
                    Ok(id) => drop(polled.remove(&id)),
                    Err(_) => polled.clear(),
                }
            }
        }
    }
}

/// Starts the polls and builds that are due; returns the pause until the next read of the tables.
async fn start_due(
    builds: &Arc<Builds>,
    polls: &mut JoinSet<i64>,
    polled: &mut HashSet<i64>,
) -> Result<Duration, DbError> {
    let now = (builds.state.clock)();
    let (due, next, open) = builds
        .state
        .db
        .read(move |c| {
            Ok((
                git_builder::due_builders(c, now, MAX_DUE)?,
                git_builder::next_poll_time(c)?,
                git_build::count_unfinished(c)?,
            ))
        })
        .await?;
    metrics::set_unfinished_builds(open);
    let mut polled_hosts = HashSet::new();
    for builder in due {
        let is_new = polled_hosts.insert(poll::name(&builder)) && !polled.contains(&builder.id);
        if is_new && polled.len() < POLLS {
            polled.insert(builder.id);
            let builds = Arc::clone(builds);
            polls.spawn(async move {
                // `poll` logs and records errors. If the result cannot be written to the database, the builder
                // stays due, so this task waits before the next poll.
                let result = poll::poll(&builds, &builder, "schedule").await;
                if let Err(RepoError::Db(error)) = result {
                    tracing::warn!(builder = builder.name, %error, "could not record the result of a poll");
                    tokio::time::sleep(MAX_PAUSE).await;
                }
                builder.id
            });
        }
    }
    if open > 0 {
        start_builds(builds, now).await?;
        return Ok(QUEUE_PAUSE);
    }
    let until_next = next.map_or(MAX_PAUSE, |next| next.since(now));
    Ok(until_next.clamp(Duration::from_millis(500), MAX_PAUSE))
}

/// Claims and starts builds up to the maximum number of concurrent builds.
async fn start_builds(builds: &Arc<Builds>, now: Timestamp) -> Result<(), DbError> {
    let config = builds.state.config.load_full();
    let (retries, holder) = (config.git.build_retries, builds.state.node.to_string());
    loop {
        let running_count = builds.state.jobs.running().iter().filter(|job| job.key.starts_with(KEY)).count();
        if running_count >= config.git.build_concurrency {
            return Ok(());
        }
        let holder = holder.clone();
        let own_builds: Vec<i64> = builds.running.lock().keys().copied().collect();
        let claim = builds.state.db.write(move |c| {
            // Renewals of builds that run here may have failed while the database did not answer.
            git_build::extend(c, &own_builds, &holder, now)?;
            git_build::release_expired(c, now, retries)?;
            git_build::claim(c, &holder, now)
        });
        let Some(build) = claim.await? else { return Ok(()) };
        let key = format!("{KEY}{}", build.id);
        let task = Arc::clone(builds);
        builds.state.jobs.start_with(AfterHalt::Resumes, &key, "", now, |reporter| async move {
            run::run(&task, build, &reporter).await
        });
    }
}
