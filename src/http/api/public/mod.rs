//! The public API under `/__api__`: repositories, sources, packages, transactions, system requirements. One file per noun;
//! `api::operations::public` is the table of the operations, `docs/api/public.json` (OpenAPI) describes the addresses.

pub(crate) mod alerts;
mod bootstrap;
mod build_log;
mod download;
mod filter;
mod lookup;
pub mod openapi;
mod packages;
mod project_filter;
mod project_packages;
mod repos;
mod sources;
mod status;
pub(crate) mod sysreqs;
mod usage;
pub(crate) mod vulnerabilities;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::http::api::operation::{Answer, Raw, WithStatus, dispatch};
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::route::access::Access;
use crate::http::route::public::PublicRoute;
use crate::http::target::Query;
use api::operations::{Operation, public as operations};
use api::public_operations;
use runtime::catalog::Catalog;
use tasks::build::webhook::SignatureVerification;

/// Timeout of a request body, ample for a megabyte.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request, as passed to its handler.
struct PublicCall<'a> {
    app: &'a App,
    head: &'a RequestHead<'a>,
    catalog: Arc<Catalog>,
    /// The bytes of the body, which stay counted in the budget of request bodies.
    bytes: Bytes,
}

impl PublicCall<'_> {
    /// Parses the JSON body of an operation, regardless of its `Content-Type`, which scripts may set wrong.
    async fn json<O: Operation<Body: DeserializeOwned>>(
        &self,
        _: Access<'_>,
        body: RequestBody,
    ) -> Result<O::Body, Failure> {
        // Only an object is accepted: serde would also accept a list with the fields in their order.
        let object: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_slice(&body.bytes);
        object.and_then(|object| serde_json::from_value(object.into())).map_err(|error| {
            Failure::bad_request(format!("the body is not valid JSON for this request: {error}"))
        })
    }

    /// Returns the base URL of this server for the client.
    fn base(&self) -> String {
        base_url::base_url(&self.app.site.load(), self.head)
    }
}

public_operations!(dispatch dispatch PublicCall PublicRoute RequestBody);

/// Handles a request; `body` is empty if the route accepts none.
///
/// # Errors
/// 400, 404, or a failure of the database or storage.
pub async fn answer(
    app: &App,
    route: &PublicRoute,
    query: &Query,
    head: &RequestHead<'_>,
    body: RequestBody,
) -> Result<Response<Body>, Failure> {
    let call = PublicCall { app, head, catalog: app.state.catalog.get(), bytes: body.bytes.clone() };
    dispatch(call, route, query, body).await
}

#[derive(Default)]
pub struct RequestBody {
    /// The bytes of the body; empty for a webhook.
    bytes: Bytes,
    /// The signature of the body of a webhook.
    verification: Option<SignatureVerification>,
}

/// Reads the body of a POST. The body of any other request is dropped unread.
///
/// # Errors
/// 408, 413.
pub async fn request_body(
    app: &App,
    route: &PublicRoute,
    method: &Method,
    body: Incoming,
) -> Result<RequestBody, Failure> {
    if method != Method::POST {
        return Ok(RequestBody::default());
    }
    let timeout = app.limits.body_timeout;
    let read = async {
        if let PublicRoute::GitWebhook(builder) = route {
            let verification = webhook::read(app, builder, body, timeout).await?;
            return Ok(RequestBody { bytes: Bytes::new(), verification: Some(verification) });
        }
        let bytes = read_body::read(body, api::operations::BODY_LIMIT, timeout).await?;
        Ok::<RequestBody, Failure>(RequestBody { bytes, verification: None })
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| Failure {
        status: StatusCode::REQUEST_TIMEOUT,
        ..Failure::bad_request("the request body timed out")
    })?
}
