//! The projects of a point, for listings: each with the version that installers prefer.

use std::collections::HashMap;

use super::owner;
use crate::db::life::ListedName;
use crate::db::python_file::{self, ListedFile};
use crate::db::{Conn, DbError};
use crate::model::ids::{PackageId, Seq, TreeId};
use crate::model::point::PointTree;
use crate::python::facts::FileFacts;
use crate::python::version::Version;

/// The listed projects of a point by name.
pub(in crate::serve) fn names(
    c: &mut dyn Conn,
    trees: &[PointTree],
) -> Result<Vec<(ListedName, PointTree)>, DbError> {
    let owned = owner::listed(c, trees)?;
    let mut files: HashMap<(String, PointTree), Vec<ListedFile>> = HashMap::new();
    for tree in trees {
        for file in python_file::all(c, tree.tree, tree.seq)? {
            files.entry((file.project.clone(), *tree)).or_default().push(file);
        }
    }
    let name = |(name, tree): (String, PointTree)| {
        let files = files.remove(&(name.clone(), tree))?;
        let newest = newest(&files)?;
        let version = Version::lenient(&newest.version);
        let of_version = files.iter().filter(|file| Version::lenient(&file.version) == version);
        let published_at = of_version.filter_map(|file| FileFacts::read(&file.facts).upload_time()).min();
        let name = ListedName {
            fold: name.clone(),
            name,
            package: newest.key.package,
            version: newest.version.clone(),
            published_at,
        };
        Some((name, tree))
    };
    Ok(owned.into_iter().filter_map(name).collect())
}

/// The facts of the version that installers prefer, for projects of a tree at a step, in their order: of each fact the
/// first that a file of the version has.
pub(in crate::serve) fn facts(
    c: &mut dyn Conn,
    (tree, seq): (TreeId, Seq),
    projects: &[PackageId],
) -> Result<Vec<FileFacts>, DbError> {
    let projects = python_file::of_projects(c, tree, seq, projects)?;
    Ok(projects.iter().map(|files| preferred_facts(files)).collect())
}

fn preferred_facts(files: &[ListedFile]) -> FileFacts {
    let Some(newest) = newest(files) else { return FileFacts::default() };
    let version = Version::lenient(&newest.version);
    let mut files: Vec<&ListedFile> =
        files.iter().filter(|file| Version::lenient(&file.version) == version).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.into_iter().fold(FileFacts::default(), |facts, file| facts.or(FileFacts::read(&file.facts)))
}

/// A file of the version that installers prefer: the highest one that is not yanked and no pre-release, else the highest
/// one that is not yanked, else the highest one.
pub(in crate::serve) fn newest(files: &[ListedFile]) -> Option<&ListedFile> {
    files.iter().max_by_key(|file| {
        let version = Version::lenient(&file.version);
        (file.yanked.is_none(), file.yanked.is_none() && !version.is_pre_release(), version)
    })
}
