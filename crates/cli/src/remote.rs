//! `rspm` with a server on another machine: the HTTP client of its admin API, with a token; and which addresses are those of
//! the server of this machine, which `rspm` reaches over its socket.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use reqwest::header::{HeaderMap, HeaderName};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::error::CliError;
use api::{CATALOG_HEADER, VERSION_HEADER};
use base::config::{Config, Listen};
use base::model::errors::error_chain;
use base::model::loopback::is_loopback;

/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a response, in bytes; larger than a page of the audit trail.
const MAX_RESPONSE: usize = 512 << 20;

/// A server on another machine.
pub(super) struct RemoteServer {
    client: reqwest::Client,
    address: String,
    token: Zeroizing<String>,
    /// The highest catalog version of the responses. Requests contain it, so that the response of another server
    /// behind a load balancer is based on at least this version.
    catalog: AtomicI64,
}

/// Returns an address with a scheme, `http` if it has none.
fn with_scheme(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// Returns the URL of an address, as text and parsed; the scheme is `http` if the address has none. `None` if the
/// address cannot be that of a server.
fn parse(address: &str) -> Option<(String, Url)> {
    let full_address = with_scheme(address);
    let url = Url::parse(&full_address).ok()?;
    let is_usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        // reqwest would add a second Authorization field, and messages show the address.
        && url.username().is_empty()
        && url.password().is_none();
    is_usable.then_some((full_address, url))
}

/// Returns whether an address refers to the server with this configuration: it is `Server.Address`, or a name of
/// this machine with the port of a listener.
pub(super) fn is_local(address: &str, config: &Config, host_name: &str) -> bool {
    let Ok(url) = Url::parse(&with_scheme(address)) else { return false };
    if !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    let is_same =
        |text: &str| Url::parse(text).is_ok_and(|other_url| without_slash(&other_url) == without_slash(&url));
    if config.server.address.as_deref().is_some_and(is_same) {
        return true;
    }
    let listeners = [&config.http.listen, &config.https.listen, &config.http_redirect.listen];
    listeners.into_iter().flatten().any(|listen| {
        url.port_or_known_default() == Some(listen.port) && names_this_machine(&url, listen, host_name)
    })
}

fn names_this_machine(url: &Url, listen: &Listen, host_name: &str) -> bool {
    let is_listening_address = |address: IpAddr| listen.host.parse() == Ok(address);
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || is_listening_address(address.into()),
        Some(Host::Ipv6(address)) => address.is_loopback() || is_listening_address(address.into()),
        Some(Host::Domain(name)) => {
            let short_name = host_name.split('.').next().unwrap_or_default();
            ["localhost", host_name, short_name, &listen.host]
                .iter()
                .any(|own_name| !own_name.is_empty() && name.eq_ignore_ascii_case(own_name))
        }
        None => false,
    }
}

fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// Returns whether a token would be sent over the network without encryption.
pub(super) fn is_unencrypted(address: &str) -> bool {
    parse(address).is_some_and(|(_, url)| url.scheme() == "http" && !is_loopback(&url))
}

/// Returns an HTTP client of the server at an address, and the address as a URL without a slash at the end. Fails if
/// the address is not that of a server.
pub(super) fn http_client(address: &str, verifies_tls: bool) -> Result<(reqwest::Client, String), CliError> {
    let Some((full_address, url)) = parse(address) else {
        // SECURITY: the part before an @ may be a token.
        let host = address.rsplit('@').next().unwrap_or_default();
        return Err(CliError::BadAddress(host.to_owned()));
    };
    let builder =
        client_builder().connect_timeout(CONNECT_TIMEOUT).tls_danger_accept_invalid_certs(!verifies_tls);
    // SECURITY: requests to a loopback address bypass the proxy, which could read the token. Those without encryption
    // need no certificate then; without this, the certificates of the system would be read.
    let builder = match (is_loopback(&url), url.scheme()) {
        (true, "http") => builder.no_proxy().tls_danger_accept_invalid_certs(true),
        (true, _) => builder.no_proxy(),
        (false, _) => builder,
    };
    let client = builder
        .build()
        .map_err(|error| CliError::Unreachable { address: address.to_owned(), reason: error.to_string() })?;
    Ok((client, full_address.trim_end_matches('/').to_owned()))
}

/// Returns the properties of all clients.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .user_agent(concat!("rspm/", env!("CARGO_PKG_VERSION")))
        // SECURITY: a redirect would send the token to another server.
        .redirect(reqwest::redirect::Policy::none())
}

/// Reads the body of a response; `None` if it is longer than `limit` bytes.
pub(super) async fn body(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

impl RemoteServer {
    /// Returns a client of the server at an address. It connects with the first request. Fails if the address is not a
    /// URL, or the token contains characters that a token cannot have.
    pub(super) fn new(
        address: &str,
        token: Zeroizing<String>,
        verifies_tls: bool,
    ) -> Result<RemoteServer, CliError> {
        if reqwest::header::HeaderValue::from_str(&token).is_err() {
            return Err(CliError::refused(
                "the token (PACKAGEMANAGER_TOKEN, or that of rspm login) is not a token: it contains characters that a token \
                 cannot have",
            ));
        }
        let (client, address) = http_client(address, verifies_tls)?;
        Ok(RemoteServer { client, address, token, catalog: AtomicI64::new(0) })
    }

    /// Returns the address of the server.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and reads the response. Fails if there is no response, or it is a redirect or too long.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        content: reqwest::Body,
    ) -> Result<(StatusCode, Bytes), CliError> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.address))
            .bearer_auth(self.token.as_str())
            .header(VERSION_HEADER, env!("CARGO_PKG_VERSION"))
            .body(content);
        let catalog = self.catalog.load(Ordering::Relaxed);
        if catalog > 0 {
            request = request.header(CATALOG_HEADER, catalog);
        }
        let mut response = request.send().await.map_err(|error| self.failure(&method, &error))?;
        self.record_catalog(response.headers());
        let status = response.status();
        if status.is_redirection() {
            let target = response.headers().get("location").and_then(|value| value.to_str().ok());
            return Err(CliError::Unreachable {
                address: self.address.clone(),
                reason: format!("it redirects to {}; use that address", target.unwrap_or("another address")),
            });
        }
        let body = body(&mut response, MAX_RESPONSE).await.map_err(|error| self.failure(&method, &error))?;
        let body = body.ok_or_else(|| CliError::Unreachable {
            address: self.address.clone(),
            reason: format!("its response is longer than {MAX_RESPONSE} bytes"),
        })?;
        Ok((status, body.into()))
    }

    /// Stores the catalog version of a response.
    fn record_catalog(&self, headers: &HeaderMap) {
        let value = headers.get(HeaderName::from_static(CATALOG_HEADER));
        if let Some(catalog) = value.and_then(|value| value.to_str().ok()?.parse().ok()) {
            self.catalog.fetch_max(catalog, Ordering::Relaxed);
        }
    }

    /// Returns the error of a request without a response.
    fn failure(&self, method: &Method, error: &reqwest::Error) -> CliError {
        // The message of the error itself repeats the address.
        let reason = std::error::Error::source(error).map_or_else(|| "no response".to_owned(), error_chain);
        if error.is_connect() || *method == Method::GET {
            CliError::Unreachable { address: self.address.clone(), reason }
        } else {
            CliError::Interrupted { path: PathBuf::from(&self.address), reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::parse;

    #[test]
    fn an_address_of_this_machine_needs_the_port_of_a_listener() {
        let gcfg = "[HTTP]\nListen = :4242\n[HTTPS]\nListen = 192.0.2.7:443\nCertificate = /c\nKey = /k\n\
                    [Server]\nAddress = https://packages.example.org/pm\n";
        let config = parse("f", gcfg.as_bytes(), []).expect("valid").config;
        for (address, expected) in [
            ("http://localhost:4242", true),
            ("localhost:4242", true),
            ("http://127.0.0.1:4242/", true),
            ("http://[::1]:4242", true),
            ("http://node1:4242", true),
            ("http://NODE1.example.org:4242", true),
            ("https://192.0.2.7", true),
            ("https://packages.example.org/pm/", true),
            ("https://packages.example.org", false),
            ("http://localhost", false),
            ("http://localhost:4243", false),
            ("http://node2:4242", false),
            ("http://192.0.2.8:4242", false),
            ("ftp://localhost:4242", false),
            ("", false),
        ] {
            assert_eq!(is_local(address, &config, "node1.example.org"), expected, "{address}");
        }
    }
}
