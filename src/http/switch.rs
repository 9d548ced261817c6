//! Open or shut: the one place that says what answers a request at this moment, and the two doors that ask it.

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

/// How soon a client should ask again, in seconds: a start is short, the others take as long as an administrator.
const STARTING: u64 = 5;
const OFFLINE: u64 = 60;
const BROKEN: u64 = 30;

/// What there is of a server whether it is open or shut.
pub struct Porch {
    /// Commands to the process, and its mode.
    pub control: Control,
    /// Headers and the path prefix.
    pub site: Arc<ArcSwap<Site>>,
    /// The access log.
    pub access: Access,
    /// The log of requests for packages.
    pub service: ServiceLog,
    /// Limits of requests.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// What an administrator should know whatever the mode is: part of every summary.
    pub remark: ArcSwapOption<String>,
}

/// Behind every door: the app that answers, or none. Cloning shares it.
#[derive(Clone)]
pub struct Switch(Arc<Inner>);

struct Inner {
    app: ArcSwapOption<App>,
    porch: Porch,
}

impl Switch {
    /// Shut.
    #[must_use]
    pub fn new(porch: Porch) -> Switch {
        Switch(Arc::new(Inner { app: ArcSwapOption::empty(), porch }))
    }

    /// What there is in every mode.
    #[must_use]
    pub fn porch(&self) -> &Porch {
        &self.0.porch
    }

    /// The app that answers now.
    #[must_use]
    pub fn app(&self) -> Option<Arc<App>> {
        self.0.app.load_full()
    }

    /// From now on `app` answers.
    pub fn open(&self, app: Arc<App>) {
        self.0.app.store(Some(app));
    }

    /// From now on every request gets 503, in the words of the mode. Returns the app that answered; whoever else
    /// still holds it is a request under way.
    #[must_use]
    pub fn shut(&self) -> Option<Arc<App>> {
        self.0.app.swap(None)
    }
}

/// The door on the network: everything but the admin API.
#[derive(Clone)]
pub struct PublicDoor(pub Switch);

/// The door on the admin socket: the admin API, and everything else too.
#[derive(Clone)]
pub struct AdminDoor(pub Switch);

impl Answer for PublicDoor {
    async fn answer(&self, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let porch = self.0.porch();
        let (began, since) = ((porch.clock)(), Instant::now());
        let settled = authority::settle(&mut request);
        let (parts, body) = request.into_parts();
        let path = porch.site.load().strip(parts.uri.path());
        let mut response = match settled.map(|()| self.0.app()) {
            Err(failure) => response::failure(&failure, tongue(path)),
            Ok(Some(app)) => {
                let mut response = app.public(&Head { peer, parts: &parts, path, began }, body).await;
                response.body_mut().comes_from(app);
                response
            }
            Ok(None) => response::failure(&shut(&porch.control.mode(), Hearer::Anybody), tongue(path)),
        };
        let tls = matches!(peer, Peer::Tcp { tls: true, .. });
        porch.site.load().dress(tls, &mut response);
        access::log(&porch.access, peer, Came { time: began.0, since }, parts, &mut response);
        response
    }
}

impl Answer for AdminDoor {
    async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let porch = self.0.porch();
        let began = (porch.clock)();
        let path = porch.site.load().strip(request.uri().path()).to_owned();
        let limit = porch.limits.target_bytes;
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
                None => response::failure(&shut(&porch.control.mode(), Hearer::Administrator), tongue(&path)),
            },
        };
        porch.site.load().dress(false, &mut response);
        response
    }
}

/// Who reads why the server does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearer {
    /// Anybody on the network.
    Anybody,
    /// Somebody at the admin socket.
    Administrator,
}

/// 503 in the words of the mode.
pub(super) fn shut(mode: &Mode, hearer: Hearer) -> Failure {
    match mode {
        Mode::Offline => {
            let way_out = match hearer {
                Hearer::Anybody => "",
                Hearer::Administrator => "; bring it back with: rspm online",
            };
            Failure::unavailable(format!("the server is offline{way_out}"), OFFLINE)
        }
        Mode::Broken(fault) => match hearer {
            // SECURITY: paths, hosts and whatever else an error tells are not for strangers.
            Hearer::Anybody => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.phrase), BROKEN)
            }
            Hearer::Administrator => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.detail), BROKEN)
            }
        },
        Mode::Starting(what) => Failure::unavailable(format!("the server is starting: {what}"), STARTING),
        // The moment between a change and its being said.
        Mode::Online | Mode::Leaving => Failure::unavailable("the server changes its mode", STARTING),
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
