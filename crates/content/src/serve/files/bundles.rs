//! Bundles in local directories from which packages are served; cached together with the configuration that names them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::located::LocatedFile;
use super::upstream;
use crate::index::locator::{self, FileAddress};
use crate::serve::Repositories;
use ::upstream::{Mirror, Upstream};
use base::config::Config;
use base::model::digest::Sha256;
use base::model::ids::TreeId;
use formats::bundle::Product;
use formats::r::platform::Platform;
use runtime::catalog::Tree;

/// The bundles of the current configuration, shared.
pub(in crate::serve) type SharedBundles = ArcSwapOption<Bundles>;

pub(in crate::serve) struct Bundles {
    config: Arc<Config>,
    upstream: Arc<Upstream>,
    cran: BundleOrigin,
    bioconductor: BundleOrigin,
}

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
            // A later fetch reports the error.
            Err(_) => BundleOrigin::Other,
        }
    }
}

pub(in crate::serve) enum BundleFile {
    Object(Mirror, Product),
    Python(FileAddress),
}

impl BundleFile {
    /// Returns the directory, and the path below it, of the object with a digest; `name` is the file name.
    pub(in crate::serve) fn path(
        self,
        repositories: &Repositories,
        digest: Sha256,
        name: &str,
    ) -> Option<(Mirror, String)> {
        match self {
            BundleFile::Object(mirror, product) => {
                let path = mirror.object_path(&product, digest, name)?;
                Some((mirror, path))
            }
            BundleFile::Python(FileAddress { folder, path }) => {
                let mirror = repositories.state.upstream.load().mirror(&folder).ok()?;
                Some((mirror, path))
            }
        }
    }
}

/// Returns the location of a file in a bundle; `None` if packages come from elsewhere or from storage.
pub(in crate::serve) fn of_file(repositories: &Repositories, located: &LocatedFile) -> Option<BundleFile> {
    if located.stored || located.sha256.is_none() || !upstream::may_be_fetched(&repositories.state, located) {
        return None;
    }
    if let Some(index) = repositories.state.config.load().index(located.source()) {
        return locator::object_in_directory(&located.row.locator, index).map(BundleFile::Python);
    }
    let mirror_and_product = of_tree(repositories, located.tree().tree, located.platform.as_ref());
    mirror_and_product.map(|(mirror, product)| BundleFile::Object(mirror, product))
}

/// Returns the bundle that contains the files of a mirrored tree, or binaries for a platform.
pub(in crate::serve) fn of_tree(
    repositories: &Repositories,
    tree: TreeId,
    platform: Option<&Platform>,
) -> Option<(Mirror, Product)> {
    let bundles = current_bundles(repositories);
    let part = repositories.state.catalog.get().tree(tree).and_then(Tree::part);
    let (origin, product) = match (platform, part) {
        (Some(platform), _) => (&bundles.cran, Product::Binaries(platform.to_string())),
        (None, Some(part)) => (&bundles.bioconductor, Product::Bioconductor(part.version.to_string())),
        (None, None) => (&bundles.cran, Product::Cran),
    };
    match origin {
        BundleOrigin::Bundle(mirror) => Some((mirror.clone(), product)),
        BundleOrigin::Other | BundleOrigin::PlainDirectory => None,
    }
}

fn current_bundles(repositories: &Repositories) -> Arc<Bundles> {
    let (config, upstream) = (repositories.state.config.load(), repositories.state.upstream.load());
    if let Some(cached_bundles) = repositories.files.bundles.load_full()
        && Arc::ptr_eq(&cached_bundles.config, &config)
        && Arc::ptr_eq(&cached_bundles.upstream, &upstream)
    {
        return cached_bundles;
    }
    let bundles = Arc::new(Bundles {
        cran: BundleOrigin::of(&upstream, &config.cran.url),
        bioconductor: BundleOrigin::of(&upstream, &config.bioconductor.url),
        config: Arc::clone(&config),
        upstream: Arc::clone(&upstream),
    });
    if ![&bundles.cran, &bundles.bioconductor]
        .iter()
        .any(|origin| matches!(origin, BundleOrigin::PlainDirectory))
    {
        repositories.files.bundles.store(Some(Arc::clone(&bundles)));
    }
    bundles
}
