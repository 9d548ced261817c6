//! The pages of administrators. They use the admin API of this process, for the same checks and the same audit trail.

mod change;
mod form_token;
mod local_api;
mod view;

use std::sync::Arc;

use change::ResponsePart;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use local_api::LocalApi;
use serde::Deserialize;
use view::View;

use super::answer::{failure_page, private_page};
use super::context;
use crate::http::api::admin;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::body::Body;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::route::administration::AdministrationPage;
use crate::http::route::{self, Route};
use crate::http::switch::Switch;
use crate::http::target::Query;
use crate::http::{login, response};
use api::block_rule::CreatedBlockRules;
use api::token::CreatedToken;
use pages::administration::AdministrationSection;
use pages::administration::form::{ACTION, OBJECT, RejectedForm};

/// Maximum size of a form, in bytes.
const FORM_LIMIT: usize = 64 << 10;

/// Returns whether a path belongs to the pages of administrators.
pub(in crate::http) fn is_path(path: &str) -> bool {
    path.strip_prefix("/__ui__/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request for such a path.
pub(in crate::http) async fn answer(
    switch: &Switch,
    app: Arc<App>,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Response<Body> {
    let result = match permitted(switch, &app, head).await {
        Ok((page, query)) if head.parts.method == Method::POST => {
            post(switch, &app, head, page, query, body).await
        }
        Ok((page, query)) => get(switch, &app, head, page, &query).await,
        Err(Refused(redirect, failure)) => redirect.ok_or(*failure),
    };
    let mut response = result.unwrap_or_else(|failure| failure_page(head, &failure));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response::restrict_to_client(&mut response);
    response.body_mut().set_owner(app);
    response
}

/// A refused request: the redirect to the sign-in, if there is one, and the failure.
struct Refused(Option<Response<Body>>, Box<Failure>);

/// Parses the address, and checks that the client is an administrator.
async fn permitted(
    switch: &Switch,
    app: &App,
    head: &RequestHead<'_>,
) -> Result<(AdministrationPage, Query), Refused> {
    let refused = |failure: Failure| Refused(None, Box::new(failure));
    let (parts, limit) = (head.parts, switch.context().limits.target_bytes);
    let (route, query) = route::parse(&parts.method, head.path, parts.uri.query(), limit).map_err(refused)?;
    let required = head.principal.require(&app.state.catalog.get(), route.access());
    if let Err(failure) = required {
        if let (Principal::Token(token), true) = (head.principal, parts.method == Method::POST) {
            let address = app.site.load().client_address(head.peer, &parts.headers);
            let request = format!("{} {}", parts.method, head.path);
            admin::record_refusal(app, token, address, &request, &failure).await;
        }
        return Err(Refused(login::redirect_to_start(app, &route, head, &failure), Box::new(failure)));
    }
    match route {
        Route::Administration(page) => Ok((page, query)),
        _ => Err(refused(Failure::no_such_address())),
    }
}

/// Returns whether the client may edit: on the network only with `Authentication.APITokenAuth`, as in the admin API.
fn may_change(app: &App, principal: &Principal) -> bool {
    *principal == Principal::Administrator || app.state.config.load().authentication.api_token_auth
}

/// Returns the token for the forms of this client; `None` if it may not make changes.
fn form_token(app: &App, head: &RequestHead<'_>) -> Option<String> {
    may_change(app, head.principal).then(|| form_token::of(&head.parts.headers))
}

async fn get(
    switch: &Switch,
    app: &App,
    head: &RequestHead<'_>,
    page: AdministrationPage,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    if page == AdministrationPage::Start {
        return Ok(see_other(AdministrationSection::Health.address(&context::root(app, head))));
    }
    let reservation = app.response_budget.reserve(app.client(head.peer))?;
    let view = View {
        app,
        api: &LocalApi::new(switch, app, head),
        root: context::root(app, head),
        form_token: form_token(app, head),
        done: query.get("done").and_then(change::message),
        rejected: None,
        created: None,
        checked: None,
    };
    reservation.charge(private_page(StatusCode::OK, view.render(&page).await?))
}

/// The response to a change, reduced to the fields that pages display.
#[derive(Default, Deserialize)]
struct Changed {
    #[serde(default)]
    warnings: Vec<String>,
}

async fn post(
    switch: &Switch,
    app: &App,
    head: &RequestHead<'_>,
    page: AdministrationPage,
    _: Query,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    form_token::require_own_page(app, head)?;
    if !may_change(app, head.principal) {
        let text =
            "changes from other machines are turned off on this server ([Authentication] APITokenAuth)";
        return Err(Failure::forbidden(text, "global:admin"));
    }
    let bytes = read_body::read(body, FORM_LIMIT, app.limits.body_timeout).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::bad_request("the form is not UTF-8"))?;
    let form = Query::parse(Some(text), FORM_LIMIT)?;
    form_token::require(&head.parts.headers, &form)?;
    head.principal.require_valid(app)?;
    let api = LocalApi::new(switch, app, head);
    let rejected = |field: &'static str, message: String| RejectedForm {
        action: form.get(ACTION).unwrap_or_default().to_owned(),
        object: form.get(OBJECT).unwrap_or_default().to_owned(),
        field,
        message,
        values: form.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let (mut created, mut checked): (Option<CreatedToken>, Option<CreatedBlockRules>) = (None, None);
    let (status, rejected) = match change::plan(&page, &form) {
        Err(change::Invalid { field, message }) => (StatusCode::BAD_REQUEST, Some(rejected(field, message))),
        Ok(change) => match api.send(&change).await {
            Ok(bytes) if change.displayed_part == ResponsePart::Token => {
                created = serde_json::from_slice(&bytes).ok();
                (StatusCode::OK, None)
            }
            Ok(bytes) if change.displayed_part == ResponsePart::Matches => {
                checked = serde_json::from_slice(&bytes).ok();
                (StatusCode::OK, Some(rejected("", String::new())))
            }
            Ok(bytes) => {
                let changed: Changed = serde_json::from_slice(&bytes).unwrap_or_default();
                let done = if changed.warnings.is_empty() { change.message_key } else { "opened" };
                let target = change.next_page.address(&context::root(app, head));
                return Ok(see_other(format!("{target}?done={done}")));
            }
            Err(failure) if failure.status.is_client_error() => {
                let (field, message) = change.refusal(&failure);
                (failure.status, Some(rejected(field, message)))
            }
            Err(failure) => return Err(failure),
        },
    };
    let view = View {
        app,
        api: &api,
        root: context::root(app, head),
        form_token: form_token(app, head),
        done: None,
        rejected,
        created,
        checked,
    };
    Ok(private_page(status, view.render(&page).await?))
}

fn see_other(location: String) -> Response<Body> {
    response::redirect(StatusCode::SEE_OTHER, response::header_value(location))
}
