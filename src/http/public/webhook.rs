//! `POST /git-builders/{id}/poll`: a request that a git server signs, or that has a token for the source, triggers a poll.

use http::{HeaderMap, Response, StatusCode};

use crate::access::Action;
use crate::build::webhook::{self, Authorization, Signatures};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::permission::Principal;
use crate::http::response;
use crate::http::route::access::{Access, Target};

/// Handles a webhook. The response does not contain the result of the poll.
///
/// # Errors
/// 404 for a wrong signature and for a token that may not change the source, as for an unknown builder.
pub(super) async fn receive(
    app: &App,
    builder: &str,
    principal: &Principal,
    (headers, body): (&HeaderMap, &[u8]),
) -> Result<Response<Body>, Failure> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signatures = Signatures {
        hub: header("x-hub-signature-256").or_else(|| header("x-hub-signature")),
        gitea: header("x-gitea-signature").or_else(|| header("x-forgejo-signature")),
        gitlab: header("x-gitlab-token"),
    };
    let id = builder.parse().unwrap_or(0);
    let catalog = app.state.catalog.get();
    let may_write = |source: &str| {
        let access = Access { action: Action::WriteSource, target: Target::Source(source) };
        principal.require(&catalog, access).is_ok()
    };
    let authorization = Authorization { signatures, body, may_write: &may_write };
    if webhook::receive(&app.builds, id, authorization).await? {
        Ok(response::json(StatusCode::ACCEPTED, &serde_json::json!({ "polling": true })))
    } else {
        Err(Failure::not_found(
            "there is no such builder, or the request is neither signed with its secret nor has a token with the scope \
             sources:write",
        ))
    }
}
