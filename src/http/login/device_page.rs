//! The page on which a user allows or denies the sign-in of a device.

use std::sync::Arc;

use http::{Response, StatusCode};

use super::Provider;
use super::cookie::{self, SESSION};
use super::page::{self, escape};
use crate::auth::Token;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::permission::session_limits;
use crate::http::target::Query;
use crate::http::{refused_proof, response};

/// Shows a form for the code, or the sign-in with a code.
///
/// # Errors
/// 429 after too many wrong codes; the database fails.
pub(super) async fn show(
    app: &App,
    provider: &Provider,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let prefix = cookie::prefix(&provider.address);
    let code = query.get("user_code").unwrap_or_default();
    if session(app, head).await?.is_none() {
        let letters: String =
            code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(20).collect();
        let target = format!("{prefix}/__login__?return=/__login__/device%3Fuser_code={letters}");
        let mut redirect = response::redirect(StatusCode::FOUND, response::header_value(target));
        page::protect(&mut redirect);
        return Ok(redirect);
    }
    if code.is_empty() {
        return Ok(code_form(prefix, ""));
    }
    let Some(device) = app.device_logins.find(code, head.received_at).await? else {
        refused_proof::count(app, head)?;
        return Ok(code_form(prefix, "<p>There is no sign-in with this code. It may have ended.</p>"));
    };
    let (code, address, prefix) = (escape(code), escape(&device.address), escape(prefix));
    let body = format!(
        "<p>A device asks to sign in as you. Allow it only if you started this yourself, and the device shows this \
         code:</p><p><strong>{code}</strong></p><p>Address of the device: {address}</p>\
         <form method=\"post\" action=\"{prefix}/__login__/device\">\
         <input type=\"hidden\" name=\"user_code\" value=\"{code}\">\
         <button name=\"decision\" value=\"allow\">Allow</button> \
         <button name=\"decision\" value=\"deny\">Deny</button></form>"
    );
    Ok(page::page(StatusCode::OK, "Sign in a device", &body, None))
}

/// Records the decision.
///
/// # Errors
/// 401 without a session, 429 after too many wrong codes; the database fails.
pub(super) async fn decide(
    app: &App,
    provider: &Provider,
    form: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let prefix = cookie::prefix(&provider.address);
    let Some((session, unique_id)) = session(app, head).await? else {
        return Err(Failure::unauthorized("the session has ended; sign in again", "rstudio-pm"));
    };
    let is_allowed = match form.get("decision") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(Failure::bad_request("decision must be allow or deny")),
    };
    let code = form.get("user_code").unwrap_or_default();
    let Some(device) = app.device_logins.find(code, head.received_at).await? else {
        refused_proof::count(app, head)?;
        return Ok(code_form(prefix, "<p>There is no sign-in with this code. It may have ended.</p>"));
    };
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    let user = (&session, &*unique_id);
    if !app.device_logins.decide(&device, is_allowed, user, (client, head.received_at)).await? {
        return Ok(code_form(prefix, "<p>There is no sign-in with this code. It may have ended.</p>"));
    }
    let text = if is_allowed {
        "<p>The device is signed in. You can close this page.</p>"
    } else {
        "<p>The device was denied. You can close this page.</p>"
    };
    Ok(page::page(StatusCode::OK, "Sign in a device", text, None))
}

/// Returns the session of the browser. A token in `Authorization` is none: the page is for people.
async fn session(app: &App, head: &RequestHead<'_>) -> Result<Option<(Arc<Token>, Arc<str>)>, Failure> {
    let Some(secret) = cookie::find(&head.parts.headers, SESSION) else { return Ok(None) };
    Ok(app.sessions.find(&app.tokens, secret, session_limits(app), head.received_at).await?)
}

fn code_form(prefix: &str, message: &str) -> Response<Body> {
    let prefix = escape(prefix);
    let body = format!(
        "{message}<form method=\"get\" action=\"{prefix}/__login__/device\"><p><label>Code that the device shows: \
         <input name=\"user_code\" autocomplete=\"off\" autofocus></label> <button>Continue</button></p></form>"
    );
    page::page(StatusCode::OK, "Sign in a device", &body, None)
}
