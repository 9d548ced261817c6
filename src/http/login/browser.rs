//! Sign-in of browsers: the code flow of OpenID Connect with PKCE (RFC 7636), state and nonce.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use maud::html;
use sha2::Digest;
use url::form_urlencoded::Serializer;

use super::cookie::{self, LOGIN, SESSION};
use super::{Problem, Provider, page, provider};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::{Principal, session_limits};
use crate::http::net::body::Body;
use crate::http::response;
use crate::http::target::Query;
use base::metrics::{self, IssuedToken};
use base::model::time::Timestamp;
use runtime::auth::provider::VerifyError;
use runtime::auth::{self, Claims, Invalid, SignedIn};
use store::db::audit;
use store::db::author::{Author, AuthorKind};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// Maximum duration of a sign-in, in seconds.
const LOGIN_TIME: u64 = 600;
/// Path of the cookie of a sign-in.
const LOGIN_PATH: &str = "/__login__";
/// Maximum length of the path to which a browser returns.
const MAX_RETURN: usize = 2_000;

/// Returns a value of a sign-in, computed from the secret of its cookie. State, nonce and PKCE verifier (256
/// bits each) cannot be computed from each other, and the server stores only the digest of the secret.
fn value(secret: &str, purpose: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(format!("{purpose} {secret}")))
}

/// Begins a sign-in: redirects the browser to the provider. Fails with 429 after too many sign-ins of a client.
pub(super) async fn start(
    app: &App,
    provider: &Provider,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Provider { settings, address } = provider;
    let now = head.received_at;
    super::count_begin(app, head, false)?;
    let endpoint = match endpoint(app, provider, now).await {
        Ok(endpoint) => endpoint,
        Err(problem) => return Ok(failure_page(provider, &problem)),
    };
    let secret = auth::new_secret();
    let return_to = return_path(query.get("return").unwrap_or_default());
    if !app.sessions.begin_login(&secret, return_to, now).await? {
        return Err(Failure::unavailable("too many sign-ins are in progress", LOGIN_TIME));
    }
    let mut parameters = Serializer::new(String::new());
    parameters
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", &redirect_uri(address))
        .append_pair("scope", &settings.requested_scopes)
        .append_pair("state", &value(&secret, "state"))
        .append_pair("nonce", &value(&secret, "nonce"));
    if settings.pkce {
        let challenge = sha2::Sha256::digest(value(&secret, "verifier"));
        parameters
            .append_pair("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256");
    }
    if settings.require_login {
        parameters.append_pair("prompt", "login");
    }
    if let Some(age) = settings.max_authentication_age {
        parameters.append_pair("max_age", &age.as_secs().to_string());
    }
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    let target = format!("{endpoint}{separator}{}", parameters.finish());
    let cookie = cookie::set(address, LOGIN, &secret, LOGIN_PATH, LOGIN_TIME);
    Ok(redirect(StatusCode::FOUND, target, [cookie]))
}

async fn endpoint(app: &App, provider: &Provider, now: Timestamp) -> Result<String, Problem> {
    let document =
        app.providers.document(&provider.settings.issuer, now).await.map_err(Problem::unavailable)?;
    let endpoint = document.authorization_endpoint.clone();
    endpoint.ok_or_else(|| Problem::unavailable("the provider has no authorization_endpoint"))
}

fn redirect_uri(address: &str) -> String {
    format!("{address}/__login__/callback")
}

pub(super) async fn callback(
    app: &App,
    provider: &Provider,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Provider { settings, address } = provider;
    let now = head.received_at;
    let prefix = cookie::prefix(address);
    let expired = || {
        let text =
            "This sign-in has expired, belongs to another browser, or the browser does not accept cookies.";
        page::problem(StatusCode::BAD_REQUEST, "The sign-in has ended", &[text.to_owned()], prefix)
    };
    let Some(secret) = cookie::find(&head.parts.headers, LOGIN) else { return Ok(expired()) };
    // RFC 6749 section 3.1: parameters must not be repeated; programs before this server may read the other value.
    if ["state", "code", "iss", "error"].iter().any(|name| query.values(name).count() > 1) {
        let text = "A parameter of the identity provider's response is repeated.".to_owned();
        return Ok(page::problem(StatusCode::BAD_REQUEST, "Not signed in", &[text], prefix));
    }
    // Digests are compared, so that the time of the comparison does not depend on the secret.
    let state = query.get("state").unwrap_or_default();
    if auth::digest(state) != auth::digest(&value(secret, "state")) {
        return Ok(expired());
    }
    let Some(return_to) = app.sessions.end_login(secret, now).await? else { return Ok(expired()) };
    // RFC 9207: another issuer means that the response is from another provider.
    let announces_issuer = match app.providers.document(&settings.issuer, now).await {
        Ok(document) => document.authorization_response_iss_parameter_supported,
        Err(error) => return Ok(failure_page(provider, &Problem::unavailable(error))),
    };
    let problem = match query.get("iss") {
        Some(issuer) if issuer != settings.issuer => Some("the response came from another issuer"),
        None if announces_issuer => {
            Some("the response names no issuer, although the provider announces that")
        }
        Some(_) | None => None,
    };
    if let Some(problem) = problem {
        return Ok(failure_page(provider, &Problem::refused(problem)));
    }
    if let Some(error) = query.get("error") {
        let description = query.get("error_description").unwrap_or_default();
        let excerpt = |text: &str| text.chars().take(300).collect::<String>();
        let texts =
            ["The identity provider refused the sign-in.".to_owned(), excerpt(error), excerpt(description)];
        let mut response = page::problem(StatusCode::FORBIDDEN, "Not signed in", &texts, prefix);
        set_cookies(&mut response, [cookie::set(address, LOGIN, "", LOGIN_PATH, 0)]);
        return Ok(response);
    }
    let claims = match claims(app, provider, query.get("code").unwrap_or_default(), secret, now).await {
        Ok(claims) => claims,
        Err(problem) => return Ok(failure_page(provider, &problem)),
    };
    let user = match provider::user(app, settings, &claims) {
        Ok(user) => user,
        Err(_) => {
            let claim = &settings.unique_id_claim;
            let problem =
                Problem::refused(format!("the user has no claim {claim} (OpenIDConnect.UniqueIdClaim)"));
            return Ok(failure_page(provider, &problem));
        }
    };
    if user.has_no_scope() {
        tracing::warn!("refused the sign-in of {}: no scope, groups: {}", user.user, user.groups.join(", "));
        record_refusal(app, &user, head).await?;
        let groups = if user.groups.is_empty() { "none".to_owned() } else { user.groups.join(", ") };
        let texts = [
            format!("{}, none of your groups has access to this server.", user.user),
            format!("The groups that the identity provider sent: {groups}."),
            "An administrator can add one of them to the configuration: [GroupToScopeMapping \"group\"]."
                .to_owned(),
        ];
        return Ok(page::problem(StatusCode::FORBIDDEN, "No access", &texts, prefix));
    }
    let limits = session_limits(app);
    let address_of_client = app.site.load().client_address(head.peer, &head.parts.headers);
    let session = app.sessions.create(&app.tokens, &user, address_of_client, limits, now).await?;
    end_session(app, head).await?;
    metrics::tokens().count_issued(IssuedToken::Session);
    let cookies = [
        cookie::set(address, SESSION, &session, "/", limits.lifetime.as_secs()),
        cookie::set(address, LOGIN, "", LOGIN_PATH, 0),
    ];
    Ok(redirect(StatusCode::SEE_OTHER, format!("{prefix}{return_to}"), cookies))
}

/// Records in the audit trail that a user signed in at the provider, but has no scope on this server.
pub(super) async fn record_refusal(
    app: &App,
    user: &SignedIn,
    head: &RequestHead<'_>,
) -> Result<(), Failure> {
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    let author = Author {
        kind: AuthorKind::Session,
        name: user.user.clone(),
        address: client.map(|address| address.to_string()).unwrap_or_default(),
        at: head.received_at,
    };
    let detail = format!("identity {}; no group of the user has a scope", user.unique_id);
    let write = app.state.db.write(move |c| {
        audit::record_by(c, &author, "sign in", "user", &author.name, audit::REFUSED, &detail)
    });
    write.await?;
    Ok(())
}

async fn end_session(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    let Some(secret) = cookie::find(&head.parts.headers, SESSION) else { return Ok(()) };
    let limits = session_limits(app);
    if let Some(session) = app.sessions.find(&app.tokens, secret, limits, head.received_at).await? {
        let client = app.site.load().client_address(head.peer, &head.parts.headers);
        app.sessions.end(secret, &session.user, client, head.received_at).await?;
    }
    Ok(())
}

async fn claims(
    app: &App,
    provider: &Provider,
    code: &str,
    secret: &str,
    now: Timestamp,
) -> Result<Claims, Problem> {
    let Provider { settings, address } = provider;
    let document = app.providers.document(&settings.issuer, now).await.map_err(Problem::unavailable)?;
    let url = document
        .token_endpoint
        .as_deref()
        .ok_or_else(|| Problem::unavailable("the provider has no token_endpoint"))?;
    let (redirect_uri, verifier) = (redirect_uri(address), value(secret, "verifier"));
    let mut fields =
        vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri.as_str())];
    if settings.pkce {
        fields.push(("code_verifier", verifier.as_str()));
    }
    let response = provider::post(app, settings, &document, url, &fields).await?;
    let Some(token) = response.text("id_token").filter(|_| response.status.is_success()) else {
        let error = response.text("error").unwrap_or("no id_token");
        let detail = response.text("error_description").unwrap_or_default();
        return Err(Problem::refused(format!("{url}: {} {error} {detail}", response.status)));
    };
    let mut claims = provider::verify(app, settings, token, now).await.map_err(problem)?;
    let nonce = claims.text("nonce").unwrap_or_default();
    if auth::digest(nonce) != auth::digest(&value(secret, "nonce")) {
        return Err(Problem::refused(Invalid::Value("nonce")));
    }
    let access_token = response.text("access_token");
    provider::complete(app, settings, &document, &mut claims, access_token).await?;
    Ok(claims)
}

fn problem(error: VerifyError) -> Problem {
    match error {
        VerifyError::Unavailable(error) => Problem::unavailable(error),
        VerifyError::Invalid(error) => Problem::refused(format!("the id token: {error}")),
    }
}

/// Returns the page with the button that ends the session. A separate page, because its form redirects to the
/// provider, which the policy of other pages forbids (browsers apply `form-action` to redirects too).
pub(super) async fn logout_page(app: &App, provider: &Provider, head: &RequestHead<'_>) -> Response<Body> {
    let prefix = cookie::prefix(&provider.address);
    let name = match head.principal {
        Principal::Token(session) => format!("You are signed in as {}.", session.user),
        Principal::Anonymous | Principal::Administrator => "You are not signed in.".to_owned(),
    };
    let document = app.providers.document(&provider.settings.issuer, head.received_at).await.ok();
    let endpoint = document.and_then(|document| document.end_session_endpoint.clone());
    let body = html! {
        p { (name) }
        form method="post" action={ (prefix) "/__logout__" } {
            button { "Sign out" }
        }
    };
    page::page(StatusCode::OK, "Sign out", prefix, &body, endpoint.as_deref())
}

/// Ends the session here, and at a provider that supports it (OpenID Connect RP-Initiated Logout 1.0). Fails
/// with 403 for a form of another site.
pub(super) async fn logout(
    app: &App,
    provider: &Provider,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    super::require_own_form(app, head)?;
    let Provider { settings, address } = provider;
    let target = format!("{}/", cookie::prefix(address));
    // Not that of the client of the request, who is another user if the browser also sends a password.
    end_session(app, head).await?;
    let document = app.providers.document(&settings.issuer, head.received_at).await.ok();
    let target = match document.and_then(|document| document.end_session_endpoint.clone()) {
        None => target,
        Some(endpoint) => {
            let parameters = Serializer::new(String::new())
                .append_pair("client_id", &settings.client_id)
                .append_pair("post_logout_redirect_uri", &format!("{address}/"))
                .finish();
            let separator = if endpoint.contains('?') { '&' } else { '?' };
            format!("{endpoint}{separator}{parameters}")
        }
    };
    let cookie = cookie::set(address, SESSION, "", "/", 0);
    let mut response = redirect(StatusCode::SEE_OTHER, target, [cookie]);
    // Browsers keep pages for a return to them, also if these may not be stored (W3C Clear Site Data, 3.1).
    response.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
    Ok(response)
}

fn failure_page(provider: &Provider, problem: &Problem) -> Response<Body> {
    problem.log();
    let prefix = cookie::prefix(&provider.address);
    if problem.is_unavailable {
        let texts = ["The identity provider cannot be reached. Try again in a minute.".to_owned()];
        let mut response =
            page::problem(StatusCode::SERVICE_UNAVAILABLE, "Sign-in is unavailable", &texts, prefix);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(super::RETRY_AFTER));
        return response;
    }
    let texts =
        ["The response of the identity provider could not be accepted. The server log has the reason."
            .to_owned()];
    page::problem(StatusCode::FORBIDDEN, "Not signed in", &texts, prefix)
}

fn redirect<const N: usize>(status: StatusCode, target: String, cookies: [HeaderValue; N]) -> Response<Body> {
    let mut response = response::redirect(status, response::header_value(target));
    page::protect(&mut response);
    set_cookies(&mut response, cookies);
    response
}

fn set_cookies<const N: usize>(response: &mut Response<Body>, cookies: [HeaderValue; N]) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Returns a path of this server, else `/`. SECURITY: `//host` and `/\host` are addresses of other servers.
fn return_path(path: &str) -> &str {
    let is_own = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.len() <= MAX_RETURN
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_returns_only_to_this_server() {
        for path in ["/", "/cran/latest/", "/__login__/device?user_code=BCDF-GHJK"] {
            assert_eq!(return_path(path), path);
        }
        for path in [
            "",
            "cran",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "/a\r\nSet-Cookie: x",
            "/ä",
            " /",
        ] {
            assert_eq!(return_path(path), "/", "{path:?}");
        }
    }

    #[test]
    fn state_nonce_and_verifier_differ() {
        let values = ["state", "nonce", "verifier"].map(|purpose| value("s", purpose));
        assert!(values[0] != values[1] && values[1] != values[2] && values[0].len() == 43);
    }
}
