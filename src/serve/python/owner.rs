//! The owner of a project: the rule by which pages, files and metadata of several subscriptions are separated.
//!
//! The first subscription that listed the project at the point, or before it, owns it, in any spelling of the name. A
//! project whose files were all removed is still owned: otherwise a package of the same name from a public index would
//! take the place of a private one. Files of two sources are never on one page.

use std::collections::HashSet;

use crate::db::{self, Conn, DbError};
use crate::model::ids::PackageId;
use crate::model::point::PointTree;
use crate::python::name::NormalName;

/// A project at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct OwnedProject {
    /// The project.
    pub(in crate::serve) package: PackageId,
    /// The tree that owns it, at the newest step up to the point that changed the project.
    pub(in crate::serve) tree: PointTree,
}

/// The owner of a project at a point; `None` if no subscription has listed it until then.
pub(in crate::serve) fn owner(
    c: &mut dyn Conn,
    trees: &[PointTree],
    project: &NormalName,
) -> Result<Option<OwnedProject>, DbError> {
    let Some(first) = trees.first() else { return Ok(None) };
    let Some(package) = db::package::by_name(c, first.source, project.as_str())? else { return Ok(None) };
    for tree in trees {
        if let Some(seq) = db::python_file::last_change(c, tree.tree, tree.seq, package)? {
            return Ok(Some(OwnedProject { package, tree: PointTree { seq, ..*tree } }));
        }
    }
    Ok(None)
}

/// The listed projects of a point in the order of their names, each with its owner.
pub(in crate::serve) fn listed(
    c: &mut dyn Conn,
    trees: &[PointTree],
) -> Result<Vec<(String, PointTree)>, DbError> {
    let mut owned: HashSet<String> = HashSet::new();
    let mut projects = Vec::new();
    for tree in trees {
        for (name, is_listed) in db::python_file::projects(c, tree.tree, tree.seq)? {
            if owned.insert(name.clone()) && is_listed {
                projects.push((name, *tree));
            }
        }
    }
    projects.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(projects)
}
