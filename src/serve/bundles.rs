//! Bundles in local directories that packages are served from; cached together with the configuration that names them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Repositories;
use super::file::Located;
use crate::bundle::Product;
use crate::catalog::Tree;
use crate::config::Config;
use crate::model::ids::TreeId;
use crate::r::platform::Platform;
use crate::upstream::{Mirror, Upstream};

/// The bundles of the current configuration, shared.
pub(super) type SharedBundles = ArcSwapOption<Bundles>;

/// The bundles of a configuration.
pub(super) struct Bundles {
    config: Arc<Config>,
    upstream: Arc<Upstream>,
    cran: BundleOrigin,
    bioconductor: BundleOrigin,
}

/// Where the packages of one product come from.
enum BundleOrigin {
    /// A mirror over HTTP, or nothing.
    Other,
    /// A directory that is not a bundle yet; a bundle may still be copied there.
    PlainDirectory,
    Bundle(Mirror),
}

impl BundleOrigin {
    fn of(upstream: &Upstream, url: &str) -> BundleOrigin {
        if !url.starts_with("file:") {
            return BundleOrigin::Other;
        }
        match upstream.mirror(url) {
            Ok(mirror) if mirror.is_bundle() => BundleOrigin::Bundle(mirror),
            Ok(_) => BundleOrigin::PlainDirectory,
            // A fetch from there reports the error.
            Err(_) => BundleOrigin::Other,
        }
    }
}

impl Repositories {
    /// Returns the bundle and product that contain a file; `None` when packages come from elsewhere, or the file is
    /// served from storage.
    pub(super) fn bundle_of(&self, located: &Located) -> Option<(Mirror, Product)> {
        if located.stored || located.sha256.is_none() || !self.may_be_fetched(located) {
            return None;
        }
        self.bundle_for(located.tree().tree, located.platform.as_ref())
    }

    /// Returns the bundle that contains the files of a mirrored tree, or binaries for a platform.
    pub(super) fn bundle_for(&self, tree: TreeId, built: Option<&Platform>) -> Option<(Mirror, Product)> {
        let bundles = self.bundles();
        let part = self.state.catalog.get().tree(tree).and_then(Tree::part);
        let (side, product) = match (built, part) {
            (Some(platform), _) => (&bundles.cran, Product::Binaries(platform.to_string())),
            (None, Some(part)) => (&bundles.bioconductor, Product::Bioconductor(part.version.to_string())),
            (None, None) => (&bundles.cran, Product::Cran),
        };
        match side {
            BundleOrigin::Bundle(mirror) => Some((mirror.clone(), product)),
            BundleOrigin::Other | BundleOrigin::PlainDirectory => None,
        }
    }

    /// Whether a located file can be served without fetching it: from storage, or from a bundle under its digest.
    #[must_use]
    pub fn is_local(&self, located: &Located) -> bool {
        located.stored || self.bundle_of(located).is_some()
    }

    fn bundles(&self) -> Arc<Bundles> {
        let (config, upstream) = (self.state.config.load(), self.state.upstream.load());
        if let Some(kept) = self.bundles.load_full()
            && Arc::ptr_eq(&kept.config, &config)
            && Arc::ptr_eq(&kept.upstream, &upstream)
        {
            return kept;
        }
        let bundles = Arc::new(Bundles {
            cran: BundleOrigin::of(&upstream, &config.cran.url),
            bioconductor: BundleOrigin::of(&upstream, &config.bioconductor.url),
            config: Arc::clone(&config),
            upstream: Arc::clone(&upstream),
        });
        if ![&bundles.cran, &bundles.bioconductor]
            .iter()
            .any(|side| matches!(side, BundleOrigin::PlainDirectory))
        {
            self.bundles.store(Some(Arc::clone(&bundles)));
        }
        bundles
    }
}
