//! `/__api__/admin/v1/…`: the admin API, on the admin socket, and on the network for clients with a token. One file
//! per noun; `api::operations::admin` is the table of the operations.

mod audit;
mod backup;
mod binary;
mod block_rule;
mod block_rule_form;
mod call;
mod choices;
mod client;
mod cluster;
mod control;
mod definition;
pub(in crate::http) mod explain;
mod fixed_url;
mod git;
mod health;
mod history;
mod job;
mod log;
mod metadata;
pub mod name_guard;
pub mod openapi;
mod package;
mod prefetch;
mod promotion;
mod repo;
mod scrub;
mod source;
mod state;
mod storage;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use audit::record_refusal;
pub(crate) use audit::wire as audit_row;
use call::{Call, ControlCall};
use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
pub(crate) use token::check_lifetime;

use crate::http::api::operation::dispatch;
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::login::origin::is_own_origin;
use crate::http::login::permission::Principal;
use crate::http::net::Peer;
use crate::http::net::body::Body;
use crate::http::net::request_body::Incoming;
use crate::http::response::{self, ErrorFormat};
use crate::http::route::admin::{AdminRoute, ControlRoute, DataRoute};
use crate::http::route::{self, Route};
use crate::http::switch::{self, Switch};
use crate::http::target::{self, Query};
use api::error::Code;
use api::operations::admin as operations;
use api::{ADMIN_PREFIX, control_operations, data_operations};
use base::model::time::Timestamp;
use store::db::author::{self, Author, AuthorKind};
use tasks::edit::Actor;

/// Number of segments of a path before those of the route: `/__api__/admin/v1`.
const PREFIX_SEGMENTS: usize = 3;

/// Fields that proxies add to the requests that they forward.
const FORWARDING_FIELDS: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-rspm-request", "forwarded", "via"];

pub(crate) struct AdminRequest {
    pub(crate) peer: Peer,
    /// The address of the client, for the audit trail; `None` on the admin socket.
    pub(crate) address: Option<IpAddr>,
    pub(crate) request: Request<Incoming>,
    /// The path of the target without the prefix of `Server.Address`.
    pub(crate) path: String,
    pub(crate) route: AdminRoute,
    pub(crate) query: Query,
    pub(crate) principal: Principal,
    /// Whether the response cannot be read on the network: it is encrypted, or does not leave this machine.
    pub(crate) is_confidential: bool,
}

/// The head of a request to the admin API from the network.
pub(crate) struct AdminHead<'a> {
    pub(crate) peer: Peer,
    pub(crate) address: Option<IpAddr>,
    pub(crate) parts: &'a Parts,
    pub(crate) path: &'a str,
    pub(crate) principal: Principal,
}

/// Returns whether a path belongs to the admin API. Other spellings, as `//__api__/admin`, have no network route.
pub(crate) fn is_admin_path(path: &str) -> bool {
    path.strip_prefix(ADMIN_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Handles an admin request from the network, unless `Authentication.APITokenAuth` is off. `app` is released before a
/// control request, because a change of the mode waits until every request has released it.
pub(crate) async fn answer_on_network(
    switch: &Switch,
    app: Arc<App>,
    head: AdminHead<'_>,
    body: Incoming,
) -> Response<Body> {
    let AdminHead { peer, address, parts, path, principal } = head;
    let refuse = |failure: Failure| response::failure(&failure, ErrorFormat::Json);
    if !app.state.config.load().authentication.api_token_auth {
        return refuse(Failure::no_such_address());
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) && is_cross_site(&app, &parts.headers) {
        return refuse(Failure::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            "the admin API accepts no changes from pages of other sites",
        ));
    }
    let (route, query) =
        match route::parse(&parts.method, path, parts.uri.query(), switch.context().limits.target_bytes) {
            Ok((Route::Admin(route), query)) => (route, query),
            Ok(_) => return refuse(Failure::no_such_address()),
            Err(failure) => return refuse(failure),
        };
    // SECURITY: the catalog is updated before the permission check, which must not use an older catalog than the
    // handler. Clients without a token are refused below, without a wait.
    if principal != Principal::Anonymous
        && let Err(failure) = client::wait(&app, &parts.headers).await
    {
        return refuse(failure);
    }
    if let Err(failure) = principal.require(&app.state.catalog.get(), route.access()) {
        if let (Principal::Token(token), false) =
            (&principal, matches!(parts.method, Method::GET | Method::HEAD))
        {
            record_refusal(&app, token, address, &format!("{} {path}", parts.method), &failure).await;
        }
        return refuse(failure);
    }
    let received_at = (switch.context().clock)();
    let head = RequestHead { peer, parts, path, received_at, principal: &principal };
    if let Some((major, minor)) = client::other_version(&parts.headers) {
        let base = base_url::base_url(&app.site.load(), &head);
        return refuse(Failure::new(
            StatusCode::CONFLICT,
            Code::Conflict,
            format!(
                "rspm {major}.{minor} cannot be used with this server, whose version is {}; download its rspm from \
                 {base}/__api__/download?os=linux",
                env!("CARGO_PKG_VERSION")
            ),
        ));
    }
    let is_confidential = is_confidential(&app, &head);
    drop(app);
    let request = Request::from_parts(parts.clone(), body);
    let path = path.to_owned();
    let request = AdminRequest { peer, address, request, path, route, query, principal, is_confidential };
    let mut response = answer(switch, request).await;
    response::restrict_to_client(&mut response);
    if let Some(app) = switch.app() {
        client::set(&app, &mut response);
    }
    response
}

/// Returns whether the response cannot be read on the network.
pub(crate) fn is_confidential(app: &App, head: &RequestHead<'_>) -> bool {
    match head.peer {
        Peer::Unix { .. } => true,
        Peer::Tcp { address, tls } => {
            let is_https = base_url::base_url(&app.site.load(), head).starts_with("https://");
            // A proxy on this machine forwards requests of other machines.
            let is_forwarded = FORWARDING_FIELDS.iter().any(|name| head.parts.headers.contains_key(*name));
            tls || is_https || (address.ip().to_canonical().is_loopback() && !is_forwarded)
        }
    }
}

/// Returns whether a browser sends the request on behalf of another site. SECURITY: a browser that has stored a
/// password for this server also adds it to the requests that pages of other sites send here.
pub(crate) fn is_cross_site(app: &App, headers: &HeaderMap) -> bool {
    let is_own = |origin: &HeaderValue| {
        origin.to_str().is_ok_and(|origin| is_own_origin(app.site.load().address.as_deref(), origin))
    };
    match headers.get("sec-fetch-site") {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        // Browsers that send no Sec-Fetch-Site send Origin with a POST.
        None => headers.get(ORIGIN).is_some_and(|origin| !is_own(origin)),
    }
}

impl AdminRequest {
    fn writes(&self) -> bool {
        !matches!(*self.request.method(), Method::GET | Method::HEAD)
    }

    fn writes_data(&self) -> bool {
        self.writes() && matches!(self.route, AdminRoute::Data(_))
    }
}

/// Handles an admin request. A change of data runs in its own task, which continues if the client disconnects, because
/// the catalog must be refreshed and the result logged after the commit. A control request, such as going offline, is
/// cancelled if the client disconnects.
pub(crate) async fn answer(switch: &Switch, request: AdminRequest) -> Response<Body> {
    if !request.writes_data() {
        return respond(switch, request).await;
    }
    let switch = switch.clone();
    match tokio::spawn(async move { respond(&switch, request).await }).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => response::failure(&Failure::unavailable("the server is stopping", 5), ErrorFormat::Json),
    }
}

/// Returns the response for a failure. SECURITY: hints name paths and hosts, so only administrators get them.
fn failure_response(failure: Failure, principal: &Principal) -> Response<Body> {
    let failure = if principal.is_administrator() { failure.for_administrator() } else { failure };
    response::failure(&failure, ErrorFormat::Json)
}

async fn respond(switch: &Switch, request: AdminRequest) -> Response<Body> {
    let writes = request.writes();
    let AdminRequest { peer, address, request, path, route, query, principal, is_confidential } = request;
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let actor = if writes { actor(&principal, peer).await } else { Actor(String::new()) };
    let actor_name = actor.0.clone();
    let author = author(&principal, &actor, address, (switch.context().clock)());
    let refuse = |failure| failure_response(failure, &principal);
    let work = async {
        match route {
            AdminRoute::Control(Err(failure)) => refuse(failure),
            AdminRoute::Control(Ok(route)) => {
                let call = ControlCall { switch, principal: &principal, actor: &actor_name };
                dispatch_control(call, &route, &query, body).await.unwrap_or_else(refuse)
            }
            AdminRoute::Data(route) => {
                let Some(app) = switch.app() else {
                    return refuse(switch::unavailable(&switch.context().control.mode(), &principal));
                };
                let result = async {
                    let received_at = (switch.context().clock)();
                    let head =
                        RequestHead { peer, parts: &parts, path: &path, received_at, principal: &principal };
                    let base = known_base(&app, &head);
                    let call = Call { app: &app, actor, principal: &principal, is_confidential, base };
                    dispatch_data(call, &route?, &query, body).await
                };
                let mut response = result.await.unwrap_or_else(refuse);
                response.body_mut().set_owner(app);
                response
            }
        }
    };
    let response = author::scope(author, work).await;
    if writes {
        let segments = target::segments(&method, &path, usize::MAX).unwrap_or_default();
        let path = segments.get(PREFIX_SEGMENTS..).unwrap_or_default().join("/");
        let (by, status) = (author::log_name(&actor_name), response.status().as_u16());
        tracing::info!(%by, %method, path, status, "admin request");
    }
    response
}

/// Returns the base URL of this server for clients; `None` on the admin socket without `Server.Address`.
fn known_base(app: &App, head: &RequestHead<'_>) -> Option<String> {
    let site = app.site.load();
    match head.peer {
        Peer::Unix { .. } => site.address.clone(),
        Peer::Tcp { .. } => Some(base_url::base_url(&site, head)),
    }
}

control_operations!(dispatch dispatch_control ControlCall ControlRoute Incoming);
data_operations!(dispatch dispatch_data Call DataRoute Incoming);

/// Returns the author of the writes of a request, as recorded in the audit trail. `address` is that of the client.
pub(crate) fn author(principal: &Principal, actor: &Actor, address: Option<IpAddr>, at: Timestamp) -> Author {
    Author {
        kind: match principal {
            Principal::Token(token) => token.author_kind(),
            Principal::Anonymous | Principal::Administrator => AuthorKind::Socket,
        },
        name: actor.0.clone(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        at,
    }
}

/// Returns the user who makes a change, as recorded in its transaction.
pub(crate) async fn actor(principal: &Principal, peer: Peer) -> Actor {
    Actor(match principal {
        Principal::Token(token) => token.name(),
        Principal::Anonymous | Principal::Administrator => user_of(peer).await,
    })
}

/// Time for which a user name is cached, because an `rspm` command makes several requests.
const USER_CACHE_TIME: Duration = Duration::from_secs(5);

/// Cache of the last user lookup: user id, time and name.
static LAST_USER: Mutex<Option<(u32, Instant, Option<String>)>> = Mutex::new(None);

/// Returns the user of a request by its peer credentials: `alice (uid 1000)`.
async fn user_of(peer: Peer) -> String {
    let Peer::Unix { uid, .. } = peer else { return "unknown".to_owned() };
    let user =
        LAST_USER.lock().clone().filter(|(last, at, _)| *last == uid && at.elapsed() < USER_CACHE_TIME);
    let name = match user {
        Some((.., name)) => name,
        None => {
            let lookup = tokio::task::spawn_blocking(move || {
                // A user without a name is reported by number.
                nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
            });
            let name = lookup.await.ok().flatten();
            *LAST_USER.lock() = Some((uid, Instant::now(), name.clone()));
            name
        }
    };
    match name {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}
