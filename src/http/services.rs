//! The services that listeners use: the public service on the network, and the service on the admin socket.

use std::time::Instant;

use http::header::HOST;
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};

use crate::http::api::admin::{self, AdminHead, AdminRequest};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::body::Body;
use crate::http::net::request_body::Incoming;
use crate::http::net::{Peer, Service};
use crate::http::recent_requests::AddressKind;
use crate::http::request_log::{self, Arrival};
use crate::http::response::{self, ErrorFormat};
use crate::http::route::{self, Route};
use crate::http::switch::{self, Switch};
use crate::http::web::administration;
use crate::http::{dispatch, host_header};
use api::error::Code;
use base::model::time::Timestamp;

const PING: &str = "/__ping__";
/// `Retry-After` of a stopping server, in seconds.
const STOPPING_RETRY_AFTER: u64 = 5;

const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The service on the network. It serves the admin API to clients with a token.
#[derive(Clone)]
pub struct PublicService(pub Switch);

/// The service on the admin socket: the admin API and all other routes.
#[derive(Clone)]
pub struct AdminService(pub Switch);

impl Service for PublicService {
    async fn handle(&self, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let context = self.0.context();
        let (received_at, started) = ((context.clock)(), Instant::now());
        let host_check = host_header::normalize_host(&mut request);
        let (parts, body) = request.into_parts();
        let path = context.site.load().strip_prefix(parts.uri.path());
        let kind = AddressKind::of_path(path);
        let mut response = match host_check.map(|()| self.0.app()) {
            Err(failure) => response::failure(&failure, ErrorFormat::of_path(path)),
            Ok(_) if path == PING && context.control.is_stopping() => response::failure(
                &Failure::unavailable("the server is stopping or going offline", STOPPING_RETRY_AFTER),
                ErrorFormat::Text,
            ),
            Ok(Some(app)) => match client(&app, peer, &parts, path, received_at).await {
                Err(failure) => {
                    let mut response = response::failure(&failure, ErrorFormat::of_path(path));
                    response.body_mut().set_owner(app);
                    response
                }
                Ok(principal) if admin::is_admin_path(path) => {
                    let address = app.site.load().client_address(peer, &parts.headers);
                    let request = AdminHead { peer, address, parts: &parts, path, principal };
                    Box::pin(admin::answer_on_network(&self.0, app, request, body)).await
                }
                Ok(principal) if administration::is_path(path) => {
                    let head = RequestHead { peer, parts: &parts, path, received_at, principal: &principal };
                    Box::pin(administration::answer(&self.0, app, &head, body)).await
                }
                Ok(principal) => {
                    let head = RequestHead { peer, parts: &parts, path, received_at, principal: &principal };
                    let mut response = dispatch::network(&app, &head, body).await;
                    response.body_mut().set_owner(app);
                    response
                }
            },
            Ok(None) => response::failure(
                &switch::unavailable(&context.control.mode(), &Principal::Anonymous),
                ErrorFormat::of_path(path),
            ),
        };
        let tls = matches!(peer, Peer::Tcp { tls: true, .. });
        context.site.load().apply(tls, &mut response);
        request_log::log(
            &self.0,
            peer,
            Arrival { time: received_at, instant: started, kind },
            parts,
            &mut response,
        );
        response
    }
}

/// Determines the client of a request, and makes background reads of storage yield. Health checks skip both.
async fn client(
    app: &App,
    peer: Peer,
    parts: &Parts,
    path: &str,
    now: Timestamp,
) -> Result<Principal, Failure> {
    if path == PING {
        return Ok(Principal::Anonymous);
    }
    app.state.storage.add_demand();
    Principal::from_request(app, peer, parts, path, now).await
}

impl Service for AdminService {
    async fn handle(&self, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let context = self.0.context();
        let received_at = (context.clock)();
        // SECURITY: through a forwarded port, a browser may reach the socket under a host name that the page
        // of another site resolves to this machine (DNS rebinding).
        let host_check = host_header::normalize_host(&mut request).and_then(|()| require_localhost(&request));
        if let Err(failure) = host_check {
            return response::failure(&failure, ErrorFormat::of_path(request.uri().path()));
        }
        let path = context.site.load().strip_prefix(request.uri().path()).to_owned();
        let limit = context.limits.target_bytes;
        let mut response = match route::parse(request.method(), &path, request.uri().query(), limit) {
            Err(failure) => response::failure(&failure, ErrorFormat::of_path(&path)),
            Ok((Route::Admin(route), query)) => {
                let is_confidential = true;
                let request = AdminRequest {
                    peer,
                    address: None,
                    request,
                    path,
                    route,
                    query,
                    principal: Principal::Administrator,
                    is_confidential,
                };
                admin::answer(&self.0, request).await
            }
            Ok((route, query)) => match self.0.app() {
                Some(app) => {
                    let (parts, body) = request.into_parts();
                    let principal = &Principal::Administrator;
                    let head = RequestHead { peer, parts: &parts, path: &path, received_at, principal };
                    if let Route::Administration(_) = route {
                        administration::answer(&self.0, app, &head, body).await
                    } else {
                        let mut response = dispatch::read(&app, route, &query, &head, body).await;
                        response.body_mut().set_owner(app);
                        response
                    }
                }
                None => response::failure(
                    &switch::unavailable(&context.control.mode(), &Principal::Administrator),
                    ErrorFormat::of_path(&path),
                ),
            },
        };
        context.site.load().apply(false, &mut response);
        response
    }
}

/// Checks that the host of a request is this machine; fails with 421 (RFC 9110, 15.5.20).
fn require_localhost<B>(request: &Request<B>) -> Result<(), Failure> {
    let host = request.headers().get(HOST).and_then(|host| host_header::host_name(host.to_str().ok()?));
    let is_local = |host: &str| LOCAL_HOSTS.iter().any(|local| host.eq_ignore_ascii_case(local));
    // HTTP/1.0 does not require `Host`; browsers do not use HTTP/1.0.
    match host {
        None if request.version() == Version::HTTP_10 => Ok(()),
        Some(host) if is_local(host) => Ok(()),
        _ => Err(Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            Code::Invalid,
            "the admin socket serves only http://localhost/",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<A, B, F: Future>(_: impl Fn(&'static PublicService, A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request moves its future, at first into the connection. Futures that few requests need must be boxed.
    #[test]
    fn the_future_of_a_request_is_small() {
        let size = future_size(|service, peer, request| service.handle(peer, request));
        assert!(size <= 4096, "{size} bytes");
    }

    #[test]
    fn the_admin_socket_serves_only_this_machine() {
        let check = |version: Version, host: Option<&str>| {
            let mut request = Request::builder().version(version).uri("/");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            require_localhost(&request.body(()).expect("a request")).is_ok()
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:4242", "[::1]", "[::1]:80"] {
            assert!(check(Version::HTTP_11, Some(host)), "{host}");
        }
        for host in ["localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "evil.example:80", ""] {
            assert!(!check(Version::HTTP_11, Some(host)), "{host}");
            assert!(!check(Version::HTTP_10, Some(host)) || host.is_empty(), "{host}");
        }
        assert!(check(Version::HTTP_10, None) && !check(Version::HTTP_11, None));
    }
}
