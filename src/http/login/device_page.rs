//! The page on which a user allows or denies the sign-in of a device.

use std::sync::Arc;

use http::{Response, StatusCode};
use maud::{Markup, html};

use super::Provider;
use super::cookie::{self, SESSION};
use super::page;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::session_limits;
use crate::http::net::body::Body;
use crate::http::target::Query;
use crate::http::{login, response};
use runtime::auth::{DeviceDecision, PendingDevice, Token};

const NO_SIGN_IN: &str = "There is no sign-in with this code. It may have expired.";

/// Returns the page with a form for the code, or, for a request with a code, with the sign-in to allow or
/// deny. Fails with 429 after too many codes.
pub(super) async fn show(
    app: &App,
    provider: &Provider,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let prefix = cookie::prefix(&provider.address);
    let code = query.get("user_code").unwrap_or_default();
    let Some(session) = session(app, head).await? else {
        let letters: String =
            code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(20).collect();
        let target = format!("{prefix}/__login__?return=/__login__/device%3Fuser_code={letters}");
        let mut redirect = response::redirect(StatusCode::FOUND, response::header_value(target));
        page::protect(&mut redirect);
        return Ok(redirect);
    };
    if code.is_empty() {
        return Ok(code_form(prefix, None));
    }
    let Some(device) = find_device(app, &session, code, head).await? else {
        return Ok(code_form(prefix, Some(NO_SIGN_IN)));
    };
    let body = html! {
        p {
            "A device requests to sign in as you. Allow this only if you started the sign-in yourself, and the device \
             shows this code:"
        }
        p { strong { (code) } }
        p { "Address of the device: " (device.address) }
        form method="post" action={ (prefix) "/__login__/device" } {
            input type="hidden" name="user_code" value=(code);
            button name="decision" value="allow" { "Allow" } " "
            button name="decision" value="deny" { "Deny" }
        }
    };
    Ok(sign_in_page(prefix, &body))
}

/// Records the user's decision. 401 without a session, 403 for another site's form, 429 after too many codes.
pub(super) async fn decide(
    app: &App,
    provider: &Provider,
    form: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    super::require_own_form(app, head)?;
    let prefix = cookie::prefix(&provider.address);
    let Some(session) = session(app, head).await? else {
        return Err(Failure::unauthorized("the session has ended; sign in again", "rstudio-pm"));
    };
    let Some(decision) = form.get("decision").and_then(DeviceDecision::parse) else {
        return Err(Failure::bad_request("decision must be allow or deny"));
    };
    let code = form.get("user_code").unwrap_or_default();
    let Some(device) = find_device(app, &session, code, head).await? else {
        return Ok(code_form(prefix, Some(NO_SIGN_IN)));
    };
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    if !app.device_logins.decide(&device, decision, &session, client, head.received_at).await? {
        return Ok(code_form(prefix, Some(NO_SIGN_IN)));
    }
    let text = match decision {
        DeviceDecision::Allow => "The device is signed in. You can close this page.",
        DeviceDecision::Deny => "The sign-in of the device was denied. You can close this page.",
    };
    Ok(sign_in_page(prefix, &html! { p { (text) } }))
}

/// Finds the device with a code that the user of a session enters; 429 after too many codes.
async fn find_device(
    app: &App,
    session: &Token,
    code: &str,
    head: &RequestHead<'_>,
) -> Result<Option<PendingDevice>, Failure> {
    let user = session.unique_id.clone().unwrap_or_default();
    let counted = app.tokens.count_code(user, head.received_at);
    counted.map_err(|seconds| super::too_many("codes", seconds))?;
    let device = app.device_logins.find(code, head.received_at).await?;
    if device.is_none() {
        login::count_wrong_code(app, head)?;
    }
    Ok(device)
}

/// Returns the session of the browser. A token in `Authorization` is ignored, because the page is for people.
async fn session(app: &App, head: &RequestHead<'_>) -> Result<Option<Arc<Token>>, Failure> {
    let Some(secret) = cookie::find(&head.parts.headers, SESSION) else { return Ok(None) };
    Ok(app.sessions.find(&app.tokens, secret, session_limits(app), head.received_at).await?)
}

fn code_form(prefix: &str, message: Option<&str>) -> Response<Body> {
    let body = html! {
        @if let Some(message) = message {
            p { (message) }
        }
        form method="get" action={ (prefix) "/__login__/device" } {
            p {
                label { "Code that the device shows: " input name="user_code" autocomplete="off" autofocus; }
                " "
                button { "Continue" }
            }
        }
    };
    sign_in_page(prefix, &body)
}

fn sign_in_page(prefix: &str, body: &Markup) -> Response<Body> {
    page::page(StatusCode::OK, "Sign in a device", prefix, body, None)
}
