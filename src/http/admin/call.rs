//! The parts of an admin request, and functions to read its body and to build the response.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::edit::{Actor, OnExisting};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::permission::Principal;
use crate::http::request_body::Incoming;
use crate::http::route::access::data_access;
use crate::http::route::admin::DataRoute;
use crate::http::target::Query;
use crate::http::{read_body, response};
use crate::model::name::{BadName, Name};
use crate::r::bioconductor::{BadVersion, Version};

/// Maximum size of a JSON body, in bytes.
const JSON_LIMIT: usize = 1 << 20;

/// An admin request, as passed to its handler.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) query: &'a Query,
    pub(super) actor: Actor,
    pub(super) body: Incoming,
    pub(super) principal: &'a Principal,
    pub(super) route: &'a DataRoute,
    /// Whether the response cannot be read on the network: it is encrypted, or does not leave this machine.
    pub(super) is_confidential: bool,
    /// The base URL of this server for clients; `None` on the admin socket without `Server.Address`.
    pub(super) base: Option<String>,
}

pub(super) type AdminResult = Result<Response<Body>, Failure>;

pub(super) fn ok<T: Serialize>(value: &T) -> AdminResult {
    Ok(response::json(StatusCode::OK, value))
}

impl Call<'_> {
    /// Reads the JSON body of the request. Fails if the token of the client is no longer valid, or no longer permits
    /// the request, when the body is complete.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<(T, Actor), Failure> {
        self.json_up_to(JSON_LIMIT).await
    }

    /// Like [`Call::json`], for a body of at most `limit` bytes.
    pub(super) async fn json_up_to<T: DeserializeOwned>(self, limit: usize) -> Result<(T, Actor), Failure> {
        let value = json_up_to(self.body, limit, self.app.limits.body_timeout).await?;
        self.principal.require_valid(self.app)?;
        // SECURITY: a client may take a long time to send the body, and another source may have got the name in the
        // address since the head was checked.
        self.principal.require(&self.app.state.catalog.get(), data_access(self.route))?;
        Ok((value, self.actor))
    }
}

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(body: Incoming, timeout: Duration) -> Result<T, Failure> {
    json_up_to(body, JSON_LIMIT, timeout).await
}

async fn json_up_to<T: DeserializeOwned>(
    body: Incoming,
    limit: usize,
    timeout: Duration,
) -> Result<T, Failure> {
    let bytes = read_body::read(body, limit, timeout).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::bad_request(format!("the body is not valid JSON for this request: {e}")))
}

pub(super) fn on_existing(succeed: bool) -> OnExisting {
    if succeed { OnExisting::Succeed } else { OnExisting::Fail }
}

/// Parses a Bioconductor version.
pub(super) fn version(text: &str) -> Result<Version, Failure> {
    text.parse().map_err(|e: BadVersion| Failure::bad_request(e.to_string()))
}

/// Parses the name of a new source or repository.
pub(super) fn name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|e: BadName| Failure::bad_request(e.to_string()))
}
