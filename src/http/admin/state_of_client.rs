//! The state of the database that a client has seen. A balancer may give its next request to a server that has not read
//! the last change yet: the request then waits until that server has it.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::api::CATALOG_HEADER;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;

const HEADER: HeaderName = HeaderName::from_static(CATALOG_HEADER);
/// Maximum wait.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between reads of the database.
const PAUSE: Duration = Duration::from_millis(50);
/// `Retry-After` in seconds.
const RETRY_AFTER: u64 = 2;

/// Waits until the catalog of this server is at least that of the client. An invalid header is ignored.
///
/// # Errors
/// 503 if the database does not have that state within five seconds.
pub(super) async fn wait(app: &App, headers: &HeaderMap) -> Result<(), Failure> {
    let seen = headers.get(HEADER).and_then(|value| value.to_str().ok()?.parse::<i64>().ok()).unwrap_or(0);
    let begin = Instant::now();
    let is_behind = || app.state.catalog.get().version < seen;
    while is_behind() {
        if let Err(error) = app.state.catalog.refresh(&app.state.db).await {
            tracing::debug!("could not refresh the catalog for a request: {error}");
        }
        if !is_behind() {
            break;
        }
        if begin.elapsed() > TIMEOUT {
            let phrase = "this server does not have the last change of the client yet";
            return Err(Failure::unavailable(phrase, RETRY_AFTER));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Adds the state of this server to a response.
pub(super) fn set(app: &App, response: &mut Response<Body>) {
    response.headers_mut().insert(HEADER, HeaderValue::from(app.state.catalog.get().version));
}
