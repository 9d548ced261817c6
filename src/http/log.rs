//! The log of what the server published and served, as C2SP tlog-tiles: checkpoint, tiles of hashes, bundles of entries; and
//! the server as a witness of other logs, as C2SP tlog-witness.

use http::header::HeaderValue;
use http::request::Parts;
use http::{Response, StatusCode};

use super::app::App;
use super::error::Failure;
use super::net::body::Body;
use super::net::read_body;
use super::net::request_body::Incoming;
use super::repo::document;
use super::response;
use super::route::log::LogRoute;
use api::error::Code;
use formats::tlog::witness::{MAX_REQUEST_SIZE, Refusal};
use tasks::history;

const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const TEXT: HeaderValue = HeaderValue::from_static(TEXT_TYPE);
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers a request. Fails with 404 without a log, and for a tile that the newest checkpoint does not contain.
pub(super) async fn answer(
    app: &App,
    route: LogRoute,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    Ok(match route {
        LogRoute::Checkpoint(log) => {
            document::answer_bytes(history::checkpoint(&app.history, log).await?, TEXT, true, parts)
        }
        LogRoute::Tile(log, tile) => {
            document::answer_bytes(history::tile(&app.history, log, tile).await?, BYTES, false, parts)
        }
        LogRoute::AddCheckpoint => {
            let body = read_body::read(body, MAX_REQUEST_SIZE, app.limits.body_timeout).await?;
            match add_checkpoint(app, &body).await? {
                Ok(lines) => response::text(TEXT_TYPE, lines.into_bytes()),
                Err(size) => {
                    let mut conflict = response::text("text/x.tlog.size", format!("{size}\n").into_bytes());
                    *conflict.status_mut() = StatusCode::CONFLICT;
                    conflict
                }
            }
        }
        LogRoute::Witnessed(digest) => {
            let note = history::witnessed(&app.history, digest).await?;
            let note =
                note.ok_or_else(|| Failure::not_found("this server cosigned no checkpoint of this log"))?;
            document::answer_bytes(note, TEXT, true, parts)
        }
    })
}

/// Cosigns a checkpoint of another log. Returns the signature lines, or the size that was cosigned last if the request has
/// another one.
pub(super) async fn add_checkpoint(app: &App, body: &[u8]) -> Result<Result<String, u64>, Failure> {
    let refusal = match history::add_checkpoint(&app.history, body).await? {
        Ok(lines) => return Ok(Ok(lines)),
        Err(refusal) => refusal,
    };
    let status = match refusal {
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::NotSigned(_) => StatusCode::FORBIDDEN,
        Refusal::UnknownLog(_) => StatusCode::NOT_FOUND,
        Refusal::OtherSize(size) => return Ok(Err(size)),
        Refusal::Inconsistent(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Err(Failure::new(status, Code::Invalid, refusal.to_string()))
}
