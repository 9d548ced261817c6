//! Bundles in local directories that packages are served from; cached together with the configuration that names them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Repo;
use super::file::Located;
use crate::bundle::Product;
use crate::catalog::Tree;
use crate::config::Config;
use crate::model::ids::TreeId;
use crate::r::platform::Platform;
use crate::upstream::{Mirror, Upstream};

/// The bundles of the current configuration, shared.
pub(super) type Kept = ArcSwapOption<Bundles>;

/// The bundles of a configuration.
pub(super) struct Bundles {
    config: Arc<Config>,
    upstream: Arc<Upstream>,
    cran: Side,
    bioconductor: Side,
}

/// Where the packages of one product come from.
enum Side {
    /// A mirror over HTTP, or nothing.
    Elsewhere,
    /// A directory that is not a bundle yet; a bundle may still be copied there.
    Directory,
    Bundle(Mirror),
}

impl Side {
    fn of(upstream: &Upstream, url: &str) -> Side {
        if !url.starts_with("file:") {
            return Side::Elsewhere;
        }
        match upstream.mirror(url) {
            Ok(mirror) if mirror.is_bundle() => Side::Bundle(mirror),
            Ok(_) => Side::Directory,
            // A fetch from there reports the error.
            Err(_) => Side::Elsewhere,
        }
    }
}

impl Repo {
    /// Returns the bundle and product that contain a file; `None` when packages come from elsewhere, or the file is
    /// served from storage.
    pub(super) fn bundle_of(&self, located: &Located) -> Option<(Mirror, Product)> {
        if located.stored || located.sha256.is_none() || !self.may_be_fetched(located) {
            return None;
        }
        self.bundle_for(located.tree().tree, located.built.as_ref())
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
            Side::Bundle(mirror) => Some((mirror.clone(), product)),
            Side::Elsewhere | Side::Directory => None,
        }
    }

    /// Whether a located file can be served without fetching it: from storage, or from a bundle under its digest.
    #[must_use]
    pub fn stays(&self, located: &Located) -> bool {
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
            cran: Side::of(&upstream, &config.cran.url),
            bioconductor: Side::of(&upstream, &config.bioconductor.url),
            config: Arc::clone(&config),
            upstream: Arc::clone(&upstream),
        });
        if ![&bundles.cran, &bundles.bioconductor].iter().any(|side| matches!(side, Side::Directory)) {
            self.bundles.store(Some(Arc::clone(&bundles)));
        }
        bundles
    }
}
