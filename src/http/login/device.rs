//! Sign-in of devices: `POST /__api__/device` and `…/device_access`. Codes of the provider, else our own.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Problem, Provider, provider, unavailable_failure};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::token_issuer;
use crate::http::net::body::Body;
use crate::http::target::Query;
use crate::http::{login, response};
use base::access::Grant;
use base::config::DeviceCodes;
use runtime::auth::provider::VerifyError;
use runtime::auth::{self, DevicePoll, NewDeviceLogin, NewSignedToken, Purpose, SignInKind};

/// Validity of a code of this server, in seconds.
const CODE_TIME: i64 = 600;
/// Interval between polls, in seconds.
const INTERVAL: i64 = 5;
const PROOF_TIME: Duration = Duration::from_secs(300);
/// Length of a PKCE challenge in characters: SHA-256 in base64url.
const CHALLENGE_LENGTH: usize = 43;
/// Maximum length of a device code, in bytes.
const MAX_CODE: usize = 4_096;

/// Returns an error in the form of RFC 6749 section 5.2.
pub(super) fn error(code: &str, description: &str) -> Response<Body> {
    let body = json!({ "error": code, "error_description": description });
    response::json(StatusCode::BAD_REQUEST, &body)
}

/// Begins the sign-in of a device. Fails with 429 after too many sign-ins of a client, 503 if the provider
/// cannot be reached, or too many sign-ins are in progress.
pub(super) async fn begin(
    app: &App,
    provider: &Provider,
    form: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Provider { settings, address } = provider;
    super::count_begin(app, head, true)?;
    let challenge = form.get("code_challenge").unwrap_or_default();
    let method =
        form.get("code_challenge_method").unwrap_or(if challenge.is_empty() { "S256" } else { "plain" });
    if method != "S256" || !(challenge.is_empty() || challenge.len() == CHALLENGE_LENGTH) {
        return Ok(error(
            "invalid_request",
            "code_challenge_method must be S256, and code_challenge a SHA-256",
        ));
    }
    if challenge.is_empty() && settings.device_pkce {
        return Ok(error("invalid_request", "code_challenge is required (OpenIDConnect.EnableDevicePKCE)"));
    }
    let now = head.received_at;
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    let document = app.providers.document(&settings.issuer, now).await.map_err(|error| {
        Problem::unavailable(error).log();
        unavailable_failure()
    })?;
    let full =
        || Failure::unavailable("too many sign-ins of devices are in progress", CODE_TIME.unsigned_abs());
    let codes = app.state.config.load().authentication.device_codes;
    let endpoint = document.device_authorization_endpoint.as_deref().filter(|_| codes != DeviceCodes::Server);
    if endpoint.is_none() && codes == DeviceCodes::Provider {
        let reason =
            "the provider has no device_authorization_endpoint (Authentication.DeviceAuthType = oidc)";
        Problem::unavailable(reason).log();
        return Err(unavailable_failure());
    }
    let Some(endpoint) = endpoint else {
        let device_code = auth::new_secret();
        let new = NewDeviceLogin {
            device_code: &device_code,
            has_own_code: true,
            challenge,
            address: client,
            expires_in: CODE_TIME,
        };
        let user_code = app.device_logins.begin(new, now).await?.ok_or_else(full)?;
        let uri = format!("{address}/__login__/device");
        let body = json!({
            "device_code": device_code.as_str(),
            "user_code": user_code,
            "verification_uri": uri,
            "verification_uri_complete": format!("{uri}?user_code={user_code}"),
            "expires_in": CODE_TIME,
            "interval": INTERVAL,
        });
        return Ok(response::json(StatusCode::OK, &body));
    };
    let fields = [("scope", settings.requested_scopes.as_str())];
    let answer = provider::post(app, settings, &document, endpoint, &fields).await.map_err(|problem| {
        problem.log();
        unavailable_failure()
    })?;
    let code = answer.text("device_code").filter(|code| answer.status.is_success() && code.len() <= MAX_CODE);
    let (Some(code), Some(user_code), Some(uri)) =
        (code, answer.text("user_code"), answer.text("verification_uri"))
    else {
        let reason = answer.text("error").unwrap_or("no device_code");
        Problem::unavailable(format!("{endpoint}: {} {reason}", answer.status)).log();
        return Err(unavailable_failure());
    };
    let number = |name: &str, default| answer.fields.get(name).and_then(Value::as_i64).unwrap_or(default);
    let expires_in = number("expires_in", 300);
    let new =
        NewDeviceLogin { device_code: code, has_own_code: false, challenge, address: client, expires_in };
    app.device_logins.begin(new, now).await?.ok_or_else(full)?;
    let mut body = Map::new();
    body.insert("device_code".to_owned(), code.into());
    body.insert("user_code".to_owned(), user_code.into());
    body.insert("verification_uri".to_owned(), uri.into());
    if let Some(complete) = answer.text("verification_uri_complete") {
        body.insert("verification_uri_complete".to_owned(), complete.into());
    }
    body.insert("expires_in".to_owned(), expires_in.into());
    body.insert("interval".to_owned(), number("interval", INTERVAL).into());
    Ok(response::json(StatusCode::OK, &body))
}

/// Responds to the poll of a device. Every error is a 400, as clients expect, but too many wrong codes are a 429.
pub(super) async fn poll(
    app: &App,
    provider: &Provider,
    form: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let code = form.get("device_code").unwrap_or_default();
    let verifier = form.get("code_verifier").unwrap_or_default();
    let answer = match app.device_logins.poll(code, verifier, head.received_at).await? {
        DevicePoll::Expired => {
            login::count_refused_proof(app, head)?;
            error("expired_token", "the device code is not valid any more; begin again")
        }
        DevicePoll::WrongVerifier => {
            login::count_refused_proof(app, head)?;
            error("invalid_grant", "code_verifier is not that of the challenge")
        }
        DevicePoll::SlowDown => error("slow_down", "increase the polling interval by 5 seconds"),
        DevicePoll::Pending { is_at_provider: false } => {
            error("authorization_pending", "the user has not decided")
        }
        DevicePoll::Pending { is_at_provider: true } => poll_provider(app, provider, code, head).await?,
        DevicePoll::Denied => error("access_denied", "the user denied the sign-in"),
        DevicePoll::Allowed { user, unique_id, grant } => proof(app, user, unique_id, grant, head)?,
    };
    Ok(answer)
}

/// Returns the token that the device exchanges for an access token.
fn proof(
    app: &App,
    user: String,
    unique_id: String,
    grant: Grant,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let properties = NewSignedToken {
        user,
        unique_id,
        grant,
        kind: SignInKind::OpenIdConnect,
        lifetime: PROOF_TIME,
        purpose: Purpose::Device,
        publisher: None,
    };
    let token = auth::issue(&app.tokens, &token_issuer(app), &properties, head.received_at)
        .map_err(|error| Failure::unavailable(error.to_string(), 300))?;
    Ok(response::json(StatusCode::OK, &json!({ "id_token": token.text.as_str() })))
}

async fn poll_provider(
    app: &App,
    provider: &Provider,
    code: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let settings = &provider.settings;
    // The device polls again, so a failure of the provider does not end the sign-in.
    let pending = |problem: Problem| {
        problem.log();
        error("authorization_pending", "the identity provider is unavailable")
    };
    let document = match app.providers.document(&settings.issuer, head.received_at).await {
        Ok(document) => document,
        Err(error) => return Ok(pending(Problem::unavailable(error))),
    };
    let Some(url) = document.token_endpoint.as_deref() else {
        return Ok(pending(Problem::unavailable("the provider has no token_endpoint")));
    };
    let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code)];
    let answer = match provider::post(app, settings, &document, url, &fields).await {
        Ok(answer) => answer,
        Err(problem) => return Ok(pending(problem)),
    };
    if !answer.status.is_success() {
        return Ok(match answer.text("error") {
            Some("authorization_pending") => error("authorization_pending", "the user has not decided"),
            Some("slow_down") => error("slow_down", "increase the polling interval by 5 seconds"),
            Some("expired_token") => {
                error("expired_token", "the device code is not valid any more; begin again")
            }
            other => {
                app.device_logins.end(code).await?;
                if other != Some("access_denied") {
                    let code = other.unwrap_or("no error");
                    Problem::refused(format!("{url}: {} {code}", answer.status)).log();
                }
                error("access_denied", "the sign-in was denied")
            }
        });
    }
    let Some(token) = answer.text("id_token") else {
        Problem::refused(format!("{url}: no id_token")).log();
        return Ok(error("access_denied", "the identity provider sent no id_token"));
    };
    match provider::verify(app, settings, token, head.received_at).await {
        Ok(_) => Ok(if app.device_logins.end(code).await? {
            response::json(StatusCode::OK, &json!({ "id_token": token }))
        } else {
            error("expired_token", "the device code was already used")
        }),
        Err(VerifyError::Unavailable(error)) => Ok(pending(Problem::unavailable(error))),
        Err(VerifyError::Invalid(invalid)) => {
            Problem::refused(format!("the id token: {invalid}")).log();
            Ok(error("access_denied", "the token of the identity provider is not valid"))
        }
    }
}
