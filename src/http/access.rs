//! From a request and its answer to one line of the access log and to the counters: at once when the size is known,
//! else when the body ends.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use http::Response;
use http::request::Parts;

use super::body::Body;
use super::listener::Peer;
use crate::logs::{Access, Record};
use crate::metrics;

/// When a request came.
#[derive(Clone, Copy)]
pub(super) struct Came {
    /// Microseconds since the epoch.
    pub(super) time: i64,
    /// The same by a clock that nobody sets.
    pub(super) since: Instant,
}

/// Writes the line, or has it written.
pub(super) fn log(access: &Access, peer: Peer, came: Came, parts: Parts, response: &mut Response<Body>) {
    let remote = match peer {
        Peer::Tcp { address, .. } => address.ip().to_canonical(),
        Peer::Unix { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let status = response.status().as_u16();
    match response.body().known_size() {
        Some(bytes) => line(access, remote, came, &parts, status, bytes),
        None => {
            let access = access.clone();
            response.body_mut().on_finish(move |bytes| line(&access, remote, came, &parts, status, bytes));
        }
    }
}

fn line(access: &Access, remote: IpAddr, came: Came, parts: &Parts, status: u16, bytes: u64) {
    metrics::answered(&parts.method, status, bytes, came.since.elapsed());
    let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    access.log(&Record {
        remote,
        user: None,
        time: came.time,
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
