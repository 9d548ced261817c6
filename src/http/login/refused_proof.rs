//! The limit of requests whose proof of identity (a token of another issuer, a signature) is refused.

use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use base::metrics::{self, RefusedToken};

/// Counts a refused proof as a credential that is not valid.
///
/// # Errors
/// 429 after too many refused proofs of a client.
pub(crate) fn count(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::Proof);
    let Some(client) = app.site.load().client_network(head.peer, &head.parts.headers) else { return Ok(()) };
    app.tokens.count_failure(client, None, (app.state.clock)()).map_err(Failure::too_many_failures)
}

/// Counts a wrong code of a device (RFC 8628 section 5.1).
///
/// # Errors
/// 429 after ten wrong codes of a client in a minute.
pub(crate) fn count_code(app: &App, head: &RequestHead<'_>) -> Result<(), Failure> {
    metrics::tokens().count_refused(RefusedToken::DeviceCode);
    let Some(client) = app.site.load().client_network(head.peer, &head.parts.headers) else { return Ok(()) };
    app.tokens.count_wrong_code(client, (app.state.clock)()).map_err(Failure::too_many_failures)
}
