//! Starts backups.

use super::call::{AdminResult, Call};
use super::job::start_response;
use crate::api::backup::StartBackup;
use crate::backup::create::{CreateOptions, start};
use crate::http::error::Failure;

/// `POST /backups`.
pub(super) async fn create(call: Call<'_>) -> AdminResult {
    let app = call.app;
    let (StartBackup { to, with_cache, rate }, _) = call.json().await?;
    let to = to.map(|to| to.parse().map_err(|reason| Failure::bad_request(format!("{to}: {reason}"))));
    let options = CreateOptions { to: to.transpose()?, with_cache, rate };
    let started = start(&app.state, &options).map_err(|error| Failure::bad_request(error.to_string()))?;
    start_response(&started)
}
