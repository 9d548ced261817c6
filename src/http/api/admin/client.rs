//! What a client requires: its version of `rspm`, and the version of the catalog. A load balancer may send the next request
//! of a client to a server that has not read the client's last change yet; the request waits until the server has read it.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use api::{CATALOG_HEADER, VERSION_HEADER};

const HEADER: HeaderName = HeaderName::from_static(CATALOG_HEADER);
/// Maximum time that a request waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between reads of the database.
const PAUSE: Duration = Duration::from_millis(50);
/// `Retry-After` in seconds.
const RETRY_AFTER: u64 = 2;

/// Waits until the catalog of this server has at least the version that the client requires. An invalid header is
/// ignored. Fails with 503 if the catalog does not have this version within [`TIMEOUT`].
pub(super) async fn wait(app: &App, headers: &HeaderMap) -> Result<(), Failure> {
    let required =
        headers.get(HEADER).and_then(|value| value.to_str().ok()?.parse::<i64>().ok()).unwrap_or(0);
    let start = Instant::now();
    let is_behind = || app.state.catalog.get().version < required;
    while is_behind() {
        if let Err(error) = app.state.catalog.refresh(&app.state.db).await {
            tracing::debug!("could not refresh the catalog for a request: {error}");
        }
        if !is_behind() {
            break;
        }
        if start.elapsed() > TIMEOUT {
            let phrase = "this server does not have the last change of the client yet";
            return Err(Failure::unavailable(phrase, RETRY_AFTER));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Adds the catalog version of this server to a response.
pub(super) fn set(app: &App, response: &mut Response<Body>) {
    response.headers_mut().insert(HEADER, HeaderValue::from(app.state.catalog.get().version));
}

/// Returns major and minor version of `rspm` in a request if they differ from this server's. Other clients send none.
pub(super) fn other_version(headers: &HeaderMap) -> Option<(u32, u32)> {
    let release = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    let version = release(headers.get(VERSION_HEADER)?.to_str().ok()?)?;
    (Some(version) != release(env!("CARGO_PKG_VERSION"))).then_some(version)
}
