//! `/__api__/admin/v1/…`: the admin API, on the admin socket only. One file per noun.
//!
//! This file is the table of the admin addresses; `docs/api/admin.json` (OpenAPI) describes them.

mod backfill;
mod binary;
mod bioconductor;
mod control;
mod explain;
mod job;
mod log;
pub mod openapi;
mod package;
mod repair;
mod repo;
mod source;
mod storage;
mod upload;

use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::app::App;
use super::body::Body;
use super::error::Failure;
use super::listener::Peer;
use super::platforms;
use super::read_body;
use super::response::{self, ErrorFormat};
use super::switch::{self, Audience, Switch};
use super::target::Query;
use crate::http::request_body::Incoming;
use crate::r::bioconductor::{BadVersion, Version};
use crate::repo::edit::{Actor, OnExisting};

/// Maximum size of a JSON body, in bytes.
const JSON_LIMIT: usize = 1 << 20;

/// An admin request, as passed to its handler.
struct Call<'a> {
    app: &'a App,
    query: &'a Query,
    actor: Actor,
    body: Incoming,
}

type AdminResult = Result<Response<Body>, Failure>;

/// Handles an admin request; `path` is decoded and without the prefix: `repos/cran`. Without an app only requests about
/// the process itself are served.
pub(super) async fn answer(
    switch: &Switch,
    peer: Peer,
    request: Request<Incoming>,
    path: &str,
    query: &Query,
) -> Response<Body> {
    let (Parts { method, .. }, body) = request.into_parts();
    let writes = method != Method::GET && method != Method::HEAD;
    let actor = Actor(if writes { user_of(peer).await } else { String::new() });
    let named = actor.0.clone();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let refused = |failure: Failure| response::failure(&failure.for_administrator(), ErrorFormat::Json);
    let response = match control::parse(&segments) {
        // Must not hold the app meanwhile: going offline waits until it is released.
        Some(noun) => control::answer(switch, &method, noun, body).await.unwrap_or_else(refused),
        None => match switch.app() {
            Some(app) => {
                let answered = dispatch(&method, &segments, Call { app: &app, query, actor, body }).await;
                let mut response = answered.unwrap_or_else(refused);
                response.body_mut().set_owner(app);
                response
            }
            None => refused(switch::unavailable(&switch.context().control.mode(), Audience::Administrator)),
        },
    };
    if writes {
        tracing::info!(by = %named, %method, path, status = response.status().as_u16(), "admin request");
    }
    response
}

async fn dispatch(method: &Method, segments: &[&str], call: Call<'_>) -> AdminResult {
    match (method.as_str(), segments) {
        ("GET", ["sources"]) => source::list(call).await,
        ("POST", ["sources"]) => source::create(call).await,
        ("GET", ["sources", name]) => source::info(call, name).await,
        ("PATCH", ["sources", name]) => source::edit(call, name).await,
        ("DELETE", ["sources", name]) => source::delete(call, name).await,
        ("GET", ["sources", name, "packages"]) => package::of_source(call, name).await,
        ("POST", ["sources", name, "packages"]) => package::add(call, name).await,
        ("GET", ["sources", name, "binaries"]) => binary::list(call, name).await,
        ("POST", ["sources", name, "binaries"]) => binary::add(call, name).await,
        ("POST", ["sources", name, "binaries", "remove"]) => binary::remove(call, name).await,
        ("POST", ["sources", name, "packages", "remove"]) => package::remove(call, name).await,
        ("GET", ["repos"]) => repo::list(call).await,
        ("POST", ["repos"]) => repo::create(call).await,
        ("GET", ["repos", name]) => repo::info(call, name).await,
        ("PATCH", ["repos", name]) => repo::edit(call, name).await,
        ("DELETE", ["repos", name]) => repo::delete(call, name).await,
        ("GET", ["repos", name, "packages"]) => package::of_repo(call, name).await,
        ("GET", ["repos", name, "explain"]) => explain::explain(call, name).await,
        ("POST", ["repos", name, "sources"]) => repo::subscribe(call, name).await,
        ("PUT", ["repos", name, "sources"]) => repo::reorder(call, name).await,
        ("DELETE", ["repos", name, "sources", source]) => repo::unsubscribe(call, name, source).await,
        ("POST", ["uploads"]) => upload::take(call).await,
        ("POST", ["repair", "clock"]) => repair::clock(call).await,
        ("POST", ["sync"]) => job::sync(call).await,
        ("POST", ["backfill"]) => backfill::start(call).await,
        ("DELETE", ["backfill", source]) => backfill::stop(call, source).await,
        ("GET", ["bioconductor", "versions"]) => bioconductor::versions(call).await,
        ("GET", ["storage"]) => storage::list(call).await,
        ("POST", ["storage", "adopt"]) => storage::adopt(call).await,
        ("POST", ["storage", "sweep"]) => storage::sweep(call).await,
        ("POST", ["storage", "restore"]) => storage::restore(call).await,
        ("GET", ["jobs"]) => Ok(job::running(&call)),
        ("GET", ["jobs", id]) => job::get(&call, id),
        ("GET", ["distributions"]) => ok(&platforms::list(&call.app.state.config.load().platforms)),
        ("GET", ["openapi.json"]) => Ok(response::json(StatusCode::OK, &openapi::document())),
        (_, known) => Err(not_found(known)),
    }
}

/// 405 if the address has other methods, else 404.
fn not_found(segments: &[&str]) -> Failure {
    match segments {
        ["sources"] | ["repos"] => Failure::method_not_allowed("GET, POST"),
        ["sources", _] | ["repos", _] => Failure::method_not_allowed("GET, PATCH, DELETE"),
        ["sources", _, "packages" | "binaries"] => Failure::method_not_allowed("GET, POST"),
        ["repos", _, "sources"] => Failure::method_not_allowed("POST, PUT"),
        ["repos", _, "sources", _] | ["backfill", _] => Failure::method_not_allowed("DELETE"),
        ["uploads"]
        | ["sync"]
        | ["backfill"]
        | ["repair", "clock"]
        | ["sources", _, "packages" | "binaries", "remove"]
        | ["storage", "adopt" | "sweep" | "restore"] => Failure::method_not_allowed("POST"),
        ["repos", _, "packages" | "explain"]
        | ["jobs"]
        | ["jobs", _]
        | ["bioconductor", "versions"]
        | ["distributions"]
        | ["storage"]
        | ["openapi.json"] => Failure::method_not_allowed("GET"),
        _ => Failure::not_found(
            "the admin API has nothing at this address; rspm and server may differ in version",
        ),
    }
}

/// How long a user name is cached: an `rspm` command makes several requests.
const USER_CACHE_TIME: Duration = Duration::from_secs(5);

/// Cache of the last user lookup: user id, time and name.
static LAST_USER: Mutex<Option<(u32, Instant, Option<String>)>> = Mutex::new(None);

/// The user of a request by its peer credentials: `alice (uid 1000)`.
async fn user_of(peer: Peer) -> String {
    let Peer::Unix { uid, .. } = peer else { return "unknown".to_owned() };
    let known =
        LAST_USER.lock().clone().filter(|(last, at, _)| *last == uid && at.elapsed() < USER_CACHE_TIME);
    let name = match known {
        Some((.., name)) => name,
        None => {
            let lookup = tokio::task::spawn_blocking(move || {
                // A user without a name is shown by number.
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

fn ok<T: Serialize>(value: &T) -> AdminResult {
    Ok(response::json(StatusCode::OK, value))
}

impl Call<'_> {
    /// Reads the JSON body of the request.
    async fn json<T: DeserializeOwned>(self) -> Result<(T, Actor), Failure> {
        let value = json(self.body, self.app.limits.body_timeout).await?;
        Ok((value, self.actor))
    }
}

/// Reads a JSON body.
async fn json<T: DeserializeOwned>(body: Incoming, pause: Duration) -> Result<T, Failure> {
    let bytes = read_body::read(body, JSON_LIMIT, pause).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::bad_request(format!("the body is not valid JSON for this request: {e}")))
}

fn on_existing(succeed: bool) -> OnExisting {
    if succeed { OnExisting::Succeed } else { OnExisting::Fail }
}

/// Parses a Bioconductor version.
fn version(text: &str) -> Result<Version, Failure> {
    text.parse().map_err(|e: BadVersion| Failure::bad_request(e.to_string()))
}

/// Parses the name of a new source or repository.
fn name(text: &str) -> Result<crate::model::name::Name, Failure> {
    text.parse().map_err(|e: crate::model::name::BadName| Failure::bad_request(e.to_string()))
}
