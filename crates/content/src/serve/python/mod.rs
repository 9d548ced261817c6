//! Python repositories: owners of names, pages of the simple API, and files.

pub mod curated;
pub mod dependencies;
pub mod detail;
pub mod document;
pub mod file;
pub mod metadata;
pub mod names;
pub mod owner;
pub mod prefetch;
pub mod provenance;
pub(super) mod render;
pub(super) mod search;
mod serial;
pub(super) mod wheel_metadata;

use std::sync::Arc;

use bytes::Bytes;

use super::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::kind::{Language, SourceKind, StorageClass};
use base::model::point::Point;
use runtime::state::State;
use store::db::blob::{self, Blob};
use store::db::{Conn, DbError};
use store::storage::Key;

pub(super) fn language(state: &State, point: &Point) -> Language {
    let catalog = state.catalog.get();
    let kind = point.trees.first().and_then(|tree| catalog.source_kind(tree.source));
    kind.map_or(Language::R, SourceKind::language)
}

/// Returns an error for operations that only R packages support.
pub(super) fn require_r(state: &State, point: &Point) -> Result<(), RepoError> {
    match language(state, point) {
        Language::R => Ok(()),
        Language::Python => Err(RepoError::Invalid(
            "only R packages have this information; the files of a Python package and their metadata are on its page, \
             /{repository}/{snapshot}/simple/{project}/"
                .to_owned(),
        )),
    }
}

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
    pub(in crate::serve) preferred_versions: Arc<names::PreferredVersions>,
    metadata: metadata::Cache,
    provenance_requests: provenance::ProvenanceRequests,
    wheel_reads: wheel_metadata::WheelReads,
    /// Held while a source distribution is fetched and read, because an index may send it slowly.
    sdist_lock: tokio::sync::Mutex<()>,
}

impl PythonCaches {
    pub(in crate::serve) fn new() -> PythonCaches {
        PythonCaches {
            preferred_versions: Arc::new(quick_cache::sync::Cache::new(names::PREFERRED_VERSIONS)),
            metadata: metadata::cache(),
            provenance_requests: provenance::ProvenanceRequests::default(),
            wheel_reads: wheel_metadata::WheelReads::default(),
            sdist_lock: tokio::sync::Mutex::default(),
        }
    }
}
