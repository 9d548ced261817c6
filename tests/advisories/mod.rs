//! Advisories about packages: the real databases, the places they come from, what is told of them.

mod databases;
mod places;
mod refusals;
mod syncing;
mod told;

use rstudio_pm::advisory::{Batch, Ecosystem};
use rstudio_pm::storage::install_tls_provider;
use rstudio_pm::upstream::advisories::{Feed, FeedCheck};
use rstudio_pm::upstream::{Upstream, UpstreamError, Validators};

use crate::support::sync_backend::limits;

fn upstream() -> Upstream {
    install_tls_provider();
    Upstream::with_limits(&rstudio_pm::config::Proxy::default(), limits()).expect("a client")
}

/// The one place behind a URL.
fn feed(url: &str) -> Feed {
    let mut feeds = Feed::of(url, &[Ecosystem::Cran]);
    assert_eq!(feeds.len(), 1, "{url}");
    feeds.remove(0)
}

/// Looks for the first time.
async fn first(url: &str) -> Result<(Batch, Validators), UpstreamError> {
    match upstream().advisories(&feed(url), None, std::future::ready(None)).await? {
        FeedCheck::Read(batch, validators) => Ok((*batch, validators)),
        other => panic!("{url}: {other:?}"),
    }
}

/// The ids of a batch.
fn ids(batch: &Batch) -> String {
    batch.advisories().map(|advisory| advisory.id.as_str()).collect::<Vec<_>>().join(" ")
}
