//! The HTTP client: user agent, proxy, time limits, redirect policy.

use std::cell::Cell;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response, redirect};

use crate::UpstreamError;
use base::config::Proxy;

/// Returns a program's `User-Agent`: its name and version, and the contact in a comment, for operators of mirrors.
pub fn user_agent(program: &str, contact: Option<&str>) -> String {
    let product = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
    match contact {
        Some(contact) => format!("{product} ({contact})"),
        None => product,
    }
}

/// Maximum number of redirects: a mirror network needs one or two; more are a loop.
const MAX_REDIRECTS: usize = 5;

/// Time limits of one request, and of one file with all its retries.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Timeout for a connection with its TLS handshake.
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    /// Time without a byte after which a small file is not retried.
    pub max_inactivity: Duration,
    /// Timeout for a small file with all its retries.
    pub total_timeout: Duration,
    /// Number of retries of a small file, and of a download without any progress.
    pub max_retries: usize,
    /// Pause before the first retry; it doubles with each further one, with jitter for a small file.
    pub first_pause: Duration,
    /// Maximum pause. A longer `Retry-After` ends the retries.
    pub max_pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            max_inactivity: Duration::from_secs(45),
            total_timeout: Duration::from_secs(600),
            max_retries: 4,
            first_pause: Duration::from_millis(500),
            max_pause: Duration::from_secs(60),
        }
    }
}

/// The client, built for the first request: loading certificates takes milliseconds, which `file://` mirrors save.
pub(crate) struct HttpClient {
    proxy: Option<reqwest::Proxy>,
    agent: String,
    client: Mutex<Option<reqwest::Client>>,
    pub(super) limits: Limits,
}

impl HttpClient {
    pub(crate) fn new(proxy: &Proxy, limits: Limits, agent: String) -> Result<HttpClient, UpstreamError> {
        Ok(HttpClient { proxy: reqwest_proxy(proxy)?, agent, client: Mutex::new(None), limits })
    }

    /// Returns the client. A failure is not cached: certificates may be installed while the daemon runs.
    pub(super) fn client(&self) -> Result<reqwest::Client, UpstreamError> {
        let mut slot = self.client.lock();
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = self.build()?;
        Ok(slot.insert(client).clone())
    }

    fn build(&self) -> Result<reqwest::Client, UpstreamError> {
        let Some(provider) = rustls::crypto::CryptoProvider::get_default() else {
            // reqwest would panic.
            return Err(refusal("no cryptography provider for TLS was installed before the first request"));
        };
        if let Ok(client) = self.builder().build() {
            return Ok(client);
        }
        // The host may lack the package ca-certificates. A mirror over plain HTTP must work there. The root
        // certificates of the Mozilla program are the ones of that package.
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| refusal(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = self.builder().tls_backend_preconfigured(tls).build();
        client.map_err(|e| refusal(format!("could not create the HTTP client: {}", e.without_url())))
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(&self.agent)
            .connect_timeout(self.limits.connect_timeout)
            .read_timeout(self.limits.read_timeout)
            .pool_max_idle_per_host(8)
            .pool_idle_timeout(Duration::from_secs(30))
            .referer(false)
            // Bytes stay as the mirror stores them; a decoded tarball would fail its checksum.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .redirect(redirect::Policy::custom(follow));
        match &self.proxy {
            // Without `[Proxy]` the environment (`HTTPS_PROXY`, `NO_PROXY`, …) applies, as usual.
            None => builder,
            Some(proxy) => builder.proxy(proxy.clone()),
        }
    }
}

fn refusal(reason: impl Into<String>) -> UpstreamError {
    UpstreamError::Refused { url: "upstream".to_owned(), reason: reason.into() }
}

tokio::task_local! {
    /// Whether the running request was redirected; errors of reqwest do not state it.
    static IS_REDIRECTED: Cell<bool>;
}

/// Sends a request; also returns whether it was redirected.
pub(super) async fn send(request: RequestBuilder) -> (Result<Response, reqwest::Error>, bool) {
    let work = async {
        let response = request.send().await;
        (response, IS_REDIRECTED.with(Cell::get))
    };
    IS_REDIRECTED.scope(Cell::new(false), work).await
}

/// Follows a few redirects, never from HTTPS to HTTP, which would lose the verified connection.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let _ = IS_REDIRECTED.try_with(|is_redirected| is_redirected.set(true));
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(format!("redirected more than {MAX_REDIRECTS} times"));
    }
    let from_tls = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    match attempt.url().scheme() {
        "https" => attempt.follow(),
        "http" if !from_tls => attempt.follow(),
        "http" => attempt.error("redirected from https to http"),
        other => {
            let text = format!("redirected to a '{}' address", other.chars().take(20).collect::<String>());
            attempt.error(text)
        }
    }
}

/// Converts `[Proxy]` for reqwest. `NO_PROXY` of the environment always applies.
pub fn reqwest_proxy(proxy: &Proxy) -> Result<Option<reqwest::Proxy>, UpstreamError> {
    let Some(configured_url) = proxy.url.as_ref().map(|url| url.0.trim()).filter(|url| !url.is_empty())
    else {
        return Ok(None);
    };
    // The text may contain a password, so no message repeats it.
    let invalid_url = || UpstreamError::Refused {
        url: "Proxy.URL".to_owned(),
        reason: "is neither host:port nor a URL that begins with http://, https://, socks4:// or socks5://"
            .to_owned(),
    };
    let full_url = if configured_url.contains("://") {
        configured_url.to_owned()
    } else {
        format!("http://{configured_url}")
    };
    let mut url = url::Url::parse(&full_url).map_err(|_| invalid_url())?;
    let is_supported = matches!(url.scheme(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h");
    if !is_supported || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid_url());
    }
    let user = proxy.user.as_deref().filter(|user| !user.is_empty() && url.username().is_empty());
    if let Some(user) = user.map(str::to_owned) {
        let password = proxy.password.as_ref().map(|p| p.0.as_str());
        // User and password are set in the URL, not with `basic_auth`, so that SOCKS proxies get them as well.
        url.set_username(&user).map_err(|()| invalid_url())?;
        url.set_password(password).map_err(|()| invalid_url())?;
    }
    let proxy = reqwest::Proxy::all(url).map_err(|_| invalid_url())?;
    Ok(Some(proxy.no_proxy(reqwest::NoProxy::from_env())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Secret;

    fn proxy(url: &str) -> Proxy {
        Proxy {
            url: Some(Secret(url.to_owned())),
            user: Some("team".to_owned()),
            password: Some(Secret("p@ss/word".to_owned())),
        }
    }

    #[test]
    fn the_user_agent_names_program_version_and_contact() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent("some-program", None), format!("some-program/{version}"));
        let contact = Some("packages@example.org");
        assert_eq!(
            user_agent("some-program", contact),
            format!("some-program/{version} (packages@example.org)")
        );
    }

    #[test]
    fn a_proxy_is_a_host_with_a_port_or_a_url() {
        for good in ["proxy:3128", "http://proxy:3128", "https://u:p@proxy", "socks5://[::1]:1080", ""] {
            assert!(reqwest_proxy(&proxy(good)).is_ok(), "{good}");
        }
        for bad in ["http://", "ftp://proxy", "a b:1", "http://proxy:99999"] {
            assert!(reqwest_proxy(&proxy(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_that_is_refused_is_not_repeated() {
        let error = reqwest_proxy(&proxy("ftp://me:secret@proxy")).expect_err("not a proxy").to_string();
        assert!(!error.contains("secret") && error.contains("Proxy.URL"), "{error}");
    }
}
