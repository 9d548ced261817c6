//! Access to package sources, to rules of system requirements and to advisories. `transport` reads bytes over HTTP or
//! from a directory; `origin` determines what a mirror, a bundle or a binary server declares. Uses no store.

pub mod advisories;
pub mod origin;
pub mod rule_base;
pub mod transport;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base::config::{BinaryServerKind, BinaryUrl, Config, Cran, PrivateUrl, Proxy};
use base::model::kind::Language;
use formats::language;
use origin::bundle::Bundle;
use origin::bundle_cache::BundleCache;
use origin::bundle_trust::BundleTrust;
pub use origin::mirror::Mirror;
pub use origin::project_index::{DecodedPages, MAX_DECODED_LIST, ProjectIndex, decode_pages};
use transport::Transport;
use transport::address::Address;
use transport::client::HttpClient;
pub use transport::client::{Limits, reqwest_proxy, user_agent};
pub use transport::download::ByteSink;
pub use transport::file::{FilePart, FileRequest, FileResponse, FileStream, Validators};
pub use transport::page::{Page, PageAge, PageRequest, PageResponse};
pub use transport::post::Posted;

/// The client for all origins; clones share its connections and its cache of bundles.
#[derive(Clone)]
pub struct Upstream {
    http: Arc<HttpClient>,
    bundle_cache: Arc<BundleCache>,
}

/// The name of the server in the header `User-Agent`.
const SERVER: &str = "rstudio-pm";

impl Upstream {
    /// Reads the proxy settings; refuses an invalid proxy URL. Connections, and loading the platform's
    /// certificates, are deferred to the first request over HTTP.
    pub fn new(proxy: &Proxy) -> Result<Upstream, UpstreamError> {
        Upstream::with_limits(proxy, Limits::default())
    }

    /// Like [`Upstream::new`], with other time limits.
    pub fn with_limits(proxy: &Proxy, limits: Limits) -> Result<Upstream, UpstreamError> {
        Upstream::with_agent(proxy, limits, user_agent(SERVER, None))
    }

    /// Like [`Upstream::with_limits`], with this header `User-Agent`, see [`user_agent`].
    pub fn with_agent(proxy: &Proxy, limits: Limits, agent: String) -> Result<Upstream, UpstreamError> {
        let http = Arc::new(HttpClient::new(proxy, limits, agent)?);
        Ok(Upstream { http, bundle_cache: Arc::default() })
    }

    /// Creates the client of a server: with its proxy, its contact in the header `User-Agent`, and the keys of bundles.
    pub fn of_server(config: &Config) -> Result<Upstream, UpstreamError> {
        let agent = user_agent(SERVER, config.server.contact.as_deref());
        let bundle_cache = Arc::new(BundleCache::new(BundleTrust::of(config)?));
        Ok(Upstream { bundle_cache, ..Upstream::with_agent(&config.proxy, Limits::default(), agent)? })
    }

    /// Returns the files at `url` (`https://`, `http://`, `file://`) without accessing them.
    pub fn transport(&self, url: &str) -> Result<Transport, UpstreamError> {
        Ok(Transport::new(Address::parse(url)?, &self.http))
    }

    /// Posts a message to the service at `url` and returns its answer, of any status. No retry.
    ///
    /// # Errors
    /// There was no complete answer within `timeout`, or it is too large.
    pub async fn post(
        &self,
        url: &str,
        media_type: &'static str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Posted, UpstreamError> {
        transport::post::post(&self.http, url, media_type, body, timeout).await
    }

    /// Returns the bundle at `url` without accessing it.
    pub fn bundle(&self, url: &str) -> Result<Bundle, UpstreamError> {
        Ok(self.bundle_cache.bundle(self.transport(url)?))
    }

    /// Returns whether an address must be that of a signed bundle, or of a part of one.
    fn must_be_bundle(&self, url: &str) -> bool {
        Address::parse(url).is_ok_and(|address| self.bundle_cache.trust.required_bundle(&address).is_some())
    }

    /// Returns the mirror or the bundle at `url`; HTTP is not accessed: see [`Mirror::check`].
    pub fn mirror(&self, url: &str) -> Result<Mirror, UpstreamError> {
        Ok(Mirror::at(Address::parse(url)?, &self.http, &self.bundle_cache))
    }

    /// As [`Upstream::mirror`], for the mirror at `url` that is a part of the one at `root`.
    pub fn mirror_part(&self, root: &str, url: &str) -> Result<Mirror, UpstreamError> {
        Ok(self.mirror(url)?.part_of(Address::parse(root)?))
    }

    /// Returns the index of packages of a language at `url`, or the bundle with such packages; the usual folder of its
    /// pages, such as `/simple`, at the end of `url` is optional. HTTP is not accessed.
    pub fn project_index(&self, language: Language, url: &str) -> Result<ProjectIndex, UpstreamError> {
        let projects = language::of(language).projects().ok_or_else(|| UpstreamError::Refused {
            url: base::config::without_userinfo(url),
            reason: format!("{} has no index with one page per project", language.label()),
        })?;
        let url = projects.addresses().base(url);
        let transport = Transport::of_mirror(Address::parse(url)?, &self.http);
        let is_bundle = self.must_be_bundle(url);
        Ok(ProjectIndex::at(language, projects, transport, is_bundle, Arc::clone(&self.bundle_cache)))
    }

    /// Returns the binary servers: those of `CRAN.BinaryURL`, or else the bundle that packages come from.
    pub fn binaries<'a>(&self, cran: &'a Cran) -> Cow<'a, [BinaryUrl]> {
        let is_from_bundle =
            cran.binaries.is_empty() && self.mirror(&cran.url).is_ok_and(|mirror| mirror.is_bundle());
        if !is_from_bundle {
            return Cow::Borrowed(&cran.binaries);
        }
        let linux = BinaryServerKind::Linux { distribution: None, arch: None, r: None };
        let base = PrivateUrl(cran.url.trim_end_matches('/').to_owned());
        let binary_url = |kind| BinaryUrl { base: base.clone(), kind };
        Cow::Owned(vec![binary_url(BinaryServerKind::Mirror), binary_url(linux)])
    }
}

/// An error of a request to a mirror. Never contains the userinfo of the URL.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The mirror has no such file (404, 410, or no file on disk).
    #[error("{0} is not on the mirror")]
    Missing(String),
    /// A retry may succeed: the connection failed, the request timed out, or the mirror answered 408, 429 or 5xx.
    #[error("{url}: {reason}")]
    Unavailable {
        url: String,
        reason: String,
        /// The mirror's `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// Whether other requests to the mirror fail, too: no connection to it could be made, requests to it are
        /// paused, or its bundle is incomplete.
        is_of_mirror: bool,
    },
    /// A later attempt will not succeed: a bad URL, a rejected certificate, an invalid body.
    #[error("{url}: {reason}")]
    Refused { url: String, reason: String },
}
