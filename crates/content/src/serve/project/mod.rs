//! Projects of an index or of uploads, of any language: owners of names, lists, files, versions.

pub mod curated;
pub mod detail;
pub mod document;
pub mod file;
pub mod names;
pub mod owner;
pub(super) mod render;
pub(super) mod search;
pub(in crate::serve) mod serial;

use crate::serve::Repositories;
use crate::serve::python::metadata;
use base::model::point::Point;
use base::model::project_page::ReleaseDescription;
use detail::ProjectRelease;
use file::RequestBudget;
use formats::language;

/// Returns what the metadata of a release states; empty if it has none, or if it cannot be read, which is logged.
/// With a budget, a file that is not in storage is fetched only while the budget lasts.
pub async fn describe(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
    budget: Option<&RequestBudget>,
) -> ReleaseDescription {
    let projects = language::of(release.language).projects();
    if !projects.is_some_and(|projects| projects.reads_metadata_of_files()) {
        return ReleaseDescription::default();
    }
    let metadata = metadata::of_release_within(repositories, point, release, budget).await;
    metadata.map(|metadata| metadata.describe()).unwrap_or_default()
}
