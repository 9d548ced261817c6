//! Lists references over HTTP without git, usually in one request: the command `ls-refs` of version 2 of git's protocol
//! (gitprotocol-v2(5)) or, if a server does not support it, the advertisement of version 0 (gitprotocol-http(5)). In
//! case of a redirect to another host, a refused login or an error, git lists the references in its sandbox.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use http::{StatusCode, header};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response};

use super::packets::{self, Reference};
use crate::build::failure::BuildFailure;
use crate::build::{Builds, credential, detection, fetch};
use builder::message::Credential;
use builder::sandbox::Kind;
use builder::url::GitUrl;
use store::db::git_builder::GitBuilder;

/// The user agent: some servers answer only clients whose user agent begins with `git/`.
const USER_AGENT: &str = concat!("git/2 (rstudio-pm/", env!("CARGO_PKG_VERSION"), ")");
/// Timeout for connecting, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum length of a response in bytes; longer lists are left to git.
const MAX_RESPONSE: usize = 8 << 20;
/// Maximum number of redirects on the same server.
const MAX_REDIRECTS: usize = 3;
/// Maximum number of repositories in [`HttpClients::old_protocol`].
const MAX_REPOSITORIES: usize = 10_000;
/// Maximum pause that a server may request.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The HTTP clients, created on first use, and the repositories that need version 0 of the protocol.
#[derive(Default)]
pub(in crate::build) struct HttpClients {
    /// The client under `true` connects only to addresses that git's systemd unit may connect to.
    clients: Mutex<HashMap<bool, Client>>,
    /// URLs of repositories that only version 0 of the protocol can list: because of the server, or of SHA-256.
    old_protocol: Mutex<HashSet<String>>,
}

enum ReferenceListResponse {
    List(Vec<Reference>),
    /// Any other response. Another version of the protocol may succeed.
    Other,
    /// A response that does not depend on the version of the protocol, such as a refused login.
    Refusal,
}

/// Lists references; `None` if git must list them instead.
pub(super) async fn list(
    builds: &Builds,
    builder: &GitBuilder,
    url: &GitUrl,
    prefixes: &[String],
) -> Result<Option<Vec<Reference>>, BuildFailure> {
    let sandbox = detection::sandbox(builds, builds.language(builder)).await?;
    let is_restricted = sandbox.kind == Kind::Systemd;
    // reqwest would convert names such as `127.1` and `0x7f000001` to addresses without the resolver; URLs with
    // such names are left to git in its sandbox.
    if !has_parsed_host(url, &builder.url) {
        return Ok(None);
    }
    let address = url.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if is_restricted && address.is_ok_and(|address| !is_allowed(address)) {
        return Ok(None);
    }
    // The proxy of git may require an authentication scheme other than Basic.
    if fetch::proxy_url(&builds.state.config.load().proxy).is_some() {
        return Ok(None);
    }
    let http = &builds.remotes.http;
    let Some(client) = http.client(is_restricted) else { return Ok(None) };
    let login = credential::secrets(builds, builder, url).await?.login;
    let base = builder.url.trim_end_matches('/');
    if !http.old_protocol.lock().contains(base) {
        match command(&client, base, login.as_ref(), prefixes).await? {
            ReferenceListResponse::List(references) => return Ok(Some(references)),
            ReferenceListResponse::Refusal => return Ok(None),
            ReferenceListResponse::Other => {}
        }
    }
    match advertisement(&client, base, login.as_ref()).await? {
        ReferenceListResponse::List(references) => {
            let mut old_protocol = http.old_protocol.lock();
            if old_protocol.len() >= MAX_REPOSITORIES {
                old_protocol.clear();
            }
            old_protocol.insert(base.to_owned());
            Ok(Some(references))
        }
        ReferenceListResponse::Other | ReferenceListResponse::Refusal => Ok(None),
    }
}

impl HttpClients {
    /// Returns a client; `None` if it cannot be created, for example because there are no certificates of authorities.
    fn client(&self, is_restricted: bool) -> Option<Client> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&is_restricted) {
            return Some(client.clone());
        }
        // Without a TLS provider reqwest would panic.
        rustls::crypto::CryptoProvider::get_default()?;
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(10))
            .referer(false)
            // The proxy variables of the environment are not used; git in its sandbox does not read them either.
            .no_proxy()
            // A login must not reach another server.
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        let builder = if is_restricted { builder.dns_resolver(AllowedAddresses) } else { builder };
        let client = builder.build().ok()?;
        clients.insert(is_restricted, client.clone());
        Some(client)
    }
}

/// Resolves names to the addresses that git's systemd unit may connect to: a name may refer to a local service.
struct AllowedAddresses;

impl Resolve for AllowedAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = addresses.filter(|address| is_allowed(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the host has no address that git may connect to".into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok::<Addrs, Box<dyn std::error::Error + Send + Sync>>(addresses)
        })
    }
}

/// Returns whether the unit `rstudio-pm-fetch@.service` may connect to an address: loopback, link-local, multicast and
/// unspecified addresses are excluded.
fn is_allowed(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !v4.is_loopback() && !v4.is_link_local() && !v4.is_multicast() && !v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_multicast() && !v6.is_unspecified() && !v6.is_unicast_link_local()
        }
    }
}

/// Returns whether reqwest parses the same host in the URL as [`GitUrl`]. It converts some names to addresses,
/// which are not passed to the resolver.
fn has_parsed_host(url: &GitUrl, text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|parsed| parsed.host_str() == Some(url.host.as_str()))
}

fn with_login(request: RequestBuilder, login: Option<&Credential>) -> RequestBuilder {
    match login {
        Some(Credential { username, password, .. }) => request.basic_auth(username, Some(password)),
        None => request,
    }
}

/// Runs the command `ls-refs`.
async fn command(
    client: &Client,
    base: &str,
    login: Option<&Credential>,
    prefixes: &[String],
) -> Result<ReferenceListResponse, BuildFailure> {
    let request = client
        .post(format!("{base}/git-upload-pack"))
        .header("Git-Protocol", "version=2")
        .header(header::CONTENT_TYPE, "application/x-git-upload-pack-request")
        .header(header::ACCEPT, "application/x-git-upload-pack-result")
        .body(packets::command(prefixes));
    let Some(response) = send(with_login(request, login)).await? else {
        return Ok(ReferenceListResponse::Refusal);
    };
    if let Some(refusal) = refusal(&response)? {
        return Ok(refusal);
    }
    let body = body(response, "application/x-git-upload-pack-result").await?;
    Ok(body
        .and_then(|body| packets::command_response(&body))
        .map_or(ReferenceListResponse::Other, ReferenceListResponse::List))
}

/// Reads the advertisement of all references.
async fn advertisement(
    client: &Client,
    base: &str,
    login: Option<&Credential>,
) -> Result<ReferenceListResponse, BuildFailure> {
    let Ok(mut url) = reqwest::Url::parse(&format!("{base}/info/refs?service=git-upload-pack")) else {
        return Ok(ReferenceListResponse::Refusal);
    };
    for _ in 0..=MAX_REDIRECTS {
        let request = client.get(url.clone()).header(header::ACCEPT, "*/*");
        let Some(response) = send(with_login(request, login)).await? else {
            return Ok(ReferenceListResponse::Refusal);
        };
        if response.status().is_redirection() {
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(target) = location.and_then(|location| url.join(location).ok()) else { break };
            // Another server must not receive the credentials; git follows the redirect with credentials of that server.
            if target.origin() != url.origin() {
                break;
            }
            url = target;
            continue;
        }
        if let Some(refusal) = refusal(&response)? {
            return Ok(refusal);
        }
        let body = body(response, "application/x-git-upload-pack-advertisement").await?;
        return Ok(body
            .and_then(|body| packets::advertisement(&body))
            .map_or(ReferenceListResponse::Other, ReferenceListResponse::List));
    }
    Ok(ReferenceListResponse::Refusal)
}

/// Sends a request. Returns `None` if the server cannot be reached; git then reports the cause.
async fn send(request: RequestBuilder) -> Result<Option<Response>, BuildFailure> {
    match request.send().await {
        Ok(response) => Ok(Some(response)),
        Err(error) if error.is_timeout() && !error.is_connect() => Err(no_answer()),
        Err(_) => Ok(None),
    }
}

fn no_answer() -> BuildFailure {
    BuildFailure::Temporary(format!("the git server did not answer in {} seconds", TIMEOUT.as_secs()))
}

/// Interprets a status other than 200; returns `None` for 200, and an error if the server requests a pause.
fn refusal(response: &Response) -> Result<Option<ReferenceListResponse>, BuildFailure> {
    let status = response.status();
    let value = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = value.and_then(|text| requested_pause(text.trim(), SystemTime::now()));
    match status {
        StatusCode::OK => Ok(None),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => match pause {
            Some(pause) => {
                let pause = pause.min(MAX_PAUSE);
                let reason = format!(
                    "the git server answered {status}; the next request is allowed after {} seconds",
                    pause.as_secs()
                );
                Err(BuildFailure::RetryAfter(reason, pause))
            }
            None => Ok(Some(ReferenceListResponse::Refusal)),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Ok(Some(ReferenceListResponse::Refusal))
        }
        _ => Ok(Some(ReferenceListResponse::Other)),
    }
}

/// Returns the pause that a value of `Retry-After` names: a number of seconds, or a date.
fn requested_pause(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Reads the body of a response; `None` if its type is not `content_type`, or if it is too long or incomplete.
async fn body(response: Response, content_type: &str) -> Result<Option<Vec<u8>>, BuildFailure> {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if value.is_none_or(|value| value.split(';').next().unwrap_or_default().trim() != content_type) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) if error.is_timeout() => return Err(no_answer()),
            // The connection was lost: git reports the cause.
            Err(_) => return Ok(None),
        };
        if bytes.len() + chunk.len() > MAX_RESPONSE {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_request_a_pause() {
        let answer = |status: u16, retry_after: &str| {
            let response = http::Response::builder().status(status).header("retry-after", retry_after);
            refusal(&Response::from(response.body("").unwrap()))
        };
        for (status, value, expected) in [(503, "120", 120), (429, " 5 ", 5), (429, "1000000", 3600)] {
            let pause = answer(status, value).err().and_then(|failure| failure.pause());
            assert_eq!(pause, Some(Duration::from_secs(expected)), "{status} {value}");
        }
        assert!(matches!(answer(200, "1"), Ok(None)));
        let pause = answer(429, "Thu, 21 Oct 9999 07:28:00 GMT").err().and_then(|failure| failure.pause());
        assert_eq!(pause, Some(MAX_PAUSE));
        let date = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        let earlier = date - Duration::from_secs(90);
        assert_eq!(requested_pause("Wed, 21 Oct 2026 07:28:00 GMT", earlier), Some(Duration::from_secs(90)));
        assert_eq!(requested_pause("Wed, 21 Oct 2026 07:26:00 GMT", earlier), Some(Duration::ZERO));
        assert!(matches!(answer(429, "tomorrow"), Ok(Some(ReferenceListResponse::Refusal))));
        assert!(matches!(answer(401, "1"), Ok(Some(ReferenceListResponse::Refusal))));
        assert!(matches!(answer(404, "1"), Ok(Some(ReferenceListResponse::Other))));
    }

    #[test]
    fn hosts_that_the_client_reads_as_another_one_are_left_to_git() {
        let has_same_host = |text: &str| has_parsed_host(&GitUrl::parse(text).unwrap(), text);
        for text in [
            "http://127.1/x",
            "http://2130706433/x",
            "http://0x7f000001/x",
            "http://0177.0.0.1/x",
            "http://0/x",
            "http://[::0001]/x",
        ] {
            assert!(!has_same_host(text), "{text}");
        }
        for text in [
            "https://Git.example.org/a/b.git",
            "https://git_1.example.org:8443/~u/a%20b",
            "http://192.0.2.1/x",
            "http://[2001:db8::1]:3000/x",
        ] {
            assert!(has_same_host(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_this_machine_and_of_its_links_are_not_connected_to() {
        for address in
            ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1", "ff02::1"]
        {
            assert!(!is_allowed(address.parse().unwrap()), "{address}");
        }
        assert!(!is_allowed("::ffff:127.0.0.1".parse().unwrap()));
        for address in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert!(is_allowed(address.parse().unwrap()), "{address}");
        }
    }
}
