//! Probes whether an HTTP address is a mirror or a bundle: a mirror, unless it lacks a file of every mirror and has
//! one of every bundle.

use std::sync::Arc;

use super::bundle::Bundle;
use super::bundle_cache::BundleCache;
use super::bundle_mirror::BundleMirror;
use super::http_mirror::HttpMirror;
use super::mirror::{FileRequest, FileResponse};
use super::{Mirror, UpstreamError};
use crate::bundle::Product;

/// Files that every mirror of CRAN and of Bioconductor has; each is the last one to be requested if the others are
/// missing.
const PROBED_FILES: [&str; 2] = ["src/contrib/PACKAGES", "config.yaml"];

/// A possible bundle at an HTTP address.
pub(super) struct Probe {
    bundle: BundleMirror,
    cache: Arc<BundleCache>,
}

impl Probe {
    /// A probe of the root `files`; `within` as in [`BundleMirror::new`].
    pub(super) fn new(files: Mirror, within: &str, recalled: &Arc<BundleCache>) -> Probe {
        Probe { bundle: BundleMirror::new(files, within, Arc::clone(recalled)), cache: Arc::clone(recalled) }
    }

    /// Returns the bundle if a probe found one.
    pub(super) fn bundle(&self) -> Option<&BundleMirror> {
        self.cache.is_bundle(&self.bundle.files().address()).then_some(&self.bundle)
    }

    /// As [`Mirror::fetch`], from the mirror or the bundle.
    pub(super) async fn fetch(
        &self,
        remote: &HttpMirror,
        fetch: &FileRequest<'_>,
    ) -> Result<FileResponse, UpstreamError> {
        let is_telling = PROBED_FILES.contains(&fetch.path);
        if self.bundle().is_some() {
            let fetched = Box::pin(self.bundle.fetch(fetch)).await;
            if fetched.is_err() && is_telling {
                // The address may be a mirror now: the next request probes again.
                self.cache.record_probe(&self.bundle.files().address(), false);
            }
            return fetched;
        }
        match remote.fetch(fetch).await {
            Err(UpstreamError::Missing(_)) if is_telling && self.probe().await => {
                Box::pin(self.bundle.fetch(fetch)).await
            }
            fetched => fetched,
        }
    }

    /// Requests the files that identify a bundle.
    async fn probe(&self) -> bool {
        let files = self.bundle.files();
        let bundle = Bundle::at(files.clone());
        for product in [Product::Cran, Product::Bioconductor(String::new())] {
            if Box::pin(bundle.has(&product)).await.unwrap_or(false) {
                self.cache.record_probe(&files.address(), true);
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
    parts.next().is_some_and(crate::bundle::layout::is_bioconductor_version) && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_of_versions_are_below_the_root() {
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
