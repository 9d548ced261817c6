//! Caches the heads of bundles (revalidated at each use), the contents of products (as weak references, which are valid
//! while a mirror uses the contents), and README directories.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::bundle::{Bundle, BundleError, HeadCheck, VerifiedHead};
use super::bundle_trust::BundleTrust;
use super::mirror_view::Folders;
use super::project_bundle::ProjectCache;
use super::readmes::Directory;
use crate::transport::Transport;
use crate::transport::file::Validators;
use base::model::digest::Sha256;
use base::model::kind::Language;
use formats::bundle::Product;

/// Maximum number of cached heads; one that lists years of segments of CRAN takes several megabytes.
const MAX_HEADS: usize = 64;

pub(super) type Key = (String, Product);

type CachedHead = (Validators, Arc<VerifiedHead>);

/// The contents of a product for one head.
pub(super) struct Contents {
    /// The chain of the head.
    pub(super) chain: Sha256,
    pub(super) folders: Folders,
}

/// Locked while a product is read; other readers wait, and then use the result.
pub(super) type Slot = Arc<tokio::sync::Mutex<Weak<Contents>>>;

/// Maximum number of cached README directories; that of CRAN takes several megabytes.
const MAX_DIRECTORIES: usize = 32;

/// As [`Slot`], for a README directory.
type ReadmeSlot = Arc<tokio::sync::Mutex<Arc<Directory>>>;

/// The cache, shared by the mirrors of a client.
pub(crate) struct BundleCache {
    pub(crate) trust: BundleTrust,
    heads: Cache<Key, CachedHead>,
    products: Mutex<HashMap<Key, Slot>>,
    directories: Cache<Key, ReadmeSlot>,
    /// HTTP addresses that are known to be bundles.
    http_bundles: Mutex<HashSet<String>>,
    projects: BTreeMap<Language, ProjectCache>,
}

impl Default for BundleCache {
    fn default() -> BundleCache {
        BundleCache::new(BundleTrust::default())
    }
}

impl BundleCache {
    pub(crate) fn new(trust: BundleTrust) -> BundleCache {
        let (heads, directories) = (Cache::new(MAX_HEADS), Cache::new(MAX_DIRECTORIES));
        BundleCache {
            trust,
            heads,
            products: Mutex::default(),
            directories,
            http_bundles: Mutex::default(),
            projects: Language::ALL.map(|language| (language, ProjectCache::new(language))).into(),
        }
    }

    /// Returns the bundle with the files of this transport; nothing is read yet.
    pub(crate) fn bundle(&self, transport: Transport) -> Bundle {
        Bundle::at(transport).requiring(Arc::clone(&self.trust.keys))
    }

    /// Returns the head of a product; read again only if its file changed. A missing base is an error.
    pub(super) async fn head(
        &self,
        bundle: &Bundle,
        product: &Product,
    ) -> Result<Arc<VerifiedHead>, BundleError> {
        let key = (bundle.address(), product.clone());
        let cached_head = self.heads.get(&key);
        match (
            bundle.check_head(product, cached_head.as_ref().map(|head| head.0.clone())).await?,
            cached_head,
        ) {
            (HeadCheck::Unchanged, Some((_, verified_head))) => Ok(verified_head),
            // A server does not send this response to an unconditional request.
            (HeadCheck::Unchanged, None) => bundle.head(product).await.map(Arc::new),
            (HeadCheck::Read { verified_head, validators }, cached_head) => {
                let verified_head = Arc::new(bundle.require_bases(product, *verified_head)?);
                let known_serial = cached_head.map(|(_, known)| known.head.serial);
                bundle.refuse_older(product, &verified_head.head, known_serial)?;
                match validators {
                    Some(validators) => self.heads.insert(key, (validators, Arc::clone(&verified_head))),
                    None => drop(self.heads.remove(&key)),
                }
                Ok(verified_head)
            }
        }
    }

    /// Returns the indexes of a language.
    pub(super) fn projects(&self, language: Language) -> &ProjectCache {
        &self.projects[&language]
    }

    /// Returns whether an HTTP address is known to be a bundle.
    pub(super) fn is_bundle(&self, address: &str) -> bool {
        self.http_bundles.lock().contains(address)
    }

    pub(super) fn record_probe(&self, address: &str, is_bundle: bool) {
        let mut http_bundles = self.http_bundles.lock();
        if !is_bundle {
            http_bundles.remove(address);
        } else if http_bundles.insert(address.to_owned()) {
            tracing::info!(target: "upstream", "{address} is a bundle");
        }
    }

    pub(super) fn slot(&self, key: &Key) -> Slot {
        let mut products = self.products.lock();
        if let Some(slot) = products.get(key) {
            return Arc::clone(slot);
        }
        // Slots without users are removed.
        let is_in_use = |slot: &Slot| slot.try_lock().map_or(true, |entry| entry.strong_count() > 0);
        products.retain(|_, slot| is_in_use(slot));
        Arc::clone(products.entry(key.clone()).or_default())
    }

    /// Returns the README of a package file by the digest of the file; `None` if the file has none.
    pub(super) async fn readme(
        &self,
        bundle: &Bundle,
        product: &Product,
        file: Sha256,
    ) -> Result<Option<String>, BundleError> {
        let verified_head = self.head(bundle, product).await?;
        let key = (bundle.address(), product.clone());
        let slot =
            self.directories.get_or_insert_with(&key, || Ok::<_, BundleError>(ReadmeSlot::default()))?;
        let directory = {
            let mut cached_directory = slot.lock().await;
            if !cached_directory.is_current(&verified_head.head) {
                *cached_directory = Arc::new(cached_directory.update(bundle, product, &verified_head).await?);
            }
            Arc::clone(&cached_directory)
        };
        directory.read(bundle, product, &verified_head.head, file).await
    }
}
