//! The service of `HTTPRedirect.Listen`: redirects every request to its HTTPS address.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::http::error::Failure;
use crate::http::host_header::{host_name, normalize_host};
use crate::http::net::body::Body;
use crate::http::net::request_body::Incoming;
use crate::http::net::{Peer, Service};
use crate::http::response::{self, ErrorFormat};
use crate::http::site::SiteSettings;

#[derive(Clone)]
pub struct Redirect {
    site: Arc<ArcSwap<SiteSettings>>,
    /// Port of `HTTPS.Listen`.
    port: u16,
}

impl Redirect {
    /// Creates a service that redirects to an `https://` host in `Server.Address`, else the requested one at `port`.
    pub fn new(site: Arc<ArcSwap<SiteSettings>>, port: u16) -> Redirect {
        Redirect { site, port }
    }

    fn location(&self, host: Option<&str>, target: &str) -> Result<HeaderValue, Failure> {
        let site = self.site.load();
        let address = site.address.as_deref().filter(|address| address.starts_with("https://"));
        let origin = match address {
            Some(address) => {
                let end = address[8..].find('/').map_or(address.len(), |at| at + 8);
                address[..end].to_owned()
            }
            None => {
                let host = host
                    .and_then(host_name)
                    .ok_or_else(|| Failure::bad_request("the request names no usable host to redirect to"))?;
                match self.port {
                    443 => format!("https://{host}"),
                    port => format!("https://{host}:{port}"),
                }
            }
        };
        // SECURITY: the target is visible ASCII and begins with '/', so it cannot end the header or extend the host.
        if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::bad_request("the request target must be a path that begins with '/'"));
        }
        HeaderValue::try_from(format!("{origin}{target}"))
            .map_err(|_| Failure::bad_request("the request target cannot be redirected"))
    }
}

impl Service for Redirect {
    async fn handle(&self, _peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
        let host_check = normalize_host(&mut request);
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut response = match host_check.and_then(|()| self.location(host, target)) {
            Err(failure) => response::failure(&failure, ErrorFormat::Text),
            Ok(location) => {
                // 308 keeps method and body; old clients know only 301.
                let status = match *request.method() {
                    Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
                    _ => StatusCode::PERMANENT_REDIRECT,
                };
                response::redirect(status, location)
            }
        };
        self.site.load().apply(false, &mut response);
        response
    }
}
