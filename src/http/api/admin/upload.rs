//! Uploads of package archives. An upload is checked and written before the response. Only the client that sent it can
//! add it to a source, on any server of the database.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus};
use crate::http::error::Failure;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use api::upload::{Upload, UploadFile};
use tasks::edit::{self, UploadKind};

/// Maximum size of an archive, in bytes.
const MAX_BYTES: u64 = 10 << 30;

pub(super) async fn receive(call: Call<'_>, query: UploadFile, body: Incoming) -> Answer<WithStatus<Upload>> {
    let file = query.file.as_deref().filter(|file| !file.is_empty()).ok_or_else(|| {
        Failure::bad_request("the parameter file, the name of the uploaded file, is missing")
    })?;
    let body = read_body::stream(body, MAX_BYTES, call.app.limits.body_timeout);
    let kind = match query.kind.as_deref() {
        None | Some("source") => UploadKind::Source,
        Some("binary") => UploadKind::Binary,
        Some("python") => UploadKind::Python,
        Some(_) => return Err(Failure::bad_request("the parameter type must be source, binary or python")),
    };
    let upload = edit::package::receive(&call.app.uploads, file, body, kind, &call.actor).await?;
    let upload = Upload {
        id: upload.id,
        file: upload.file,
        name: upload.package,
        version: upload.version,
        sha256: upload.sha256.to_string(),
        size: upload.size,
        notices: upload.notices,
    };
    Ok(WithStatus(StatusCode::CREATED, upload))
}
