//! `/__api__/admin/v1/…`: what an administrator may ask, on the admin socket only.

use http::{Request, Response};
use hyper::body::Incoming;

use super::app::App;
use super::body::Body;
use super::error::Failure;
use super::listener::Peer;
use super::response::{self, Tongue};
use super::target::Query;

/// Answers one admin request; `path` is decoded and without the prefix: `repos/cran`.
pub async fn answer(
    app: &App,
    peer: Peer,
    request: Request<Incoming>,
    path: &str,
    query: &Query,
) -> Response<Body> {
    let _ = (app, peer, request, path, query);
    response::failure(&Failure::not_found("there is nothing at this address"), Tongue::Json)
}
