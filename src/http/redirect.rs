//! `HTTPRedirect.Listen`: every plain request is sent to its HTTPS address.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::Body;
use super::error::Failure;
use super::listener::{Answer, Peer};
use super::response::{self, Site, Tongue};

/// Answers with redirects; cloning shares it.
#[derive(Clone)]
pub struct Redirect {
    site: Arc<ArcSwap<Site>>,
    /// Port of `HTTPS.Listen`.
    port: u16,
}

impl Redirect {
    /// To the host of `Server.Address` where that is an `https://` address, else to the host the client asked, at
    /// the port of `HTTPS.Listen`.
    #[must_use]
    pub fn new(site: Arc<ArcSwap<Site>>, port: u16) -> Redirect {
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
                let host = host.and_then(host_name).ok_or_else(|| {
                    Failure::bad_request("the request names no usable host, so there is no address to go to")
                })?;
                match self.port {
                    443 => format!("https://{host}"),
                    port => format!("https://{host}:{port}"),
                }
            }
        };
        // SECURITY: the target is visible ASCII (hyper parsed it) and begins with '/', so that it can neither end
        // the header nor extend the host; a header value refuses line ends besides.
        if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::bad_request("the request target must be a path that begins with '/'"));
        }
        HeaderValue::try_from(format!("{origin}{target}"))
            .map_err(|_| Failure::bad_request("the request target cannot be redirected"))
    }
}

/// The host of a `Host` field without its port: a name, an IPv4 or a bracketed IPv6 address.
fn host_name(field: &str) -> Option<&str> {
    if let Some(rest) = field.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let good = address.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        return good.then(|| &field[..address.len() + 2]);
    }
    let (host, port) = field.find(':').map_or((field, ""), |at| field.split_at(at));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let good =
        (1..=253).contains(&host.len()) && host.bytes().all(plain) && (port.is_empty() || is_port(port));
    good.then_some(host)
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
}

impl Answer for Redirect {
    async fn answer(&self, _peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut response = match self.location(host, target) {
            Err(failure) => response::failure(&failure, Tongue::Text),
            Ok(location) => {
                // 308 keeps method and body; old clients know only 301.
                let status = match *request.method() {
                    Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
                    _ => StatusCode::PERMANENT_REDIRECT,
                };
                response::redirect(status, location)
            }
        };
        self.site.load().dress(false, &mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_are_hosts() {
        assert_eq!(host_name("pm.example.org:80"), Some("pm.example.org"));
        assert_eq!(host_name("192.0.2.1"), Some("192.0.2.1"));
        assert_eq!(host_name("[2001:db8::1]:80"), Some("[2001:db8::1]"));
        for bad in
            ["", "a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[x]", "[::1]x", "a\r\nb", "a:99999", "ä"]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }
}
