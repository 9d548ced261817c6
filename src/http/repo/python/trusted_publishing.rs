//! Trusted publishing of Python packages, as PyPI defines it and `uv publish` and the action for GitHub call
//! it: a job exchanges the token of its CI system for one that uploads packages. The errors have the form of
//! PyPI, because clients print `code` and `description`.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::http::api::admin;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::token_issuer;
use crate::http::net::body::Body;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::{login, response};
use base::access::ScopeKind;
use base::config::{Config, Federation};
use base::metrics::{self, IssuedToken};
use base::model::time::SECOND;
use runtime::auth::federation::{self, Exchange, ExchangeError, ExchangeKind};

/// Maximum size of a request body, in bytes: a token of 16 kB in JSON.
const MAX_BODY: usize = 64 << 10;
/// `Retry-After` in seconds if the issuer's keys are unavailable.
const RETRY_AFTER: u64 = 10;

#[derive(Serialize)]
struct Audience<'a> {
    audience: &'a str,
}

#[derive(Deserialize)]
struct Request {
    token: String,
}

#[derive(Serialize)]
struct MintResponse<'a> {
    success: bool,
    token: &'a str,
    /// Seconds since the epoch.
    expires: i64,
}

#[derive(Serialize)]
struct Refusal<'a> {
    message: &'static str,
    errors: [RefusalReason<'a>; 1],
}

#[derive(Serialize)]
struct RefusalReason<'a> {
    code: &'static str,
    description: &'a str,
}

/// Handles `GET /_/oidc/audience`: returns the audience of the first section that permits uploads; 404 if none.
pub(in crate::http) fn audience(app: &App) -> Result<Response<Body>, Failure> {
    let config = app.state.config.load_full();
    let section = publishers(&config).next().ok_or_else(is_off)?;
    Ok(response::json(StatusCode::OK, &Audience { audience: &section.audience }))
}

/// Handles `POST /_/oidc/mint-token`. Fails with 400 if the token would cross the network unencrypted, 404 if
/// no section permits uploads. A refused token is a response with status 422.
pub(in crate::http) async fn mint(
    app: &Arc<App>,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let config = app.state.config.load_full();
    if publishers(&config).next().is_none() {
        return Err(is_off());
    }
    let body = read_body::read(body, MAX_BODY, app.limits.body_timeout).await?;
    if !admin::is_confidential(app, head) {
        return Err(Failure::bad_request("the new token would cross the network unencrypted: use https"));
    }
    // SECURITY: a page of another site must not make a browser exchange a token.
    if admin::is_cross_site(app, &head.parts.headers) {
        return Err(Failure::bad_request("requests from pages of other sites are not accepted"));
    }
    let Ok(Request { token }) = serde_json::from_slice(&body) else {
        return Ok(refusal_response(
            "invalid-payload",
            "the body is not a JSON object with the text \"token\"",
        ));
    };
    let address = app.site.load().client_address(head.peer, &head.parts.headers);
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let server = Exchange {
        state: &app.state,
        tokens: &app.tokens,
        providers: &app.providers,
        issuer: &token_issuer(app),
        address: &address,
    };
    match federation::exchange(server, &config.federations, &token, ExchangeKind::Publish).await {
        Ok(exchanged) => {
            metrics::tokens().count_issued(IssuedToken::Federation);
            let lifetime = i64::try_from(exchanged.lifetime.as_secs()).unwrap_or(i64::MAX);
            let now = (app.state.clock)().0.div_euclid(SECOND);
            let expires = now.saturating_add(lifetime);
            let minted = MintResponse { success: true, token: exchanged.token.text.as_str(), expires };
            Ok(response::json(StatusCode::OK, &minted))
        }
        Err(error) if error.is_failure_of_server() => {
            tracing::error!("could not exchange a token for publishing: {error}");
            Err(Failure::unavailable(error.to_string(), RETRY_AFTER))
        }
        Err(error) => {
            login::count_refused_proof(app, head)?;
            Ok(refusal_response(code(&error), &error.to_string()))
        }
    }
}

fn publishers(config: &Config) -> impl Iterator<Item = &Federation> {
    let may_publish = |section: &&Federation| {
        section
            .scopes
            .iter()
            .any(|scope| matches!(scope.kind, ScopeKind::SourcesWrite | ScopeKind::GlobalAdmin))
    };
    let sections: &[Federation] =
        if config.authentication.api_token_auth { &config.federations } else { &[] };
    sections.iter().filter(may_publish)
}

fn is_off() -> Failure {
    Failure::not_found(
        "trusted publishing is not configured: no section [IdentityFederation] has the scope sources:write",
    )
}

fn code(error: &ExchangeError) -> &'static str {
    match error {
        ExchangeError::NoMatch(_) | ExchangeError::NoScope(_) => "invalid-publisher",
        ExchangeError::Used => "invalid-reuse-token",
        _ => "invalid-token",
    }
}

fn refusal_response(code: &'static str, description: &str) -> Response<Body> {
    let errors = [RefusalReason { code, description }];
    response::json(StatusCode::UNPROCESSABLE_ENTITY, &Refusal { message: "Token request failed", errors })
}
