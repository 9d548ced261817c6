//! Python repositories: owners of names, pages of the simple API, and files.

pub mod curated;
pub mod dependencies;
pub mod detail;
pub mod distributions;
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
use base::model::language::Language;
use base::model::point::Point;
use base::model::source::SourceKind;
use runtime::state::State;

/// Returns the language of the packages of a point.
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
