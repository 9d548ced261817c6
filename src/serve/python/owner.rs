//! The owner of a project: the rule by which pages, files and metadata of several subscriptions are separated.
//!
//! The first subscription that listed the project at the point, or before it, owns it, in any spelling of the name. A
//! project whose files were all removed is still owned: otherwise a package of the same name from a public index would
//! take the place of a private one. An index owns the projects that it lists at the point, a
//! curated source those that its definition names. Files of two sources are never on one page.

use std::collections::HashSet;

use crate::db::{self, Conn, DbError};
use crate::model::ids::{PackageId, Seq, SourceId};
use crate::model::point::{Base, PointTree};
use crate::python::name::NormalName;
use crate::python::simple::page::ProjectStatus;

/// A project at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct OwnedProject {
    /// The project; `None` if nobody asked for it yet: it is on the list of an index.
    pub(in crate::serve) package: Option<PackageId>,
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
    let package = db::package::by_name(c, first.source, project.as_str())?;
    for tree in trees {
        if tree.base.is_some() {
            if db::curation::rule(c, tree.tree, tree.seq, project.as_str())?.is_some() {
                return Ok(Some(OwnedProject { package, tree: *tree }));
            }
            continue;
        }
        if is_index(tree) {
            if db::pypi::is_listed(c, tree.source, project.as_str(), tree.seq)? {
                return Ok(Some(OwnedProject { package, tree: *tree }));
            }
            continue;
        }
        let Some(id) = package else { continue };
        if let Some(seq) = db::python_file::last_change(c, tree.tree, tree.seq, id)? {
            return Ok(Some(OwnedProject { package, tree: PointTree { seq, ..*tree } }));
        }
    }
    Ok(None)
}

/// Whether the projects of a tree are those of an index, which are known before their files; also if they are selected
/// from one.
pub(in crate::serve) fn is_index(tree: &PointTree) -> bool {
    tree.listing().source == SourceId::PYPI
}

/// The state of a project of an index at the newest change up to a sequence number: equal on all days between two
/// changes. A quarantined project has no files at any time.
pub(in crate::serve) fn index_page(
    c: &mut dyn Conn,
    tree: PointTree,
    project: &NormalName,
) -> Result<PointTree, DbError> {
    let listing = tree.listing();
    let at = |seq: Seq| match tree.base {
        Some(base) => PointTree { base: Some(Base { seq, ..base }), ..tree },
        None => PointTree { seq, ..tree },
    };
    let Some(package) = db::package::by_name(c, tree.source, project.as_str())? else {
        return Ok(at(NO_FILES));
    };
    let look = db::pypi::look(c, listing.source, package)?;
    if look.is_some_and(|look| look.status == ProjectStatus::Quarantined.as_str()) {
        return Ok(at(QUARANTINED));
    }
    Ok(at(db::python_file::last_change(c, listing.tree, listing.seq, package)?.unwrap_or(NO_FILES)))
}

/// A sequence number before all files.
const NO_FILES: Seq = Seq(-1);
/// As [`NO_FILES`], for the page of a quarantined project.
pub(in crate::serve) const QUARANTINED: Seq = Seq(-2);

/// The listed projects of a point in the order of their names, each with its owner.
pub(in crate::serve) fn listed(
    c: &mut dyn Conn,
    trees: &[PointTree],
) -> Result<Vec<(String, PointTree)>, DbError> {
    let mut owned: HashSet<String> = HashSet::new();
    let mut projects = Vec::new();
    for tree in trees {
        if is_index(tree) {
            let names = match tree.base {
                Some(_) => db::curation::names(c, tree.tree, tree.seq)?,
                None => db::pypi::names(c, tree.source, tree.seq)?,
            };
            let new_names = names.into_iter().filter(|name| owned.insert(name.clone()));
            projects.extend(new_names.map(|name| (name, *tree)));
            continue;
        }
        for (name, is_listed) in db::python_file::projects(c, tree.tree, tree.seq)? {
            if owned.insert(name.clone()) && is_listed {
                projects.push((name, *tree));
            }
        }
    }
    projects.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(projects)
}
