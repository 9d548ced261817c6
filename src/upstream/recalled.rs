//! What was read of bundles: heads for as long as they are what they were, products for as long as somebody uses them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::Validators;
use super::bundle::{Bundle, BundleError, Newest, Verified};
use super::readmes::Directory;
use super::shown::Folders;
use crate::bundle::Product;
use crate::model::digest::Sha256;

/// Heads that are kept; those of a CRAN with years of segments have some megabytes.
const HEADS: usize = 64;

/// A product, by the address of its bundle.
pub(super) type Key = (String, Product);

/// A head, and what it was read with.
type Head = (Validators, Arc<Verified>);

/// What a product has, at the time of a head.
pub(super) struct Contents {
    /// Of the head.
    pub(super) chain: Sha256,
    pub(super) folders: Folders,
}

/// Held by who reads a product; the others wait, and then find what was read.
pub(super) type Slot = Arc<tokio::sync::Mutex<Weak<Contents>>>;

/// Products whose READMEs can be found without reading their segments: that of CRAN takes some megabytes.
const DIRECTORIES: usize = 32;

/// As [`Slot`], of where READMEs are.
type Shelf = Arc<tokio::sync::Mutex<Arc<Directory>>>;

/// All of it, shared by the mirrors of a client.
pub(super) struct Recalled {
    heads: Cache<Key, Head>,
    products: Mutex<HashMap<Key, Slot>>,
    directories: Cache<Key, Shelf>,
    /// Addresses over HTTP that turned out to be those of bundles.
    remote: Mutex<HashSet<String>>,
}

impl Default for Recalled {
    fn default() -> Recalled {
        let (heads, directories) = (Cache::new(HEADS), Cache::new(DIRECTORIES));
        Recalled { heads, products: Mutex::default(), directories, remote: Mutex::default() }
    }
}

impl Recalled {
    /// The head of a product: read again only when its file is another. A base that is missing is an error.
    pub(super) async fn head(
        &self,
        bundle: &Bundle,
        product: &Product,
    ) -> Result<Arc<Verified>, BundleError> {
        let key = (bundle.mirror().address(), product.clone());
        let known = self.heads.get(&key);
        match (bundle.newest(product, known.as_ref().map(|head| head.0.clone())).await?, known) {
            (Newest::Unchanged, Some((_, verified))) => Ok(verified),
            // Nobody says that of something that was not known.
            (Newest::Unchanged, None) => bundle.head(product).await.map(Arc::new),
            (Newest::Read { verified, validators }, _) => {
                let verified = Arc::new(bundle.joined(product, *verified)?);
                match validators {
                    Some(validators) => self.heads.insert(key, (validators, Arc::clone(&verified))),
                    None => drop(self.heads.remove(&key)),
                }
                Ok(verified)
            }
        }
    }

    /// Whether a bundle was seen at an address over HTTP.
    pub(super) fn is_bundle(&self, address: &str) -> bool {
        self.remote.lock().contains(address)
    }

    /// Notes what was seen there.
    pub(super) fn note(&self, address: &str, is_bundle: bool) {
        let mut remote = self.remote.lock();
        if !is_bundle {
            remote.remove(address);
        } else if remote.insert(address.to_owned()) {
            tracing::info!(target: "upstream", "{address} is a bundle");
        }
    }

    /// The place of a product.
    pub(super) fn slot(&self, key: &Key) -> Slot {
        let mut products = self.products.lock();
        if let Some(slot) = products.get(key) {
            return Arc::clone(slot);
        }
        // Those that nobody has any more are forgotten.
        let in_use = |slot: &Slot| slot.try_lock().map_or(true, |known| known.strong_count() > 0);
        products.retain(|_, slot| in_use(slot));
        Arc::clone(products.entry(key.clone()).or_default())
    }

    /// The README of a package file, by the digest of that.
    pub(super) async fn readme(
        &self,
        bundle: &Bundle,
        product: &Product,
        file: Sha256,
    ) -> Result<Option<String>, BundleError> {
        let verified = self.head(bundle, product).await?;
        let key = (bundle.mirror().address(), product.clone());
        let shelf = self.directories.get_or_insert_with(&key, || Ok::<_, BundleError>(Shelf::default()))?;
        let directory = {
            let mut known = shelf.lock().await;
            if !known.is_of(&verified.head) {
                *known = Arc::new(known.brought_to(bundle, product, &verified).await?);
            }
            Arc::clone(&known)
        };
        directory.read(bundle, product, &verified.head, file).await
    }
}
