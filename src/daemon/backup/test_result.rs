//! Sends the result of a test of a backup to the running server, which records it.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use crate::daemon::{local_command, sockets};
use api::ADMIN_PREFIX;
use api::backup::{RecordBackupTest, RecordedBackupTest};
use base::config::{BackupPlace, Config};

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
    let exchange = async {
        let stream = UnixStream::connect(&socket).await.map_err(|error| error.to_string())?;
        exchange(stream, &request).await
    };
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

async fn exchange(stream: UnixStream, request: &RecordBackupTest) -> Result<RecordedBackupTest, String> {
    let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // This task ends when the sender is dropped.
    tokio::spawn(async move { connection.await.ok() });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{ADMIN_PREFIX}/backups/tests"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
