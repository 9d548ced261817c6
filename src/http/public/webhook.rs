//! `POST /git-builders/{id}/poll`: a signed request of a git server triggers a poll.

use http::{HeaderMap, Response, StatusCode};

use crate::build::webhook::{self, Signatures};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::response;

/// Handles a webhook. The response does not contain the result of the poll.
///
/// # Errors
/// 404 for a wrong signature, as for an unknown builder.
pub(super) async fn receive(
    app: &App,
    builder: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signatures = Signatures {
        hub: header("x-hub-signature-256").or_else(|| header("x-hub-signature")),
        gitea: header("x-gitea-signature").or_else(|| header("x-forgejo-signature")),
        gitlab: header("x-gitlab-token"),
    };
    let id = builder.parse().unwrap_or(0);
    if webhook::receive(&app.builds, id, signatures, body).await? {
        Ok(response::json(StatusCode::ACCEPTED, &serde_json::json!({ "polling": true })))
    } else {
        Err(Failure::not_found("there is no such builder, or the request is not signed with its secret"))
    }
}
