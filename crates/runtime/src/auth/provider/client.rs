//! Requests to a provider: without redirects, with a timeout of ten seconds and a limited length of responses.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use reqwest::{RequestBuilder, redirect};
use serde_json::{Map, Value};
use url::form_urlencoded::{Serializer, byte_serialize};

use ::upstream::{self, UpstreamError};
use base::config::Proxy;

/// Timeout of a request with its response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of a response, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// The user agent in the logs of providers.
const USER_AGENT: &str = concat!("rstudio-pm/", env!("CARGO_PKG_VERSION"));

/// A provider that cannot be reached, or whose response cannot be used. The text contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct ProviderError {
    /// The address of the request, without its query.
    pub url: String,
    pub reason: String,
    /// Whether the response is too large, so that another attempt does not help.
    pub is_too_large: bool,
}

impl ProviderError {
    /// Returns an error about an address, whose query is removed.
    pub fn new(url: &str, reason: impl Into<String>) -> ProviderError {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        ProviderError { url: url.to_owned(), reason: reason.into(), is_too_large: false }
    }
}

/// The method by which this server authenticates a request (RFC 6749 section 2.3.1).
pub enum Authentication<'a> {
    /// Only the client id, in the form.
    Public(&'a str),
    /// Client id and secret in the header field `Authorization`.
    Basic(&'a str, &'a str),
    /// Client id and secret in the form.
    Post(&'a str, &'a str),
    Bearer(&'a str),
}

/// A response with a JSON object.
pub struct Response {
    pub status: StatusCode,
    /// Its fields; empty if the body is not a JSON object and the status is an error.
    pub fields: Map<String, Value>,
}

impl Response {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}

/// The HTTP client, created at the first request.
pub(super) struct ProviderClient {
    proxy: Mutex<Option<reqwest::Proxy>>,
    client: Mutex<Option<reqwest::Client>>,
}

impl ProviderClient {
    pub(super) fn new(proxy: &Proxy) -> Result<ProviderClient, UpstreamError> {
        Ok(ProviderClient { proxy: Mutex::new(upstream::reqwest_proxy(proxy)?), client: Mutex::new(None) })
    }

    /// Uses another proxy for the next requests.
    pub(super) fn set_proxy(&self, proxy: &Proxy) -> Result<(), UpstreamError> {
        let proxy = upstream::reqwest_proxy(proxy)?;
        let mut client = self.client.lock();
        *self.proxy.lock() = proxy;
        *client = None;
        Ok(())
    }

    /// Returns the client. A failure to create it is not cached, because certificates may be installed later.
    fn client(&self, url: &str) -> Result<reqwest::Client, ProviderError> {
        let mut slot = self.client.lock();
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Without a provider of cryptography, reqwest would panic.
            return Err(ProviderError::new(url, "no cryptography provider for TLS was installed"));
        }
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .redirect(redirect::Policy::none());
        let proxy = self.proxy.lock().clone();
        let builder = match proxy {
            None => builder,
            Some(proxy) => builder.proxy(proxy),
        };
        let client = builder.build().map_err(|error| {
            ProviderError::new(url, format!("could not create the HTTP client: {}", error.without_url()))
        })?;
        Ok(slot.insert(client).clone())
    }

    pub(super) async fn get(&self, url: &str, token: Option<&str>) -> Result<Response, ProviderError> {
        let request = self.client(url)?.get(url);
        let request = match token {
            None => request,
            Some(token) => {
                request.header(header::AUTHORIZATION, secret_value(url, &format!("Bearer {token}"))?)
            }
        };
        send(url, request).await
    }

    pub(super) async fn post(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        authentication: &Authentication<'_>,
    ) -> Result<Response, ProviderError> {
        let mut fields = fields.to_vec();
        let mut request = self.client(url)?.post(url);
        match authentication {
            Authentication::Public(id) => fields.push(("client_id", id)),
            Authentication::Post(id, secret) => {
                fields.extend([("client_id", *id), ("client_secret", *secret)])
            }
            Authentication::Basic(id, secret) => {
                // The id and the secret are encoded as in a form before base64 (RFC 6749 section 2.3.1).
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = BASE64_STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
                request = request.header(header::AUTHORIZATION, secret_value(url, &format!("Basic {pair}"))?);
            }
            Authentication::Bearer(token) => {
                request =
                    request.header(header::AUTHORIZATION, secret_value(url, &format!("Bearer {token}"))?);
            }
        }
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form);
        send(url, request).await
    }
}

fn secret_value(url: &str, text: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| ProviderError::new(url, "a secret has characters that a header field cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn send(url: &str, request: RequestBuilder) -> Result<Response, ProviderError> {
    let error = |error: reqwest::Error| ProviderError::new(url, describe(error));
    let mut response = request.send().await.map_err(error)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(error)? {
        if body.len() + chunk.len() > MAX_BYTES {
            let reason =
                "the response is larger than 256 kB; configure the provider to send fewer groups or claims";
            return Err(ProviderError { is_too_large: true, ..ProviderError::new(url, reason) });
        }
        body.extend_from_slice(&chunk);
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok(Response { status, fields }),
        _ if status.is_success() => Err(ProviderError::new(url, "the response is not a JSON object")),
        _ => Ok(Response { status, fields: Map::new() }),
    }
}

/// Returns the text of an error with its causes, which reqwest's own text does not contain.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
