//! Probes whether an HTTP address is a mirror or a bundle: a mirror, unless it lacks a file of every mirror and has
//! one of every bundle.

use std::sync::Arc;

use super::bundle::Bundle;
use super::bundled::Bundled;
use super::mirror::{Fetch, Fetched};
use super::recalled::Recalled;
use super::remote::Remote;
use super::{Mirror, UpstreamError};
use crate::bundle::Product;

/// Files that every mirror of CRAN and of Bioconductor has; each is the last one to be requested if the others are
/// missing.
const TELLING: [&str; 2] = ["src/contrib/PACKAGES", "config.yaml"];

/// A possible bundle at an HTTP address.
pub(super) struct Behind {
    bundled: Bundled,
    recalled: Arc<Recalled>,
}

impl Behind {
    /// A probe of the root `files`; `within` as in [`Bundled::new`].
    pub(super) fn new(files: Mirror, within: &str, recalled: &Arc<Recalled>) -> Behind {
        Behind { bundled: Bundled::new(files, within, Arc::clone(recalled)), recalled: Arc::clone(recalled) }
    }

    /// Returns the bundle if a probe found one.
    pub(super) fn seen(&self) -> Option<&Bundled> {
        self.recalled.is_bundle(&self.bundled.files().address()).then_some(&self.bundled)
    }

    /// As [`Mirror::fetch`], from the mirror or the bundle.
    pub(super) async fn fetch(&self, remote: &Remote, fetch: &Fetch<'_>) -> Result<Fetched, UpstreamError> {
        let is_telling = TELLING.contains(&fetch.path);
        if self.seen().is_some() {
            let fetched = Box::pin(self.bundled.fetch(fetch)).await;
            if fetched.is_err() && is_telling {
                // The address may be a mirror now: the next request probes again.
                self.recalled.note(&self.bundled.files().address(), false);
            }
            return fetched;
        }
        match remote.fetch(fetch).await {
            Err(UpstreamError::Missing(_)) if is_telling && self.look().await => {
                Box::pin(self.bundled.fetch(fetch)).await
            }
            fetched => fetched,
        }
    }

    /// Requests the files that identify a bundle.
    async fn look(&self) -> bool {
        let files = self.bundled.files();
        let bundle = Bundle::at(files.clone());
        for product in [Product::Cran, Product::Bioconductor(String::new())] {
            if Box::pin(bundle.has(&product)).await.unwrap_or(false) {
                self.recalled.note(&files.address(), true);
                return true;
            }
        }
        false
    }
}

/// Splits an address into the root of a possible bundle and a folder of a mirror below it:
/// `packages/3.20/data/annotation`.
pub(super) fn root(address: &str) -> (&str, &str) {
    match address.rfind("/packages/") {
        Some(at) if is_part(&address[at + 1..]) => (&address[..at], &address[at + 1..]),
        Some(_) | None => (address, ""),
    }
}

fn is_part(path: &str) -> bool {
    let mut parts = path.trim_end_matches('/').split('/').skip(1);
    parts.next().is_some_and(crate::bundle::layout::is_release) && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_versions_lie_below_the_root() {
        for (address, within) in [
            ("http://h/b/packages/3.20/bioc", "packages/3.20/bioc"),
            ("http://h/b/packages/3.20/data/annotation", "packages/3.20/data/annotation"),
            ("http://h/packages/b", ""),
            ("http://h/packages/3.20", ""),
            ("http://h/b", ""),
        ] {
            let cut = address.len() - within.len() - usize::from(!within.is_empty());
            assert_eq!(root(address), (&address[..cut], within));
        }
    }
}
