//! Mirrors over HTTP or on disk: conditional requests, retries, proxy. Sees no store.

pub mod error;
pub mod mirror;

pub use error::UpstreamError;
pub use mirror::{Fetch, Fetched, Mirror, Opened, Validators};

/// The client every mirror is reached through; cloning shares its connections.
#[derive(Clone)]
pub struct Upstream {}

impl Upstream {
    /// Builds the client: proxy, time limits, roots of the platform.
    pub fn new(proxy: &crate::config::Proxy) -> Result<Upstream, UpstreamError> {
        let _ = proxy;
        todo!()
    }

    /// The mirror at `url` (`https://`, `http://`, `file://`). Looks at nothing yet.
    pub fn mirror(&self, url: &str) -> Result<Mirror, UpstreamError> {
        let _ = url;
        todo!()
    }
}
