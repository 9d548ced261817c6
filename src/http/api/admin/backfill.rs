//! Back-fill of older history: start and stop.

use super::call::{Answer, Call};
use super::job::{Started, start_response};
use crate::http::app::App;
use crate::http::error::Failure;
use api::backfill::{StartBackfill, StoppedBackfill};
use base::model::kind::SourceKind;
use base::model::time::{BadDay, Day};
use content::serve::RepoError;
use tasks::sync::SyncError;
use tasks::sync::backfill::{BackfillRequest, DEFAULT_RATE};

/// Returns the kind of a source.
///
/// # Errors
/// 404 if there is no such source.
fn kind(app: &App, name: &str) -> Result<SourceKind, Failure> {
    let catalog = app.state.catalog.get();
    let source = catalog.source(name);
    source.map(|source| source.kind).ok_or_else(|| Failure::not_found(format!("there is no source '{name}'")))
}

fn failure(error: SyncError) -> Failure {
    match error {
        SyncError::Db(error) => RepoError::Db(error).into(),
        error => Failure::bad_request(error.to_string()),
    }
}

pub(super) async fn start(call: Call<'_>, body: StartBackfill) -> Started {
    let Call { app, actor, .. } = call;
    let since: Day = body.since.parse().map_err(|e: BadDay| Failure::bad_request(format!("since: {e}")))?;
    let request = BackfillRequest {
        kind: kind(app, &body.source)?,
        since,
        rate: body.rate.unwrap_or(DEFAULT_RATE),
        dry_run: body.dry_run,
        actor: actor.0,
    };
    start_response(app, &app.sync.backfill(&request).await.map_err(failure)?).await
}

pub(super) async fn stop(call: Call<'_>, source: &str) -> Answer<StoppedBackfill> {
    if kind(call.app, source)? != SourceKind::Cran {
        return Err(failure(SyncError::NotBackfillable(kind(call.app, source)?)));
    }
    let message = call.app.sync.stop_backfill().await.map_err(failure)?;
    Ok(StoppedBackfill { message })
}
