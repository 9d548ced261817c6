//! Determines whether a file can be fetched, and from which addresses of its mirrors.

use super::located::LocatedFile;
use crate::fetch::PackageForm;
use crate::fetch::candidates::{self, MirrorPath};
use crate::index::locator;
use crate::serve::RepoError;
use base::model::ids::SourceId;
use base::model::kind::{StorageClass, Supply};
use formats::bundle::Product;
use formats::r::bioconductor;
use runtime::catalog::Tree;
use runtime::state::State;
use store::storage::StorageError;
use upstream::UpstreamError;

pub(in crate::serve) fn no_upstream(located: &LocatedFile) -> RepoError {
    RepoError::Storage(StorageError::NotFound(format!("{} (which no mirror has)", located.name)))
}

/// Returns whether a file can be fetched, for the first time or again.
pub(in crate::serve) fn may_be_fetched(state: &State, located: &LocatedFile) -> bool {
    has_mirror(state, located.source()) && located.has_upstream()
}

/// Returns whether the packages of a source come from a mirror.
pub(in crate::serve) fn has_mirror(state: &State, source: SourceId) -> bool {
    state.catalog.get().source_by_id(source).is_some_and(|source| source.kind.supply() == Supply::Mirror)
}

/// Returns the paths on mirrors from which a file can be fetched, its storage class, and the expected kind of file.
pub(in crate::serve) fn candidates(
    state: &State,
    located: &LocatedFile,
) -> Result<(Vec<MirrorPath>, StorageClass, PackageForm), RepoError> {
    let config = state.config.load();
    let upstream = state.upstream.load();
    let unavailable = |source| RepoError::Upstream { source, retry_after: 60 };
    let object = |url: &str, product: &Product| {
        let sha256 = located.sha256.filter(|_| !located.stored)?;
        let mirror = upstream.mirror(url).ok()?;
        let path = mirror.object_path(product, sha256, &located.name)?;
        Some(MirrorPath { mirror, path })
    };
    let catalog = state.catalog.get();
    let class = || catalog.source_by_id(located.source()).map(|source| source.kind.storage_class());
    Ok(match (&located.platform, config.index(located.source())) {
        (None, Some(index)) => {
            let address = locator::address(&located.row.locator, index).map_err(|reason| {
                tracing::warn!(file = %located.name, reason, "could not fetch a file of the index");
                unavailable(UpstreamError::Refused { url: located.name.clone(), reason })
            })?;
            let mirror = upstream.mirror(&address.folder).map_err(unavailable)?;
            // The bytes are verified with the digest that the index declares.
            let paths = vec![MirrorPath { mirror, path: address.path }];
            (paths, class().ok_or_else(|| no_upstream(located))?, PackageForm::Source)
        }
        (None, None) => {
            let class = class().ok_or_else(|| no_upstream(located))?;
            let (root, url, product) = match catalog.tree(located.tree.tree).and_then(Tree::part) {
                Some(part) => {
                    let root = &config.bioconductor.url;
                    let product = Product::Bioconductor(part.version.to_string());
                    (root, bioconductor::part_url(root, part), product)
                }
                None => (&config.cran.url, config.cran.url.to_string(), Product::Cran),
            };
            let mirror = upstream.mirror_part(root, &url).map_err(unavailable)?;
            let paths = candidates::source_candidates(&mirror, &located.row, &located.package);
            let paths = candidates::add_object(paths, object(root, &product));
            (paths, class, PackageForm::Source)
        }
        (Some(platform), _) => {
            let locator = &located.row.locator;
            let paths =
                candidates::binary_candidates(&upstream.binaries(&config.cran), &upstream, platform, locator);
            let product = Product::Binaries(platform.to_string());
            let object =
                config.cran.binaries.is_empty().then(|| object(&config.cran.url, &product)).flatten();
            let paths = match (paths, object) {
                (Ok(paths), object) => candidates::add_object(paths, object),
                // The mirror was not examined yet; it may be a bundle that contains binaries.
                (Err(_), Some(object)) => vec![object],
                (Err(error), None) => return Err(unavailable(error)),
            };
            (paths, StorageClass::Binaries, PackageForm::Binary(platform.clone()))
        }
    })
}
