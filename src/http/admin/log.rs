//! `POST /log/reopen`: reopens the log files after a rotation.

use http::StatusCode;

use super::call::{AdminResult, ok};
use crate::api::error::Code;
use crate::api::log::ReopenResult;
use crate::control::{CommandError, Control};
use crate::http::error::Failure;

/// Reopens the log files. Responds once no process of this server writes to the previous files.
pub(super) async fn reopen(control: &Control) -> AdminResult {
    let failure = |error: CommandError| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, error.to_string())
    };
    let files = control.reopen_logs().await.map_err(failure)?;
    ok(&ReopenResult { files: files.iter().map(|file| file.display().to_string()).collect() })
}
