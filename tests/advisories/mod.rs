//! Advisories about packages: real databases, feeds, and responses to clients.

mod databases;
mod feeds;
mod refusals;
mod responses;
mod syncing;

use rstudio_pm::advisory::Batch;
use rstudio_pm::language::Ecosystem;
use rstudio_pm::storage::install_tls_provider;
use rstudio_pm::upstream::advisories::{Feed, FeedRefresh};
use rstudio_pm::upstream::{Upstream, UpstreamError, Validators};

use crate::support::sync_backend::limits;

fn upstream() -> Upstream {
    install_tls_provider();
    Upstream::with_limits(&rstudio_pm::config::Proxy::default(), limits()).expect("a client")
}

/// The single feed of a URL.
fn feed(url: &str) -> Feed {
    let mut feeds = Feed::of(url, &[Ecosystem::Cran]);
    assert_eq!(feeds.len(), 1, "{url}");
    feeds.remove(0)
}

/// Fetches a feed for the first time.
async fn fetch(url: &str) -> Result<(Batch, Validators), UpstreamError> {
    match upstream().advisories(&feed(url), None, std::future::ready(None)).await? {
        FeedRefresh::Read(batch, validators) => Ok((*batch, validators)),
        other => panic!("{url}: {other:?}"),
    }
}

/// The ids of a batch.
fn ids(batch: &Batch) -> String {
    batch.advisories().map(|advisory| advisory.id.as_str()).collect::<Vec<_>>().join(" ")
}
