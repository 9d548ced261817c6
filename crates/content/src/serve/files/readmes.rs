//! READMEs of packages in a bundle, read from the bundle on request because their archives are not stored.

use bytes::Bytes;
use parking_lot::Mutex;

use super::bundles;
use crate::serve::Repositories;
use base::model::digest::Sha256;
use base::model::ids::TreeId;
use store::storage::memory_cache::MemoryCache;

/// Maximum length of a README that is returned, in bytes.
pub(in crate::serve) const README_LIMIT: u64 = 1 << 20;

/// Cached READMEs, and the last error.
#[derive(Default)]
pub(in crate::serve) struct ReadmeCache {
    /// READMEs by the digest of the package file; an empty text for a package without a README.
    texts: MemoryCache<Sha256, Bytes>,
    last_error: Mutex<String>,
}

/// Returns the README of a package file of a tree that is in a bundle. Errors are only logged: a response
/// without a README is better than none.
pub(in crate::serve) async fn read(
    repositories: &Repositories,
    tree: TreeId,
    file: Sha256,
) -> Option<Vec<u8>> {
    let (mirror, product) = bundles::of_tree(repositories, tree, None)?;
    let cached_text = || repositories.files.readmes.texts.get(&file);
    let text = match cached_text() {
        Some(text) => text,
        None => {
            // One README at a time: decompression is CPU-bound.
            let _guard = repositories.files.archive_lock.lock().await;
            match cached_text() {
                Some(text) => text,
                None => {
                    let readme = mirror.readme(&product, file).await;
                    let readme = readme.map_err(|error| log_error(repositories, &error.to_string())).ok()?;
                    let text = readme.filter(|text| text.len() as u64 <= README_LIMIT);
                    // The allocation is exactly as large as the text.
                    let text = Bytes::from(text.unwrap_or_default().into_bytes().into_boxed_slice());
                    repositories.files.readmes.texts.insert(file, text.clone());
                    text
                }
            }
        }
    };
    (!text.is_empty()).then(|| text.to_vec())
}

/// Logs an error once, not for each package.
fn log_error(repositories: &Repositories, error: &str) {
    let mut last = repositories.files.readmes.last_error.lock();
    if *last != error {
        tracing::warn!(error, "could not read READMEs of the bundle; packages are listed without them");
        error.clone_into(&mut last);
    }
}
