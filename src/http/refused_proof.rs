//! The limit of requests whose proof of identity (a token of another issuer, a signature) is refused.

use super::app::App;
use super::base_url::RequestHead;
use super::error::Failure;
use super::peer::client_network;

/// Counts a refused proof as a credential that is not valid.
///
/// # Errors
/// 429 after too many of a client.
pub(super) fn count(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    let site = app.site.load();
    // Clients of a proxy that does not name them share one address.
    let address = site.client_address(head.peer, &head.parts.headers);
    let Some(address) = address.filter(|address| !site.is_shared(*address)) else { return Ok(()) };
    let counted = app.tokens.count_failure(client_network(address), None, (app.state.clock)());
    counted.map_err(Failure::too_many_failures)
}
