//! Jobs: start a sync, remove all packages of CRAN from its newest state, fill in older history, list jobs, show the progress
//! of one.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus};
use crate::http::app::App;
use crate::http::error::Failure;
use api::error::Code;
use api::job::{ClearSource, Job, JobStatus, StartBackfill, StartSync, StoppedBackfill};
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::text::phrase;
use base::model::time::{BadDay, Day};
use base::model::words::UnknownWord;
use content::serve::RepoError;
use formats::r::bioconductor::BadVersionName;
use runtime::catalog::Repository;
use runtime::jobs::{self, JobStart, JobState};
use store::db::audit;
use tasks::edit::subscription::unsubscribe_advice;
use tasks::sync::SyncError;
use tasks::sync::backfill::{BackfillRequest, DEFAULT_RATE};

/// Converts a job; `attached` if the request joined a running job instead of starting it.
pub(super) fn wire(job: &jobs::Job, attached: bool) -> Job {
    let state = job.state.borrow().clone();
    let (status, message, done, total) = match state {
        JobState::Running(progress) => (JobStatus::Running, progress.phase, progress.done, progress.total),
        JobState::Done(message) => (JobStatus::Done, message, 0, None),
        JobState::Failed(reason) => (JobStatus::Failed, reason, 0, None),
    };
    Job {
        id: job.id,
        key: job.key.clone(),
        started: job.started_at.to_string(),
        attached,
        status,
        message,
        done,
        total,
    }
}

pub(super) type Started = Answer<WithStatus<Job>>;

/// Returns the response to a request that starts a job.
pub(super) async fn start_response(app: &App, started: &JobStart) -> Started {
    let job = match started {
        JobStart::New(job) => {
            let key = job.key.clone();
            let record = app.state.db.write(move |c| audit::record(c, "start job", "job", &key, ""));
            // The error is only logged, because the job is running: an error response would state that it is not.
            if let Err(error) = record.await {
                tracing::warn!(%error, "could not record in the audit trail: start job {}", job.key);
            }
            wire(job, false)
        }
        JobStart::Attached(job) => wire(job, true),
        JobStart::Conflicting(job) => {
            let text = format!(
                "job {} ({}) runs with other options since {}; repeat the command when it has ended: rspm status",
                job.id, job.key, job.started_at
            );
            return Err(Failure::new(StatusCode::CONFLICT, Code::Conflict, text));
        }
    };
    Ok(WithStatus(StatusCode::ACCEPTED, job))
}

pub(super) async fn sync(call: Call<'_>, body: StartSync) -> Started {
    let app = call.app;
    let version = body.version.as_deref().map(str::parse).transpose();
    let version = version.map_err(|error: BadVersionName| Failure::bad_request(error.to_string()))?;
    // `sysreqs` and `vulns` are not sources: their data apply to all sources.
    let started = match body.kind.to_ascii_lowercase().as_str() {
        "sysreqs" => app.sync.start_requirements("rspm sync"),
        "vulns" => app.sync.start_advisories("rspm sync"),
        kind if body.accept_serial => {
            let kind = kind.parse().ok().filter(|kind: &SourceKind| kind.is_project_index());
            let kind = kind.ok_or_else(|| {
                let is_index = |kind: &SourceKind| kind.is_listed() && kind.is_project_index();
                let indexes = SourceKind::ALL.into_iter().filter(is_index);
                let labels: Vec<&str> = indexes.map(SourceKind::label).collect();
                let words = SourceKind::phrase("or", SourceKind::is_project_index);
                let labels = phrase(&labels, "or");
                Failure::bad_request(format!(
                    "--accept-serial applies to the list of {labels}; it requires --type={words}"
                ))
            })?;
            let started = app.sync.start_confirmed(kind, "rspm sync");
            started.map_err(|error| Failure::bad_request(error.to_string()))?
        }
        kind => {
            let kind = kind.parse().map_err(|e: UnknownWord| {
                Failure::bad_request(format!(
                    "{e}; and sysreqs, the rules for system requirements, and vulns, the advisories about packages"
                ))
            })?;
            app.sync.start_by(kind, version, "rspm sync").map_err(|e| Failure::bad_request(e.to_string()))?
        }
    };
    start_response(app, &started).await
}

pub(super) async fn running(call: Call<'_>) -> Answer<Vec<Job>> {
    let jobs: Vec<Job> = call.app.state.jobs.running().iter().map(|job| wire(job, false)).collect();
    Ok(jobs)
}

pub(super) async fn get(call: Call<'_>, id: &str) -> Answer<Job> {
    let job = id.parse().ok().and_then(|id| call.app.state.jobs.get(id));
    match job {
        Some(job) => Ok(wire(&job, false)),
        None => Err(Failure::not_found("there is no such job; ended jobs are kept for an hour")),
    }
}

/// Starts the job, if the request confirms it and no repository subscribes to CRAN.
pub(super) async fn clear(call: Call<'_>, body: ClearSource) -> Started {
    let Call { app, actor, .. } = call;
    if !body.kind.eq_ignore_ascii_case("cran") {
        let kind: String = body.kind.chars().take(40).collect();
        return Err(Failure::bad_request(format!(
            "sources of type '{kind}' cannot be cleared; only cran can"
        )));
    }
    let catalog = app.state.catalog.get();
    let subscribers: Vec<&Repository> =
        catalog.repos.iter().filter(|repo| repo.subscribes_to(SourceId::CRAN)).collect();
    let conflict = |text: String| Failure::new(StatusCode::CONFLICT, Code::Conflict, text);
    if let Some(first) = subscribers.first() {
        let names: Vec<&str> = subscribers.iter().map(|repo| repo.name.as_str()).collect();
        let advice = unsubscribe_advice(first.name.as_str(), first.changes, "cran");
        return Err(conflict(format!("repositories subscribe to cran: {}; {advice}", names.join(", "))));
    }
    if !body.confirm {
        return Err(conflict(
            "all packages of cran would be removed from its newest state, and the next sync would read the whole list of \
             the mirror again; earlier snapshots would still serve them. To clear it, repeat the command with --confirm"
                .to_owned(),
        ));
    }
    start_response(app, &app.sync.start_clear(&actor.0)).await
}

/// Returns the kind of a source. Fails with 404 if there is no such source.
fn source_kind(app: &App, name: &str) -> Result<SourceKind, Failure> {
    let catalog = app.state.catalog.get();
    let source = catalog.source(name);
    source.map(|source| source.kind).ok_or_else(|| Failure::not_found(format!("there is no source '{name}'")))
}

fn backfill_failure(error: SyncError) -> Failure {
    match error {
        SyncError::Db(error) => RepoError::Db(error).into(),
        error => Failure::bad_request(error.to_string()),
    }
}

pub(super) async fn backfill(call: Call<'_>, body: StartBackfill) -> Started {
    let Call { app, actor, .. } = call;
    let since: Day = body.since.parse().map_err(|e: BadDay| Failure::bad_request(format!("since: {e}")))?;
    let request = BackfillRequest {
        kind: source_kind(app, &body.source)?,
        since,
        rate: body.rate.unwrap_or(DEFAULT_RATE),
        dry_run: body.dry_run,
        actor: actor.0,
    };
    start_response(app, &app.sync.backfill(&request).await.map_err(backfill_failure)?).await
}

pub(super) async fn stop_backfill(call: Call<'_>, source: &str) -> Answer<StoppedBackfill> {
    let kind = source_kind(call.app, source)?;
    if !kind.is_backfillable() {
        return Err(backfill_failure(SyncError::NotBackfillable(kind)));
    }
    let message = call.app.sync.stop_backfill().await.map_err(backfill_failure)?;
    Ok(StoppedBackfill { message })
}
