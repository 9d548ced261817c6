//! Access to mirrors and bundles over HTTP or on disk, to the rule base of system requirements and to advisories:
//! conditional requests, retries, proxy. Uses no store.

pub mod advisories;
pub mod binary_indexes;
pub mod bundle;
mod bundle_cache;
pub mod bundle_mirror;
mod decompress;
mod dir_mirror;
mod download;
pub mod error;
mod http_client;
mod http_mirror;
pub mod mirror;
pub mod mirror_view;
mod probe;
mod readmes;
pub mod retry;
pub mod rule_base;

pub use download::ByteSink;
pub use error::UpstreamError;
pub use http_client::Limits;
pub use mirror::{FilePart, FileRequest, FileResponse, FileStream, Mirror, Validators};

use std::sync::Arc;

use bundle_cache::BundleCache;
use http_client::HttpClient;

/// The client for all mirrors; clones share its connections and its cache of bundles.
#[derive(Clone)]
pub struct Upstream {
    http: Arc<HttpClient>,
    bundle_cache: Arc<BundleCache>,
}

impl Upstream {
    /// Reads the proxy settings; refuses an invalid proxy URL. Connections, and loading the platform's certificates,
    /// are deferred to the first request over HTTP.
    pub fn new(proxy: &crate::config::Proxy) -> Result<Upstream, UpstreamError> {
        Upstream::with_limits(proxy, Limits::default())
    }

    /// As [`Upstream::new`] with other time limits.
    pub fn with_limits(proxy: &crate::config::Proxy, limits: Limits) -> Result<Upstream, UpstreamError> {
        Ok(Upstream { http: Arc::new(HttpClient::new(proxy, limits)?), bundle_cache: Arc::default() })
    }

    /// Returns the mirror at `url` (`https://`, `http://`, `file://`) without accessing it: see [`Mirror::check`].
    pub fn mirror(&self, url: &str) -> Result<Mirror, UpstreamError> {
        Mirror::at(url, &self.http, &self.bundle_cache)
    }
}
