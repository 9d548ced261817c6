//! `GET /health`: what needs an administrator, and the facts beside it.

use std::time::Duration;

use super::call::{Answer, Call};
use super::control;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::problems::{self, Problem};
use crate::http::recent_requests::{HourSummary, KindSummary};
use api::health::{
    EndingToken, Health, HealthProblem, HistoryHealth, HourOfRequests, JobNumbers, KindOfRequests,
    RecentRequests, StorageDirectory,
};
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::RepoError;
use store::db;
use tasks::history;

const MAX_PROBLEMS: usize = 50;
const MAX_TOKENS: usize = 20;
const TOKEN_NOTICE: Duration = Duration::from_secs(30 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn show(call: Call<'_>) -> Answer<Health> {
    let app = call.app;
    let now = (app.state.clock)();
    let problems = problems::current(app, true).await?;
    let tokens = tokens(app, now).await?;
    Ok(Health {
        at: now.to_string(),
        problem_count: problems.len(),
        problems: problems.into_iter().take(MAX_PROBLEMS).map(problem).collect(),
        requests: requests(app, now),
        storage: storage(app),
        work: work(app, now).await?,
        more_tokens: tokens.len() > MAX_TOKENS,
        tokens: tokens.into_iter().take(MAX_TOKENS).map(token).collect(),
        certificate_end: app.tls.end().map(|end| end.to_string()),
        backups: control::backup_results(app).await.into_iter().map(control::last_result).collect(),
        history: history::status(&app.history).await?.map(history_health),
        schedules: control::schedules(app).await,
    })
}

fn problem(problem: Problem) -> HealthProblem {
    HealthProblem {
        kind: problem.kind.to_owned(),
        name: problem.name,
        message: problem.sentence,
        command: problem.command,
        since: problem.since.map(|at| at.to_string()),
    }
}

fn requests(app: &App, now: Timestamp) -> RecentRequests {
    let recent = &app.recent_requests;
    let hour = |HourSummary { start, statuses }: HourSummary| HourOfRequests {
        start: start.to_string(),
        requests: statuses.iter().sum(),
        client_errors: statuses[3],
        server_errors: statuses[4],
    };
    let kind = |summary: KindSummary| {
        let (name, example) = summary.kind.description();
        let slowest = summary.slowest;
        KindOfRequests {
            name: name.to_owned(),
            example: example.to_owned(),
            requests: summary.requests,
            server_errors: summary.errors,
            half_within: milliseconds(summary.half_within),
            most_within: milliseconds(summary.most_within),
            slowest: slowest.as_ref().map_or(0, |request| milliseconds(request.duration)),
            slowest_at: slowest.as_ref().map(|request| request.at.to_string()),
            slowest_path: slowest.map(|request| request.path).unwrap_or_default(),
        }
    };
    RecentRequests {
        since: recent.since(now).to_string(),
        hours: recent.hours(now).into_iter().map(hour).collect(),
        kinds: recent.kinds(now).into_iter().map(kind).collect(),
    }
}

/// Rounds up: nothing takes no time.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Returns the directories that were checked, then the buckets.
fn storage(app: &App) -> Vec<StorageDirectory> {
    let names = |classes: &[StorageClass]| classes.iter().map(|class| class.as_str().to_owned()).collect();
    let directories = app.state.storage.directories();
    let is_bucket = |class: &StorageClass| app.state.storage.location_name(*class).starts_with("s3://");
    let bucket = |class: StorageClass| StorageDirectory {
        classes: names(&[class]),
        location: app.state.storage.location_name(class),
        used: None,
        size: None,
        free: None,
    };
    let buckets = StorageClass::ALL.into_iter().filter(is_bucket).map(bucket);
    let of_disk = directories.into_iter().map(|directory| StorageDirectory {
        classes: names(&directory.classes),
        location: directory.path.display().to_string(),
        used: directory.used,
        size: Some(directory.size),
        free: Some(directory.free),
    });
    of_disk.chain(buckets).collect()
}

async fn work(app: &App, now: Timestamp) -> Result<JobNumbers, Failure> {
    let since = now - DAY;
    let read = move |c: &mut dyn db::Conn| {
        Ok((db::job_run::failed_since(c, since)?, db::git_build::counts(c, since)?))
    };
    let (failed_jobs, (waiting_builds, running_builds, failed_builds)) =
        app.state.db.read(read).await.map_err(RepoError::from)?;
    let running_jobs = app.state.jobs.running().len();
    Ok(JobNumbers { running_jobs, failed_jobs, waiting_builds, running_builds, failed_builds })
}

/// Returns the tokens that end soon, at most one more than are displayed.
async fn tokens(app: &App, now: Timestamp) -> Result<Vec<db::token::Token>, Failure> {
    let limit = i64::try_from(MAX_TOKENS + 1).unwrap_or(i64::MAX);
    let read = move |c: &mut dyn db::Conn| db::token::ending(c, now, now + TOKEN_NOTICE, limit);
    Ok(app.state.db.read(read).await.map_err(RepoError::from)?)
}

fn token(token: db::token::Token) -> EndingToken {
    EndingToken {
        guid: token.guid.to_string(),
        excerpt: token.excerpt,
        description: token.description,
        user: token.user,
        expires: token.expires_at.map(|at| at.to_string()).unwrap_or_default(),
        last_used: token.used_on.map(|day| day.to_string()),
    }
}

fn history_health(status: history::Status) -> HistoryHealth {
    let cosigned: Option<Vec<Timestamp>> =
        status.witnesses.iter().map(|witness| witness.cosigned_at).collect();
    HistoryHealth {
        origin: status.origin,
        entries: status.entries,
        signed: status.signed,
        waiting: status.waiting,
        pause: Some(status.pause).filter(|pause| !pause.is_empty()),
        witnesses: status.witnesses.len(),
        cosigned_at: cosigned.and_then(|times| times.into_iter().min()).map(|at| at.to_string()),
    }
}
