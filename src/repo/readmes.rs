//! READMEs of packages that a bundle has: read from it when somebody asks, because no archive of them was looked into.

use bytes::Bytes;
use parking_lot::Mutex;

use super::Repo;
use super::info::README_LIMIT;
use crate::model::digest::Sha256;
use crate::model::ids::TreeId;
use crate::storage::hot::Hot;

/// READMEs that were read, and what the last failure was.
#[derive(Default)]
pub(super) struct Read {
    /// By the digest of the package file; an empty one where there is none.
    texts: Hot<Sha256, Bytes>,
    trouble: Mutex<String>,
}

impl Repo {
    /// The README of a package file that is listed in a tree and lies in a bundle. What fails is told in the log: an
    /// answer without a README is better than none.
    pub(super) async fn bundled_readme(&self, tree: TreeId, file: Sha256) -> Option<Vec<u8>> {
        let (mirror, product) = self.bundle_for(tree, None)?;
        let known = || self.readmes.texts.get(&file);
        let text = match known() {
            Some(text) => text,
            None => {
                // One at a time: each takes a processor for a while.
                let _one = self.looking.lock().await;
                match known() {
                    Some(text) => text,
                    None => {
                        let read = mirror.readme(&product, file).await;
                        let read = read.map_err(|error| self.tell(&error.to_string())).ok()?;
                        let text = read.filter(|text| text.len() as u64 <= README_LIMIT);
                        // The bytes own their allocation and nothing beside it.
                        let text = Bytes::from(text.unwrap_or_default().into_bytes().into_boxed_slice());
                        self.readmes.texts.keep(file, text.clone());
                        text
                    }
                }
            }
        };
        (!text.is_empty()).then(|| text.to_vec())
    }

    /// Once for each failure, not for each package.
    fn tell(&self, error: &str) {
        let mut last = self.readmes.trouble.lock();
        if *last != error {
            tracing::warn!(error, "READMEs of the bundle cannot be read; packages are shown without them");
            error.clone_into(&mut last);
        }
    }
}
