//! Sign-in with an identity provider: of browsers (OpenID Connect, code flow with PKCE) and devices (RFC
//! 8628), and the exchange of tokens (RFC 8693).

use std::sync::Arc;

use http::{Method, Response, StatusCode};

use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::response;
use crate::http::route::Route;
use crate::http::route::login::LoginRoute;
use crate::http::target::Query;
use base::config::OpenIdConnect;
use base::metrics::{self, RefusedToken};
use runtime::auth::provider::ProviderError;

mod browser;
pub(super) mod cookie;
mod device;
mod device_page;
pub(super) mod origin;
mod page;
pub(super) mod permission;
mod provider;
mod token;

/// Maximum length of a form, in bytes.
const FORM_LIMIT: usize = 64 << 10;
/// Maximum length of a reason in the log, in characters.
const MAX_REASON: usize = 1_000;
/// `Retry-After` while the provider cannot be reached, in seconds.
const RETRY_AFTER: u64 = 10;

/// Why a sign-in failed. The reason is logged; clients get a general text.
pub(super) struct Problem {
    /// Whether the provider, and not the user, is the cause.
    pub(super) is_unavailable: bool,
    reason: String,
}

impl Problem {
    pub(super) fn unavailable(reason: impl ToString) -> Problem {
        Problem { is_unavailable: true, reason: limited(&reason.to_string()) }
    }

    pub(super) fn of_request(error: ProviderError) -> Problem {
        if error.is_too_large { Problem::refused(error) } else { Problem::unavailable(error) }
    }

    pub(super) fn refused(reason: impl ToString) -> Problem {
        Problem { is_unavailable: false, reason: limited(&reason.to_string()) }
    }

    pub(super) fn log(&self) {
        if self.is_unavailable {
            tracing::error!("could not sign in a user: {}", self.reason);
        } else {
            tracing::warn!("refused a sign-in: {}", self.reason);
        }
    }
}

/// Truncates a reason for the log, because it may contain a text of the provider.
fn limited(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

pub(super) struct Provider {
    pub(super) settings: Arc<OpenIdConnect>,
    /// `Server.Address`.
    pub(super) address: String,
}

impl Provider {
    fn configured(app: &App) -> Option<Provider> {
        let settings = app.state.config.load().open_id_connect.clone()?;
        let address = app.site.load().address.clone()?;
        Some(Provider { settings, address })
    }
}

/// Handles a route of sign-in. Without a configured provider, all but the exchange of tokens are 404.
pub(super) async fn answer(
    app: &App,
    route: LoginRoute,
    query: &Query,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let provider = Provider::configured(app);
    if provider.is_none() && route != LoginRoute::Token {
        return Err(Failure::not_found("sign-in is not configured on this server ([OpenIDConnect])"));
    }
    let form = if head.parts.method == Method::POST { form(app, body).await? } else { Query::default() };
    let Some(provider) = &provider else { return token::exchange(app, None, &form, head).await };
    match route {
        LoginRoute::Token => token::exchange(app, Some(provider), &form, head).await,
        LoginRoute::Start => browser::start(app, provider, query, head).await,
        LoginRoute::Callback => browser::callback(app, provider, query, head).await,
        LoginRoute::LogoutPage => Ok(browser::logout_page(app, provider, head).await),
        LoginRoute::Logout => browser::logout(app, provider, head).await,
        LoginRoute::DevicePage => device_page::show(app, provider, query, head).await,
        LoginRoute::DecideDevice => device_page::decide(app, provider, &form, head).await,
        LoginRoute::Device => device::begin(app, provider, &form, head).await,
        LoginRoute::DeviceAccess => device::poll(app, provider, &form, head).await,
    }
}

/// Counts a sign-in that a client begins, because the number of those in progress is limited; 429 after too many.
fn count_begin(app: &App, head: &RequestHead<'_>, is_of_device: bool) -> Result<(), Failure> {
    let Some(client) = app.site.load().client_network(head.peer, &head.parts.headers) else { return Ok(()) };
    let counted = app.tokens.count_sign_in(client, is_of_device, head.received_at);
    counted.map_err(|seconds| too_many("sign-ins", seconds))
}

fn too_many(noun: &str, seconds: u64) -> Failure {
    let phrase = format!("too many {noun} in a short time; try again in {seconds} seconds");
    Failure::too_many_requests(phrase, seconds)
}

/// Checks that a form comes from a page of this server. SECURITY: `http::login::permission` checks this only
/// if the session determines the client, but a browser may send a password in addition to the cookie.
fn require_own_form(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    origin::require_own(app.site.load().address.as_deref(), head.parts, head.path)
}

async fn form(app: &App, body: Incoming) -> Result<Query, Failure> {
    let bytes = read_body::read(body, FORM_LIMIT, app.limits.body_timeout).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::bad_request("the form is not UTF-8"))?;
    Query::parse(Some(text), FORM_LIMIT).map_err(|_| {
        Failure::bad_request(
            "the form is not well encoded, or a value has a control character, such as the line feed at the end of a file: curl \
             --data-urlencode name@file sends it, --data-urlencode \"name=$(cat file)\" does not",
        )
    })
}

/// Returns a redirect to the sign-in if a browser requests a page without a session; `None` otherwise.
pub(super) fn redirect_to_start(
    app: &App,
    route: &Route,
    head: &RequestHead<'_>,
    failure: &Failure,
) -> Option<Response<Body>> {
    let is_page = route.is_page() || matches!(route, Route::Latest { .. } | Route::PackageLink { .. });
    if failure.status != StatusCode::UNAUTHORIZED || !is_page || !head.accepts_html() {
        return None;
    }
    let provider = Provider::configured(app)?;
    let target = format!("{}{}", cookie::prefix(&provider.address), start_address(head));
    let mut redirect = response::redirect(StatusCode::FOUND, response::header_value(target));
    page::protect(&mut redirect);
    Some(redirect)
}

/// Returns the address, from the root of the server, of a sign-in that returns to the page of this request.
pub(super) fn start_address(head: &RequestHead<'_>) -> String {
    let query = head.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let page = format!("{}{query}", head.path);
    let page: String = url::form_urlencoded::byte_serialize(page.as_bytes()).collect();
    format!("/__login__?return={page}")
}

pub(super) fn is_configured(app: &App) -> bool {
    app.state.config.load().open_id_connect.is_some() && app.site.load().address.is_some()
}

fn unavailable_failure() -> Failure {
    Failure::unavailable("the identity provider is unavailable; the server log has the reason", RETRY_AFTER)
}

/// Counts a refused proof as an invalid credential; 429 after too many of a client.
pub(crate) fn count_refused_proof(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::Proof);
    let Some(client) = app.site.load().client_network(head.peer, &head.parts.headers) else { return Ok(()) };
    app.tokens.count_failure(client, None, (app.state.clock)()).map_err(Failure::too_many_failures)
}

/// Counts a wrong code of a device (RFC 8628 section 5.1); 429 after ten of a client in a minute.
pub(crate) fn count_wrong_code(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::DeviceCode);
    let Some(client) = app.site.load().client_network(head.peer, &head.parts.headers) else { return Ok(()) };
    app.tokens.count_wrong_code(client, (app.state.clock)()).map_err(Failure::too_many_failures)
}
