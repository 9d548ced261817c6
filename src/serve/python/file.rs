//! Finds pages and files of a Python repository.

use super::curated;
use super::owner::{self, OwnedProject};
use crate::db;
use crate::model::digest::Sha256;
use crate::model::ids::Seq;
use crate::model::point::{Point, PointTree};
use crate::pypi::Knowledge;
use crate::python::facts::FileFacts;
use crate::python::file_name::FileName;
use crate::python::name::NormalName;
use crate::serve::located::LocatedFile;
use crate::serve::{RepoError, Repositories};

/// Finds the owner of a project. The returned point is reduced to the tree that owns it, at its last change: it is
/// equal on all days between two changes. The page of a project of an index is read if it was not read for that time.
///
/// # Errors
/// [`RepoError::NotFound`]; [`RepoError::Upstream`] if the index does not answer and nothing is known; database errors.
pub async fn locate_project(
    repositories: &Repositories,
    point: &Point,
    project: &NormalName,
) -> Result<Point, RepoError> {
    Ok(locate_page(repositories, point, project).await?.point)
}

/// The page of a project at a point.
#[derive(Clone, Debug)]
pub struct LocatedPage {
    /// The point, reduced to the owner.
    pub point: Point,
    /// Whether locating it again under the same catalog gives the same page.
    pub is_settled: bool,
}

/// As [`locate_project`], with whether the page may change without a publish.
///
/// # Errors
/// As [`locate_project`].
pub async fn locate_page(
    repositories: &Repositories,
    point: &Point,
    project: &NormalName,
) -> Result<LocatedPage, RepoError> {
    let (trees, name) = (point.trees.clone(), project.clone());
    let query = repositories.state.db.read(move |c| {
        let Some(owned) = owner::owner(c, &trees, &name)? else { return Ok(None) };
        let OwnedProject { package, tree } = owned;
        let presence = match package {
            Some(package) if !owner::is_index(&tree) => db::life::presence(c, tree.tree, tree.seq, package)?,
            Some(_) | None => None,
        };
        Ok(Some((tree, presence.is_some())))
    });
    let Some((tree, has_files)) = query.await? else {
        return Err(RepoError::NotFound(format!("there is no project '{project}' in this snapshot")));
    };
    if owner::is_index(&tree) {
        return index_page(repositories, point, tree, project).await;
    }
    if !has_files {
        let catalog = repositories.state.catalog.get();
        let source = catalog.source_by_id(tree.source).map(|source| source.name.to_string());
        return Err(RepoError::NotFound(format!(
            "all files of the project '{project}' were removed from the source '{}', to which the name belongs in this \
             repository; other sources do not provide it",
            source.unwrap_or_default()
        )));
    }
    Ok(LocatedPage { point: Point { trees: vec![tree], ..point.clone() }, is_settled: true })
}

/// Returns the page of a project that an index lists, after a look at the project if that is needed.
async fn index_page(
    repositories: &Repositories,
    point: &Point,
    tree: PointTree,
    project: &NormalName,
) -> Result<LocatedPage, RepoError> {
    let knowledge = repositories.page_reads.at(project, tree.listing().seq).await?;
    let name = project.clone();
    let tree = repositories.state.db.read(move |c| owner::index_page(c, tree, &name)).await?;
    let is_settled = knowledge == Knowledge::Complete;
    let open = point.open || !is_settled;
    Ok(LocatedPage { point: Point { trees: vec![tree], open, ..point.clone() }, is_settled })
}

/// Finds a file by its digest and name, or METADATA of a wheel. A file that was removed or yanked is still found: lock
/// files refer to it. Only the owner of the project is searched. Of a source to which the repository does not subscribe
/// any more, only the files of the snapshot are found.
///
/// # Errors
/// [`RepoError::NotFound`]; database errors.
pub async fn locate(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &FileName,
    metadata: bool,
) -> Result<LocatedFile, RepoError> {
    let (trees, name) = (point.trees.clone(), file.as_str().to_owned());
    let catalog = repositories.state.catalog.get();
    let subscribed = catalog.repo_by_id(point.repo).map(|repo| repo.sources()).unwrap_or_default();
    let query = repositories.state.db.read(move |c| {
        for tree in &trees {
            // SECURITY: the source may have become private, so an old snapshot must not give access to its other files.
            // A curated source offers only what its definition allows at the point.
            let is_restricted = tree.base.is_some() || !subscribed.contains(&tree.source);
            let listing = tree.listing();
            let step = is_restricted.then_some(listing.seq);
            let Some(found) = db::python_file::find(c, listing.tree, sha256, &name, metadata, step)? else {
                continue;
            };
            if !curated::allows(c, tree, &found, sha256)? {
                continue;
            }
            let Ok(project) = found.project.parse::<NormalName>() else { continue };
            let owner = match owner::owner(c, &trees, &project)? {
                Some(owner) => Some(owner),
                None => owner::owner(c, &at_head(&trees), &project)?,
            };
            // A file of a project that its index removed is served as long as no other source has the name.
            if owner.map_or(owner::is_index(tree), |owner| owner.tree.tree == tree.tree) {
                return Ok(Some((listing, found)));
            }
        }
        Ok(None)
    });
    let Some((tree, found)) = query.await? else {
        let part = if metadata { "no metadata of the file" } else { "no file" };
        return Err(RepoError::NotFound(format!(
            "there is {part} '{file}' with this digest in this repository; the page of its project lists its addresses"
        )));
    };
    let upload_time = FileFacts::read(&found.facts).upload_time();
    let mut located = LocatedFile::new(&found.project, tree, found.row);
    located.modified = upload_time;
    if metadata {
        located.name.push_str(".metadata");
    }
    Ok(located)
}

/// The newest state of the trees: a file that was published after the point has the owner that its project got then.
fn at_head(trees: &[PointTree]) -> Vec<PointTree> {
    trees.iter().map(|tree| PointTree { seq: Seq(Seq::OPEN.0 - 1), ..*tree }).collect()
}
