//! Writes the access log line of a request, and counts it: at once if the size of the response is known, else at its end.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use http::request::Parts;
use http::{Method, Response, Uri, Version};

use crate::http::net::Peer;
use crate::http::net::body::Body;
use crate::http::recent_requests::AddressKind;
use crate::http::switch::Switch;
use base::metrics;
use base::model::time::Timestamp;
use store::logs::{AccessEntry, MAX_FIELD};

/// The arrival of a request.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) time: Timestamp,
    pub(super) instant: Instant,
    pub(super) kind: AddressKind,
}

struct LoggedRequest<'a> {
    method: Method,
    version: Version,
    target: Cow<'a, str>,
    referer: Option<Cow<'a, [u8]>>,
    user_agent: Option<Cow<'a, [u8]>>,
}

/// Logs the request, now or when the body of the response ends.
pub(super) fn log(
    switch: &Switch,
    peer: Peer,
    arrival: Arrival,
    parts: Parts,
    response: &mut Response<Body>,
) {
    let remote = match peer {
        Peer::Tcp { address, .. } => address.ip().to_canonical(),
        Peer::Unix { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let status = response.status().as_u16();
    match response.body().known_size() {
        Some(bytes) => write_line(switch, remote, arrival, &LoggedRequest::of(&parts), status, bytes),
        None => {
            let (switch, request) = (switch.clone(), LoggedRequest::of(&parts).into_truncated());
            response
                .body_mut()
                .on_finish(move |bytes| write_line(&switch, remote, arrival, &request, status, bytes));
        }
    }
}

impl<'a> LoggedRequest<'a> {
    fn of(parts: &'a Parts) -> LoggedRequest<'a> {
        let field = |name| parts.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes()));
        LoggedRequest {
            method: parts.method.clone(),
            version: parts.version,
            target: target(&parts.uri).into(),
            referer: field(http::header::REFERER),
            user_agent: field(http::header::USER_AGENT),
        }
    }

    /// Returns an owned copy of the logged part, because the head of a request may be twenty times as long.
    fn into_truncated(self) -> LoggedRequest<'static> {
        // One byte more than is written, so that the log shows that the field is truncated.
        let copy = |text: Cow<'_, [u8]>| Cow::Owned(text[..text.len().min(MAX_FIELD + 1)].to_vec());
        LoggedRequest {
            method: self.method,
            version: self.version,
            target: Cow::Owned(self.target.into_owned()),
            referer: self.referer.map(copy),
            user_agent: self.user_agent.map(copy),
        }
    }
}

/// Returns the target of a request. SECURITY: omits the query at addresses of sign-in, because it contains codes.
fn target(uri: &Uri) -> &str {
    if uri.path().contains("/__login__") {
        return uri.path();
    }
    uri.path_and_query().map_or("*", |target| target.as_str())
}

fn write_line(
    switch: &Switch,
    remote: IpAddr,
    arrival: Arrival,
    request: &LoggedRequest<'_>,
    status: u16,
    bytes: u64,
) {
    tracing::debug!(%remote, method = %request.method, target = &*request.target, status, bytes, "answered a request");
    let (context, duration) = (switch.context(), arrival.instant.elapsed());
    metrics::request_completed(&request.method, status, bytes, duration);
    let path = request.target.split('?').next().unwrap_or_default();
    context.recent_requests.record(arrival.time, arrival.kind, status, duration, path);
    context.access_log.log(&AccessEntry {
        remote,
        user: None,
        time: arrival.time.0,
        method: request.method.as_str(),
        target: &request.target,
        version: match request.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        },
        status,
        bytes,
        referer: request.referer.as_deref(),
        user_agent: request.user_agent.as_deref(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_part_of_a_request_is_the_logged_part() {
        let long = "a".repeat(60_000);
        let request = http::Request::get("/x?y=1").header("user-agent", &long).header("cookie", &long);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let logged = LoggedRequest::of(&parts).into_truncated();
        assert_eq!((&*logged.target, logged.referer), ("/x?y=1", None));
        assert_eq!(logged.user_agent.expect("sent").len(), MAX_FIELD + 1);
    }

    #[test]
    fn codes_of_a_sign_in_are_not_logged() {
        let request = http::Request::get("/rspm/__login__/callback?code=secret&state=secret");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        assert_eq!(LoggedRequest::of(&parts).target, "/rspm/__login__/callback");
    }
}
