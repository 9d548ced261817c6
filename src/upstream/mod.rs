//! Access to mirrors and bundles over HTTP or on disk, to the rule base of system requirements and to advisories:
//! conditional requests, retries, proxy. Uses no store.

pub mod advisories;
mod behind;
pub mod bundle;
pub mod bundled;
mod client;
pub mod error;
mod folder;
pub mod indexes;
pub mod mirror;
mod pull;
mod readmes;
mod recalled;
mod remote;
pub mod retry;
pub mod rule_base;
pub mod shown;
mod unpacked;

pub use client::Limits;
pub use error::UpstreamError;
pub use mirror::{Fetch, Fetched, Mirror, Opened, Piece, Validators};
pub use pull::Taker;

use std::sync::Arc;

use client::Web;
use recalled::Recalled;

/// The client for all mirrors; clones share its connections and its cache of bundles.
#[derive(Clone)]
pub struct Upstream {
    web: Arc<Web>,
    recalled: Arc<Recalled>,
}

impl Upstream {
    /// Reads the proxy settings; refuses an invalid proxy URL. Connections, and loading the platform's certificates,
    /// are deferred to the first request over HTTP.
    pub fn new(proxy: &crate::config::Proxy) -> Result<Upstream, UpstreamError> {
        Upstream::with_limits(proxy, Limits::default())
    }

    /// As [`Upstream::new`] with other time limits.
    pub fn with_limits(proxy: &crate::config::Proxy, limits: Limits) -> Result<Upstream, UpstreamError> {
        Ok(Upstream { web: Arc::new(Web::new(proxy, limits)?), recalled: Arc::default() })
    }

    /// Returns the mirror at `url` (`https://`, `http://`, `file://`) without accessing it: see [`Mirror::check`].
    pub fn mirror(&self, url: &str) -> Result<Mirror, UpstreamError> {
        Mirror::at(url, &self.web, &self.recalled)
    }
}
