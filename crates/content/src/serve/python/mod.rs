//! What only Python has: metadata, provenance, and definitions of curated sources.

pub mod curated;
pub mod metadata;
pub mod prefetch;
pub mod provenance;
pub(super) mod wheel_metadata;

use bytes::Bytes;

use super::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use store::db::blob::{self, Blob};
use store::db::{Conn, DbError};
use store::storage::Key;

/// Stores a file that belongs to a distribution of an index, and writes its row. Returns its object.
async fn store_object(
    repositories: &Repositories,
    sha256: Sha256,
    bytes: Bytes,
    write_row: impl Fn(&mut dyn Conn) -> Result<(), DbError> + Send + 'static,
) -> Result<Key, RepoError> {
    let (state, class) = (&repositories.state, StorageClass::Pypi);
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let row = Blob { sha256, class: class.as_str().to_owned(), size, created_at: (state.clock)() };
    // Prevents the sweep from removing the object before its row is written.
    let _guard = repositories.fetches.blob_lock.read().await;
    let row = state.db.write(move |c| blob::reserve_in_class(c, &row)).await?;
    let class = row.and_then(|row| StorageClass::parse(&row.class)).unwrap_or(class);
    let key = Key::Package(class, sha256);
    state.storage.put(&key, bytes).await?;
    repositories.fetches.integrity.remove(&key);
    state.db.write(write_row).await?;
    Ok(key)
}

pub(in crate::serve) struct PythonCaches {
    metadata: metadata::Cache,
    provenance_requests: provenance::ProvenanceRequests,
    wheel_reads: wheel_metadata::WheelReads,
    /// Held while a source distribution is fetched and read, because an index may send it slowly.
    sdist_lock: tokio::sync::Mutex<()>,
}

impl PythonCaches {
    pub(in crate::serve) fn new() -> PythonCaches {
        PythonCaches {
            metadata: metadata::cache(),
            provenance_requests: provenance::ProvenanceRequests::default(),
            wheel_reads: wheel_metadata::WheelReads::default(),
            sdist_lock: tokio::sync::Mutex::default(),
        }
    }
}
