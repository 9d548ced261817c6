//! Requests of pages to the admin API of this process.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::change::Change;
use crate::http::api::admin::{self, AdminRequest};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::{Failure, Payload};
use crate::http::login::permission::Principal;
use crate::http::net::Peer;
use crate::http::net::request_body::Incoming;
use crate::http::route::{self, Route};
use crate::http::switch::Switch;
use api::ADMIN_PREFIX;
use api::error::{Code, Error};
use api::operations::{Operation, address};

/// The admin API, with the permissions of the client of a page.
pub(super) struct LocalApi<'a> {
    switch: &'a Switch,
    app: &'a App,
    peer: Peer,
    /// The address of the client, for the audit trail; `None` on the admin socket.
    address: Option<IpAddr>,
    principal: &'a Principal,
    is_confidential: bool,
}

impl<'a> LocalApi<'a> {
    pub(super) fn new(switch: &'a Switch, app: &'a App, head: &RequestHead<'a>) -> LocalApi<'a> {
        LocalApi {
            switch,
            app,
            peer: head.peer,
            address: app.site.load().client_address(head.peer, &head.parts.headers),
            principal: head.principal,
            is_confidential: admin::is_confidential(app, head),
        }
    }

    /// Calls an operation that reads, without parameters in its query.
    pub(super) async fn get<O>(&self, path: O::Path<'_>) -> Result<O::Response, Failure>
    where
        O: Operation<Query: Default, Body = (), Response: DeserializeOwned>,
    {
        let path = &address::<O>(path, &O::Query::default());
        let bytes = self.request(O::METHOD, path, Bytes::new()).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            tracing::error!("could not read a response of the admin API, GET {path}: {error}");
            Failure::unavailable("the admin API of this server sent an unexpected response", 60)
        })
    }

    /// Sends a request that changes something; returns the body of the response.
    pub(super) async fn send(&self, change: &Change) -> Result<Bytes, Failure> {
        let body = Bytes::from(change.body.to_string());
        self.request(change.method.clone(), &change.path, body).await
    }

    async fn request(&self, method: Method, target: &str, body: Bytes) -> Result<Bytes, Failure> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = format!("{ADMIN_PREFIX}{path}");
        let (route, query) =
            match route::parse(&method, &path, query, self.switch.context().limits.target_bytes)? {
                (Route::Admin(route), query) => (route, query),
                _ => return Err(Failure::no_such_address()),
            };
        self.principal.require(&self.app.state.catalog.get(), route.access())?;
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .body(Incoming::memory(body))
            .map_err(|_| Failure::bad_request("the name cannot be part of an address"))?;
        let request = AdminRequest {
            peer: self.peer,
            address: self.address,
            request,
            path,
            route,
            query,
            principal: self.principal.clone(),
            is_confidential: self.is_confidential,
        };
        let switch = self.switch.clone();
        // A separate task, because the large future of the API would enlarge that of every connection.
        let task = tokio::spawn(async move {
            let (parts, body) = admin::answer(&switch, request).await.into_parts();
            (parts.status, body.collect().await.map(http_body_util::Collected::to_bytes))
        });
        match task.await {
            Ok((status, Ok(bytes))) if status.is_success() => Ok(bytes),
            Ok((status, Ok(bytes))) => Err(refusal(status, &bytes)),
            Ok((_, Err(_))) => Err(Failure::unavailable("the admin API of this server failed", 5)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::unavailable("the server is stopping", 5)),
        }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(Error { code, error, payload }) = serde_json::from_slice(body) else {
        return Failure::new(status, Code::Invalid, "the admin API of this server failed");
    };
    let code = if code == Code::Unconfirmed as u16 { Code::Unconfirmed } else { Code::Invalid };
    let payload = payload.map(|values| Box::new(Payload::Values(values)));
    Failure { payload, ..Failure::new(status, code, error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unconfirmed_rule_is_recognized_by_its_code() {
        let sent = Failure::unconfirmed("a rule without a criterion matches everything");
        let received = |sent: &Failure| {
            let payload = sent.payload.as_deref().map(Payload::to_json);
            let error = Error { payload, ..Error::new(sent.code, sent.phrase.clone()) };
            refusal(sent.status, &serde_json::to_vec(&error).expect("JSON"))
        };
        assert_eq!((sent.status.as_u16(), sent.code as u16), (400, 15));
        assert_eq!(sent.phrase, "a rule without a criterion matches everything; --all confirms that");
        assert_eq!(received(&sent), sent);
        assert_eq!(received(&sent).unconfirmed_reason(), sent.unconfirmed_reason());
        let other = Failure::bad_request(sent.phrase.clone());
        assert_eq!(
            (sent.unconfirmed_reason().is_some(), received(&other).unconfirmed_reason()),
            (true, None)
        );
        assert_eq!(refusal(StatusCode::BAD_REQUEST, b"<html>").phrase, "the admin API of this server failed");
    }
}
