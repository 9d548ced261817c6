//! The interface between listeners and the services that handle requests.

use http::{Request, Response};

use super::body::Body;
use super::peer::Peer;
use super::request_body::Incoming;

/// Handles requests: the public service, the admin service, the redirect.
pub trait Service: Clone + Send + Sync + 'static {
    /// Handles one request. A failure is a response too.
    fn handle(&self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}
