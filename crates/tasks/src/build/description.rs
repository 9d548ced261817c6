//! DESCRIPTION in a fetched tree, and the decision whether a tag of an R package is built.

use std::fs::File;
use std::io::{Read, Seek};

use super::failure::BuildFailure;
use super::{Builds, poll};
use content::serve::RepoError;
use formats::r::description::Description;
use formats::r::version::tag_names_version;
use store::db::git_build::{self, GitBuild};
use store::db::git_builder::GitBuilder;

/// Maximum length of a DESCRIPTION in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// Reads the name of the package from DESCRIPTION in a tar file. Blocking.
pub(super) fn package(tree: &mut File) -> Result<String, BuildFailure> {
    let description = description(tree)?;
    let name = description.package().filter(|name| formats::r::name::is_package(name));
    name.map(str::to_owned).ok_or_else(|| invalid("the field Package is not the name of a package"))
}

/// Reads the version of the package from DESCRIPTION in a tar file, and rewinds the file. Blocking.
pub(super) fn version(tree: &mut File) -> Result<Option<String>, BuildFailure> {
    let version = description(tree)?.version().map(str::to_owned);
    tree.rewind()?;
    Ok(version)
}

fn description(tree: &mut File) -> Result<Description, BuildFailure> {
    Description::from_bytes(&read(tree)?).map_err(|error| invalid(&error.to_string()))
}

fn invalid(reason: &str) -> BuildFailure {
    BuildFailure::Final(format!("DESCRIPTION is invalid: {reason}"))
}

/// Reads DESCRIPTION from a tar file. Blocking.
pub(super) fn read(tree: &mut File) -> Result<Vec<u8>, BuildFailure> {
    tree.rewind()?;
    let mut archive = tar::Archive::new(tree);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path_bytes().as_ref() == b"DESCRIPTION" && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_LENGTH).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    Err(BuildFailure::Final(
        "the directory has no file DESCRIPTION: it is not an R package; see --sub-dir".to_owned(),
    ))
}

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
        let version = version(&mut tree)?;
        Ok::<_, BuildFailure>((tree, version))
    });
    let (tree, version) = reading.await.map_err(|error| BuildFailure::Temporary(error.to_string()))??;
    match version {
        Some(version) if !tag_names_version(tag, &poll::tag_words(builder), &version) => {
            let relation = format!("the tag does not name the version in DESCRIPTION, {version}");
            Err(BuildFailure::Skipped(poll::not_built(tag, &relation)))
        }
        // R reports a missing version.
        Some(_) | None => Ok(tree),
    }
}
