//! Starts backups, and records the results of their tests.

use std::time::Duration;

use super::call::{Answer, Call, WithStatus};
use super::job::start_response;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use api::backup::{RecordBackupTest, RecordedBackupTest, StartBackup};
use api::job::Job;
use base::config::BackupPlace;
use content::serve::RepoError;
use tasks::backup::create::{CreateOptions, start};
use tasks::backup::results;

/// Maximum time that a backup waits for the lock of its folder, in seconds.
const MAX_LOCK_TIMEOUT: u64 = 24 * 3600;

pub(super) async fn create(call: Call<'_>, body: StartBackup) -> Answer<WithStatus<Job>> {
    let Call { app, principal, .. } = call;
    let StartBackup { to, with_cache, rate, allow_missing, init, adopt, lock_timeout } = body;
    let to = to.map(|to| to.parse().map_err(|reason| Failure::bad_request(format!("{to}: {reason}"))));
    let lock_timeout = Duration::from_secs(lock_timeout.min(MAX_LOCK_TIMEOUT));
    let to = to.transpose()?;
    require_configured(app, principal, to.as_ref())?;
    let options = CreateOptions { to, with_cache, rate, allow_missing, init, adopt, lock_timeout };
    if rate == Some(0) {
        return Err(Failure::bad_request("rate: give at least 1 byte per second, or omit it for no limit"));
    }
    let started = start(&app.state, &options).map_err(|error| Failure::bad_request(error.to_string()))?;
    start_response(app, &started).await
}

/// Refuses a folder of backups in a request from the network if `Server.BackupPaths` is empty. Otherwise the backup or
/// the scrub checks that the folder is below one of these paths. SECURITY: a token permits no access to other directories
/// of the server's machine.
pub(super) fn require_configured(
    app: &App,
    principal: &Principal,
    place: Option<&BackupPlace>,
) -> Result<(), Failure> {
    let is_local = matches!(principal, Principal::Administrator);
    match place {
        Some(place) if !is_local && app.state.config.load().server.backup_paths.is_empty() => {
            Err(Failure::bad_request(format!(
                "{place}: clients on the network may use only the folders of Server.BackupPaths, which is not set: set it, \
                 or run the command on the server's machine"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) async fn record_test(call: Call<'_>, body: RecordBackupTest) -> Answer<RecordedBackupTest> {
    let app = call.app;
    let RecordBackupTest { place, error } = body;
    let recorded = results::record_test(&app.state, &place, error).await.map_err(RepoError::from)?;
    Ok(RecordedBackupTest { recorded })
}
