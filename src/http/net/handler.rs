//! The interface between listeners and the services that handle requests.

use http::{Request, Response};

use crate::http::net::body::Body;
use crate::http::net::peer::Peer;
use crate::http::net::request_body::Incoming;

/// Handles requests: the public service, the admin service, the redirect.
pub trait Service: Clone + Send + Sync + 'static {
    /// Handles one request. A failure is a response too.
    fn handle(&self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}
