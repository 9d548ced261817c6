//! Sends the result of a test of a backup to the running server, which records it.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::daemon::{local_command, sockets};
use api::ADMIN_PREFIX;
use api::backup::{RecordBackupTest, RecordedBackupTest};
use base::config::{BackupPlace, Config};
use base::model::errors::error_chain;

/// Timeout for the exchange with the server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the result, and writes a note to standard error if the server did not record it. Nothing is recorded if no
/// server runs, or if the server has made no backup in the folder.
pub(super) fn send(config: &Config, place: &BackupPlace, error: Option<String>, runtime: &Handle) {
    let socket = match sockets::answering_server(config) {
        Ok(Some(socket)) => socket,
        Ok(None) => return,
        Err((path, error)) => return note(&format!("{}: {error}", path.display())),
    };
    // The server records the path of the folder without symbolic links.
    let place = match place.directory().and_then(|path| path.canonicalize().ok()) {
        Some(path) => path.display().to_string(),
        None => place.to_string(),
    };
    let request = RecordBackupTest { place, error };
    let exchange = exchange(&socket, &request);
    match runtime.block_on(async { tokio::time::timeout(TIMEOUT, exchange).await }) {
        Ok(Ok(RecordedBackupTest { .. })) => {}
        Ok(Err(reason)) => note(&reason),
        Err(_) => note(&format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}

fn note(reason: &str) {
    local_command::note(format!(
        "Note: the server did not record the result of the test, so rspm status does not show it: {reason}"
    ));
}

async fn exchange(socket: &Path, request: &RecordBackupTest) -> Result<RecordedBackupTest, String> {
    let reason = |error: reqwest::Error| error_chain(&error.without_url());
    let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    store::storage::install_tls_provider();
    // Nothing is encrypted on the socket: without this, the certificates of the system would be read.
    let builder =
        reqwest::Client::builder().unix_socket(socket).no_proxy().tls_danger_accept_invalid_certs(true);
    let client = builder.build().map_err(reason)?;
    let request = client
        .post(format!("http://localhost{ADMIN_PREFIX}/backups/tests"))
        .header("content-type", "application/json")
        .body(body);
    let response = request.send().await.map_err(reason)?;
    let status = response.status();
    let body = response.bytes().await.map_err(reason)?;
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
