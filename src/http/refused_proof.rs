//! The limit of requests whose proof of identity (a token of another issuer, a signature) is refused.

use std::net::IpAddr;

use super::app::App;
use super::base_url::RequestHead;
use super::error::Failure;
use super::peer::client_network;
use crate::metrics::{self, RefusedToken};

/// Counts a refused proof as a credential that is not valid.
///
/// # Errors
/// 429 after too many of a client.
pub(super) fn count(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::Proof);
    let Some(client) = client(app, head) else { return Ok(()) };
    app.tokens.count_failure(client, None, (app.state.clock)()).map_err(Failure::too_many_failures)
}

/// Counts a wrong code of a device (RFC 8628 section 5.1).
///
/// # Errors
/// 429 after ten of a client in a minute.
pub(super) fn count_code(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::DeviceCode);
    let Some(client) = client(app, head) else { return Ok(()) };
    app.tokens.count_wrong_code(client, (app.state.clock)()).map_err(Failure::too_many_failures)
}

/// The client of a request, as a network; `None` if it is not known: clients of a proxy that does not name them share
/// one address.
fn client(app: &App, head: &RequestHead<'_>) -> Option<IpAddr> {
    let site = app.site.load();
    let address = site.client_address(head.peer, &head.parts.headers);
    address.filter(|address| !site.is_shared(*address)).map(client_network)
}
