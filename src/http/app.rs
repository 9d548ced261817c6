//! What answering needs, and the two doors to it: the network, and the admin socket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use super::body::Body;
use super::error::Failure;
use super::limits::Limits;
use super::listener::{Answer, Peer};
use super::response::{self, Site, Tongue};
use super::route::{self, Route};
use super::warm::Warm;
use super::{admin, cran, home, public};
use crate::logs::{Access, Record};
use crate::repo::Repo;
use crate::state::State;
use crate::sync::Sync;

/// What an administrator may command the process itself.
#[derive(Clone)]
pub struct Control {
    /// Writes what is queued, then opens every log file anew. Blocks.
    pub reopen_logs: Arc<dyn Fn() -> Result<(), String> + Send + std::marker::Sync>,
    /// Wakes whoever stops the process.
    pub stop: Arc<tokio::sync::Notify>,
}

/// Everything an answer may need; built once by `daemon`.
pub struct App {
    /// Handles of the stores and shared rooms.
    pub state: Arc<State>,
    /// Repositories.
    pub repo: Repo,
    /// Syncs.
    pub sync: Sync,
    /// Commands to the process.
    pub control: Control,
    /// Headers and the path prefix.
    pub site: Arc<Site>,
    /// Limits of requests.
    pub limits: Limits,
    /// The access log.
    pub access: Access,
    /// Resolved addresses that were asked for before.
    pub warm: Warm,
}

/// The door on the network: everything but the admin API.
#[derive(Clone)]
pub struct PublicDoor(pub Arc<App>);

/// The door on the admin socket: the admin API, and everything else too.
#[derive(Clone)]
pub struct AdminDoor(pub Arc<App>);

impl Answer for PublicDoor {
    async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let app = &*self.0;
        let began = (app.state.clock)();
        // The body is dropped unread: no public address takes one.
        let (parts, _) = request.into_parts();
        let path = app.site.strip(parts.uri.path());
        let mut response = match app.warm.get(&app.state, began, path, parts.uri.query()) {
            Some(entry) => cran::answer(app, &entry, &parts).await,
            None => match route::parse(&parts.method, path, parts.uri.query(), app.limits.target_bytes) {
                Err(failure) => response::failure(&failure, tongue(path)),
                Ok((Route::Admin(_), _)) => {
                    response::failure(&Failure::not_found("there is nothing at this address"), Tongue::Json)
                }
                Ok((route, query)) => read(app, route, &query, &parts, path).await,
            },
        };
        let tls = matches!(peer, Peer::Tcp { tls: true, .. });
        app.site.dress(tls, &mut response);
        log(app, peer, began.0, parts, &mut response);
        response
    }
}

impl Answer for AdminDoor {
    async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let app = &*self.0;
        let path = app.site.strip(request.uri().path()).to_owned();
        let mut response =
            match route::parse(request.method(), &path, request.uri().query(), app.limits.target_bytes) {
                Err(failure) => response::failure(&failure, tongue(&path)),
                Ok((Route::Admin(rest), query)) => admin::answer(app, peer, request, &rest, &query).await,
                Ok((route, query)) => {
                    let (parts, _) = request.into_parts();
                    read(app, route, &query, &parts, &path).await
                }
            };
        app.site.dress(false, &mut response);
        response
    }
}

async fn read(
    app: &App,
    route: Route,
    query: &super::target::Query,
    parts: &Parts,
    path: &str,
) -> Response<Body> {
    let answered = match route {
        Route::Ping => Ok(response::json(http::StatusCode::OK, &serde_json::json!({}))),
        Route::Home => Ok(home::page(&app.state.catalog.get(), app.site.address.as_deref())),
        Route::Repository { repo, snapshot, path: None } => {
            home::repository(app, &repo, snapshot, parts).await
        }
        Route::Repository { repo, snapshot, path: Some(wanted) } => {
            match cran::find(app, &repo, snapshot, wanted).await {
                Err(failure) => Err(failure),
                Ok(entry) => {
                    let entry = app.warm.keep(path, entry);
                    Ok(cran::answer(app, &entry, parts).await)
                }
            }
        }
        Route::Public(route) => return public::answer(app, &route, query).await.unwrap_or_else(json),
        Route::Admin(_) => Err(Failure::not_found("there is nothing at this address")),
    };
    answered.unwrap_or_else(text)
}

fn text(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Text)
}

fn json(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Json)
}

fn tongue(path: &str) -> Tongue {
    if path.starts_with("/__api__/") { Tongue::Json } else { Tongue::Text }
}

/// One line of the access log: at once when the size is known, else when the body ends.
fn log(app: &App, peer: Peer, time: i64, parts: Parts, response: &mut Response<Body>) {
    let access = &app.access;
    let remote = match peer {
        Peer::Tcp { address, .. } => address.ip().to_canonical(),
        Peer::Unix { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let status = response.status().as_u16();
    match response.body().known_size() {
        Some(bytes) => line(access, remote, time, &parts, status, bytes),
        None => {
            let access = access.clone();
            response.body_mut().on_finish(move |bytes| line(&access, remote, time, &parts, status, bytes));
        }
    }
}

fn line(access: &Access, remote: IpAddr, time: i64, parts: &Parts, status: u16, bytes: u64) {
    let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    access.log(&Record {
        remote,
        user: None,
        time,
        method: parts.method.as_str(),
        target: parts.uri.path_and_query().map_or("*", |target| target.as_str()),
        version: match parts.version {
            http::Version::HTTP_09 => "HTTP/0.9",
            http::Version::HTTP_10 => "HTTP/1.0",
            http::Version::HTTP_2 => "HTTP/2.0",
            http::Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        },
        status,
        bytes,
        referer: field(http::header::REFERER),
        user_agent: field(http::header::USER_AGENT),
    });
}
