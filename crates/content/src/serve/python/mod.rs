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

use super::RepoError;
use std::sync::Arc;

use base::model::kind::{Language, SourceKind};
use base::model::point::Point;
use runtime::state::State;

pub(super) fn language(state: &State, point: &Point) -> Language {
    let catalog = state.catalog.get();
    let kind = point.trees.first().and_then(|tree| catalog.source_kind(tree.source));
    kind.map_or(Language::R, SourceKind::language)
}

/// Returns an error for operations that only R packages support.
///
/// # Errors
/// [`RepoError::Invalid`] for a point of Python packages.
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
