//! The files of a project, for the details of a package in the public API.

use super::file::locate_project;
use super::names::newest;
use crate::db;
use crate::db::python_file::{self, ListedFile};
use crate::model::ids::{SourceId, TreeId};
use crate::model::point::Point;
use crate::python::name::NormalName;
use crate::python::version::Version;
use crate::serve::{RepoError, Repositories};

/// A project at a point.
#[derive(Clone, Debug)]
pub struct ProjectDetail {
    /// The project.
    pub project: NormalName,
    /// The source that owns it.
    pub source: SourceId,
    /// The package list of the source.
    pub tree: TreeId,
    /// The requested version, or the one that installers prefer.
    pub version: String,
    /// The files of all versions, the highest version first.
    pub files: Vec<ListedFile>,
}

/// Returns the files of a project at a point; `name` and `version` in any spelling.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown project or version; database errors.
pub async fn project(
    repositories: &Repositories,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<ProjectDetail, RepoError> {
    let project: NormalName =
        name.parse().map_err(|error: crate::python::name::BadName| RepoError::NotFound(error.to_string()))?;
    let owner = locate_project(repositories, point, &project).await?;
    let unknown = || RepoError::NotFound(format!("there is no project '{project}' in this snapshot"));
    let tree = owner.trees.first().copied().ok_or_else(unknown)?;
    let name = project.clone();
    let files =
        repositories.state.db.read(move |c| match db::package::by_name(c, tree.source, name.as_str())? {
            Some(package) => python_file::of_project(c, tree.tree, tree.seq, package),
            None => Ok(Vec::new()),
        });
    let mut files: Vec<(Version, ListedFile)> =
        files.await?.into_iter().map(|file| (Version::lenient(&file.version), file)).collect();
    files.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name.cmp(&y.name)));
    let found = version.map(Version::lenient);
    let requested = found.as_ref().and_then(|version| files.iter().find(|(other, _)| other == version));
    let requested = requested.map(|(_, file)| file.version.clone());
    let files: Vec<ListedFile> = files.into_iter().map(|(_, file)| file).collect();
    let version = match version {
        Some(text) => requested.ok_or_else(|| {
            let text: String = text.escape_debug().take(128).collect();
            RepoError::NotFound(format!("the project '{project}' has no version '{text}'"))
        })?,
        None => newest(&files).map(|file| file.version.clone()).ok_or_else(unknown)?,
    };
    Ok(ProjectDetail { source: tree.source, tree: tree.tree, version, files, project })
}
