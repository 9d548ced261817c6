//! `POST /git-builders/{id}/poll`: a request that a git server signs, or that has a token for the source, triggers a
//! poll.

use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use hyper::body::Body as _;

use super::{Answer, PublicCall, RequestBody, WithStatus};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::route::access::write_source;
use serde_json::{Value, json};
use tasks::build::webhook::{self, SignatureVerification, Signatures};

/// Maximum size of a body in bytes: the limit of GitHub.
const MAX_BODY: u64 = 25 << 20;

/// Reads the body of a webhook and computes its signature; the content of the body is not used. Fails with 408, 413.
pub(super) async fn read(
    app: &App,
    builder: &str,
    body: Incoming,
    timeout: Duration,
) -> Result<SignatureVerification, Failure> {
    if body.size_hint().lower() > MAX_BODY {
        return Err(Failure::body_too_large(MAX_BODY));
    }
    let mut verification = webhook::begin(&app.builds, builder.parse().unwrap_or(0)).await?;
    let mut pieces = read_body::stream(body, MAX_BODY, timeout);
    while let Some(piece) = pieces.next().await {
        verification.update(&piece.map_err(|error| read_body::body_failure(&error, MAX_BODY))?);
    }
    Ok(verification)
}

/// Handles a webhook whose body has been read. The response does not contain the result of the poll. Fails with 404 for
/// a wrong signature and for a token that may not change the source, as for an unknown builder.
pub(super) async fn receive(
    call: PublicCall<'_>,
    _builder: &str,
    body: RequestBody,
) -> Answer<WithStatus<Value>> {
    let (app, principal) = (call.app, call.head.principal);
    // Only a POST has a verification.
    let verification = body.verification.ok_or_else(Failure::no_such_address)?;
    let header = |name: &str| call.head.parts.headers.get(name).and_then(|value| value.to_str().ok());
    let signatures = Signatures {
        hub: header("x-hub-signature-256").or_else(|| header("x-hub-signature")),
        gitea: header("x-gitea-signature").or_else(|| header("x-forgejo-signature")),
        gitlab: header("x-gitlab-token"),
    };
    let catalog = app.state.catalog.get();
    let may_write = |source: &str| {
        // The token may have been revoked while the body was read.
        principal.require(&catalog, write_source(source)).is_ok() && principal.require_valid(app).is_ok()
    };
    if verification.finish(&app.builds, &signatures, may_write) {
        Ok(WithStatus(StatusCode::ACCEPTED, json!({ "polling": true })))
    } else {
        Err(Failure::not_found(
            "there is no such builder, or the request is neither signed with its secret nor has a token with the scope \
             sources:write",
        ))
    }
}
