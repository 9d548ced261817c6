//! Starts backups, and records the results of their tests.

use http::StatusCode;

use super::call::{AdminResult, Call, ok};
use super::job::wire;
use crate::api::backup::{RecordBackupTest, RecordedBackupTest, StartBackup};
use crate::backup::create::{CreateOptions, start};
use crate::backup::results;
use crate::http::error::Failure;
use crate::http::response;
use crate::jobs::Started;
use crate::serve::RepoError;

/// `POST /backups`.
pub(super) async fn create(call: Call<'_>) -> AdminResult {
    let app = call.app;
    let (StartBackup { to, with_cache, rate }, _) = call.json().await?;
    let to = to.map(|to| to.parse().map_err(|reason| Failure::bad_request(format!("{to}: {reason}"))));
    let options = CreateOptions { to: to.transpose()?, with_cache, rate };
    let started = start(&app.state, &options).map_err(|error| Failure::bad_request(error.to_string()))?;
    let job = match &started {
        Started::New(job) => wire(job, false),
        Started::Attached(job) => wire(job, true),
    };
    Ok(response::json(StatusCode::ACCEPTED, &job))
}

/// `POST /backups/tests`.
pub(super) async fn record_test(call: Call<'_>) -> AdminResult {
    let app = call.app;
    let (RecordBackupTest { place, error }, _) = call.json().await?;
    let recorded = results::record_test(&app.state, &place, error).await.map_err(RepoError::from)?;
    ok(&RecordedBackupTest { recorded })
}
