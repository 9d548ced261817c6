//! Decides whether a tag of an R package is built.

use std::fs::File;

use super::failure::BuildFailure;
use super::{Builds, description, poll};
use content::serve::RepoError;
use formats::r::tag::names_version;
use store::db::git_build::{self, GitBuild};
use store::db::git_builder::GitBuilder;

/// Checks that the tag of a build names the version in DESCRIPTION, and returns the tree. A tag with an earlier build is
/// built in any case: polls queue each tag once, so an administrator has requested it.
pub(super) async fn check(
    builds: &Builds,
    builder: &GitBuilder,
    build: &GitBuild,
    mut tree: File,
) -> Result<File, BuildFailure> {
    let (builder_id, tag) = (builder.id, &build.tag);
    let known_builds = builds.state.db.read(move |c| git_build::of_builder(c, builder_id));
    let known_builds = known_builds.await.map_err(RepoError::from)?;
    if known_builds.iter().any(|other| other.tag == *tag && other.id != build.id) {
        return Ok(tree);
    }
    let reading = tokio::task::spawn_blocking(move || {
        let version = description::version(&mut tree)?;
        Ok::<_, BuildFailure>((tree, version))
    });
    let (tree, version) = reading.await.map_err(|error| BuildFailure::Temporary(error.to_string()))??;
    match version {
        Some(version) if !names_version(tag, &poll::tag_words(builder), &version) => {
            let relation = format!("the tag does not name the version in DESCRIPTION, {version}");
            Err(BuildFailure::Skipped(poll::not_built(tag, &relation)))
        }
        // R reports a missing version.
        Some(_) | None => Ok(tree),
    }
}
