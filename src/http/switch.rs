//! The app that serves requests, or 503 while there is none, and the public and admin services that use it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{Request, Response};

use super::admin;
use super::app::App;
use super::base_url::RequestHead;
use super::body::Body;
use super::error::Failure;
use super::host_header;
use super::limits::Limits;
use super::listener::{Peer, Service};
use super::request_body::Incoming;
use super::request_log::{self, Arrival};
use super::response::{self, ErrorFormat, SiteSettings};
use super::route::{self, Route};
use crate::control::{Control, Mode};
use crate::logs::{AccessLog, ServiceLog};
use crate::model::time::Clock;

/// `Retry-After` in seconds of each mode: a start is short, the others last until an administrator acts.
const STARTING: u64 = 5;
const OFFLINE: u64 = 60;
const BROKEN: u64 = 30;

/// State that exists in every mode of the server.
pub struct ServerContext {
    /// Commands to the process, and its mode.
    pub control: Control,
    /// Headers and the path prefix.
    pub site: Arc<ArcSwap<SiteSettings>>,
    /// The access log.
    pub access_log: AccessLog,
    /// The service log, of requests for packages.
    pub service_log: ServiceLog,
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
    context: ServerContext,
}

impl Switch {
    /// A switch without an app.
    #[must_use]
    pub fn new(porch: ServerContext) -> Switch {
        Switch(Arc::new(Inner { app: ArcSwapOption::empty(), context: porch }))
    }

    /// The state that exists in every mode.
    #[must_use]
    pub fn context(&self) -> &ServerContext {
        &self.0.context
    }

    /// The app that serves requests now.
    #[must_use]
    pub fn app(&self) -> Option<Arc<App>> {
        self.0.app.load_full()
    }

    /// Serves requests by `app` from now on.
    pub fn set_app(&self, app: Arc<App>) {
        self.0.app.store(Some(app));
    }

    /// Answers every request with 503 and the phrase of the mode from now on. Returns the previous app; its other
    /// references are held by requests in progress.
    #[must_use]
    pub fn take_app(&self) -> Option<Arc<App>> {
        self.0.app.swap(None)
    }
}

/// The service on the network: everything but the admin API.
#[derive(Clone)]
pub struct PublicService(pub Switch);

/// The service on the admin socket: the admin API, and everything else too.
#[derive(Clone)]
pub struct AdminService(pub Switch);

impl Service for PublicService {
    async fn handle(&self, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let context = self.0.context();
        let (began, since) = ((context.clock)(), Instant::now());
        let settled = host_header::normalise_host(&mut request);
        let (parts, body) = request.into_parts();
        let path = context.site.load().strip_prefix(parts.uri.path());
        let mut response = match settled.map(|()| self.0.app()) {
            Err(failure) => response::failure(&failure, error_format(path)),
            Ok(Some(app)) => {
                let mut response =
                    app.public(&RequestHead { peer, parts: &parts, path, received_at: began }, body).await;
                response.body_mut().set_owner(app);
                response
            }
            Ok(None) => response::failure(
                &unavailable(&context.control.mode(), Audience::Network),
                error_format(path),
            ),
        };
        let tls = matches!(peer, Peer::Tcp { tls: true, .. });
        context.site.load().apply(tls, &mut response);
        request_log::log(&context.access_log, peer, Arrival { time: began.0, since }, parts, &mut response);
        response
    }
}

impl Service for AdminService {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let context = self.0.context();
        let began = (context.clock)();
        let path = context.site.load().strip_prefix(request.uri().path()).to_owned();
        let limit = context.limits.target_bytes;
        let mut response = match route::parse(request.method(), &path, request.uri().query(), limit) {
            Err(failure) => response::failure(&failure, error_format(&path)),
            Ok((Route::Admin(rest), query)) => admin::answer(&self.0, peer, request, &rest, &query).await,
            Ok((route, query)) => match self.0.app() {
                Some(app) => {
                    let (parts, body) = request.into_parts();
                    let head = RequestHead { peer, parts: &parts, path: &path, received_at: began };
                    let mut response = app.read(route, &query, &head, body).await;
                    response.body_mut().set_owner(app);
                    response
                }
                None => response::failure(
                    &unavailable(&context.control.mode(), Audience::Administrator),
                    error_format(&path),
                ),
            },
        };
        context.site.load().apply(false, &mut response);
        response
    }
}

/// The reader of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Any client on the network.
    Network,
    /// A client of the admin socket.
    Administrator,
}

/// The 503 failure of a mode.
pub(super) fn unavailable(mode: &Mode, hearer: Audience) -> Failure {
    match mode {
        Mode::Offline => {
            let way_out = match hearer {
                Audience::Network => "",
                Audience::Administrator => "; to serve again, run: rspm online",
            };
            Failure::unavailable(format!("the server is offline{way_out}"), OFFLINE)
        }
        Mode::Broken(fault) => match hearer {
            // SECURITY: paths, hosts and other details of an error are not disclosed on the network.
            Audience::Network => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.phrase), BROKEN)
            }
            Audience::Administrator => {
                Failure::unavailable(format!("the server cannot serve: {}", fault.detail), BROKEN)
            }
        },
        Mode::Starting(what) => Failure::unavailable(format!("the server is starting: {what}"), STARTING),
        // Reached only while the mode changes.
        Mode::Online | Mode::GoingOffline => {
            Failure::unavailable("the server is changing its mode", STARTING)
        }
    }
}

pub(super) fn error_format(path: &str) -> ErrorFormat {
    if path.starts_with("/__api__/") { ErrorFormat::Json } else { ErrorFormat::Text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::BrokenReason;

    #[test]
    fn clients_get_a_phrase_and_administrators_the_error() {
        let fault = BrokenReason {
            phrase: "the database (Postgres.URL) cannot be used".to_owned(),
            detail: "postgres://db.internal refuses".to_owned(),
            reachable: true,
        };
        let mode = Mode::Broken(fault);
        let (anybody, administrator) =
            (unavailable(&mode, Audience::Network), unavailable(&mode, Audience::Administrator));
        assert!(anybody.phrase.contains("Postgres.URL") && !anybody.phrase.contains("internal"));
        assert!(administrator.phrase.contains("db.internal"));
        for mode in [mode, Mode::Starting("opening the database"), Mode::Offline] {
            let failure = unavailable(&mode, Audience::Network);
            assert_eq!(failure.status, http::StatusCode::SERVICE_UNAVAILABLE);
            assert!(failure.retry_after.is_some());
        }
    }
}
