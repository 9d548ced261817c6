//! Storage for tests: a configuration for all nine classes, and bytes to store.

use rstudio_pm::config::{ClassLocation, DirectoryLocation, S3Location, StorageConfig};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::storage::{Content, OpenObject, StorageError};
use sha2::Digest;
use std::path::Path;

/// All classes on disk below `root`, as in a default configuration.
pub(crate) fn on_disk(root: &Path) -> StorageConfig {
    let location =
        |class: StorageClass| ClassLocation::File(DirectoryLocation { location: root.join(class.as_str()) });
    StorageConfig {
        locations: StorageClass::ALL.map(location),
        backups: S3Location::default(),
        spool_dir: root.to_owned(),
    }
}

/// Pseudo-random bytes and their digest.
pub(crate) fn bytes(length: usize, seed: u64) -> (Vec<u8>, Sha256) {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(&mut next).flat_map(|b| [b[0], b[1], b[2]]).take(length).collect();
    bytes.shrink_to_fit();
    let digest = Sha256(sha2::Sha256::digest(&bytes).into());
    (bytes, digest)
}

/// The content of a blob, or the first error.
pub(crate) async fn read(blob: OpenObject) -> Result<Vec<u8>, StorageError> {
    use futures_util::TryStreamExt;
    match blob.content {
        Content::Memory(bytes) => Ok(bytes.to_vec()),
        Content::Stream(pieces) => {
            pieces
                .try_fold(Vec::new(), |mut bytes, piece| async move {
                    bytes.extend_from_slice(&piece);
                    Ok(bytes)
                })
                .await
        }
    }
}
