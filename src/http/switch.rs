//! The app that serves requests, or 503 while there is none, and the public and admin services that use it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{Request, Response};

use super::access::{self, Came};
use super::admin;
use super::app::App;
use super::authority;
use super::body::Body;
use super::error::Failure;
use super::incoming::Incoming;
use super::limits::Limits;
use super::listener::{Answer, Peer};
use super::origin::Head;
use super::response::{self, Site, Tongue};
use super::route::{self, Route};
use crate::control::{Control, Mode};
use crate::logs::{Access, ServiceLog};
use crate::model::time::Clock;

/// `Retry-After` in seconds of each mode: a start is short, the others last until an administrator acts.
const STARTING: u64 = 5;
const OFFLINE: u64 = 60;
const BROKEN: u64 = 30;

/// State that exists in every mode of the server.
pub struct Porch {
    /// Commands to the process, and its mode.
    pub control: Control,
    /// Headers and the path prefix.
    pub site: Arc<ArcSwap<Site>>,
    /// The access log.
    pub access: Access,
    /// The service log, of requests for packages.
    pub service: ServiceLog,
    /// Request limits.
    pub limits: Limits,
    /// The clock.
    pub clock: Clock,
    /// A remark for administrators that is part of every summary, in every mode.
    pub remark: ArcSwapOption<String>,
}

/// Holds the app that serves requests, or none. Clones share it.
#[derive(Clone)]
pub struct Switch(Arc<Inner>);

struct Inner {
    app: ArcSwapOption<App>,
    porch: Porch,
}

impl Switch {
    /// A switch without an app.
    #[must_use]
    pub fn new(porch: Porch) -> Switch {
        Switch(Arc::new(Inner { app: ArcSwapOption::empty(), porch }))
    }

    /// The state that exists in every mode.
    #[must_use]
    pub fn porch(&self) -> &Porch {
        &self.0.porch
    }

    /// The app that serves requests now.
    #[must_use]
    pub fn app(&self) -> Option<Arc<App>> {
        self.0.app.load_full()
    }

    /// Serves requests by `app` from now on.
    pub fn open(&self, app: Arc<App>) {
        self.0.app.store(Some(app));
    }

    /// Answers every request with 503 and the phrase of the mode from now on. Returns the previous app; its other
    /// references are held by requests in progress.
    #[must_use]
    pub fn shut(&self) -> Option<Arc<App>> {
        self.0.app.swap(None)
    }
}

/// The service on the network: everything but the admin API.
#[derive(Clone)]
pub struct PublicDoor(pub Switch);

/// The service on the admin socket: the admin API, and everything else too.
#[derive(Clone)]
pub struct AdminDoor(pub Switch);

impl Answer for PublicDoor {
    async fn answer(&self, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let context = self.0.porch();
        let (began, since) = ((context.clock)(), Instant::now());
        let settled = authority::settle(&mut request);
        let (parts, body) = request.into_parts();
        let path = context.site.load().strip(parts.uri.path());
        let mut response = match settled.map(|()| self.0.app()) {
            Err(failure) => response::failure(&failure, tongue(path)),
            Ok(Some(app)) => {
                let mut response = app.public(&Head { peer, parts: &parts, path, began }, body).await;
                response.body_mut().comes_from(app);
                response
            }
            Ok(None) => response::failure(&shut(&context.control.mode(), Hearer::Anybody), tongue(path)),
        };
        let tls = matches!(peer, Peer::Tcp { tls: true, .. });
        context.site.load().dress(tls, &mut response);
        access::log(&context.access, peer, Came { time: began.0, since }, parts, &mut response);
        response
    }
}

impl Answer for AdminDoor {
    async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let context = self.0.porch();
        let began = (context.clock)();
        let path = context.site.load().strip(request.uri().path()).to_owned();
        let limit = context.limits.target_bytes;
        let mut response = match route::parse(request.method(), &path, request.uri().query(), limit) {
            Err(failure) => response::failure(&failure, tongue(&path)),
            Ok((Route::Admin(rest), query)) => admin::answer(&self.0, peer, request, &rest, &query).await,
            Ok((route, query)) => match self.0.app() {
                Some(app) => {
                    let (parts, body) = request.into_parts();
                    let head = Head { peer, parts: &parts, path: &path, began };
                    let mut response = app.read(route, &query, &head, body).await;
                    response.body_mut().comes_from(app);
                    response
                }
                None => {
                    response::failure(&shut(&context.control.mode(), Hearer::Administrator), tongue(&path))
                }
            },
        };
        context.site.load().dress(false, &mut response);
        response
    }
}

/// The reader of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearer {
    /// Any client on the network.
    Anybody,
    /// A client of the admin socket.
    Administrator,
}

/// The 503 failure of a mode.
pub(super) fn shut(mode: &Mode, hearer: Hearer) -> Failure {
    match mode {
        Mode::Offline => {
            let way_out = match hearer {
                Hearer::Anybody => "",
                Hearer::Administrator => "; to serve again, run: rspm online",
            };
            Failure::unavailable(format!("the server is offline{way_out}"), OFFLINE)
        }
        Mode::Broken(fault) => match hearer {
            // SECURITY: paths, hosts and other details of an error are not disclosed on the network.
            Hearer::Anybody => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.phrase), BROKEN)
            }
            Hearer::Administrator => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.detail), BROKEN)
            }
        },
        Mode::Starting(what) => Failure::unavailable(format!("the server is starting: {what}"), STARTING),
        // Reached only while the mode changes.
        Mode::Online | Mode::Leaving => Failure::unavailable("the server is changing its mode", STARTING),
    }
}

pub(super) fn tongue(path: &str) -> Tongue {
    if path.starts_with("/__api__/") { Tongue::Json } else { Tongue::Text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Fault;

    #[test]
    fn strangers_read_a_phrase_and_administrators_the_error() {
        let fault = Fault {
            phrase: "the database (Postgres.URL) cannot be used".to_owned(),
            detail: "postgres://db.internal refuses".to_owned(),
            reachable: true,
        };
        let mode = Mode::Broken(fault);
        let (anybody, administrator) = (shut(&mode, Hearer::Anybody), shut(&mode, Hearer::Administrator));
        assert!(anybody.phrase.contains("Postgres.URL") && !anybody.phrase.contains("internal"));
        assert!(administrator.phrase.contains("db.internal"));
        for mode in [mode, Mode::Starting("opening the database"), Mode::Offline] {
            let failure = shut(&mode, Hearer::Anybody);
            assert_eq!(failure.status, http::StatusCode::SERVICE_UNAVAILABLE);
            assert!(failure.retry_after.is_some());
        }
    }
}
