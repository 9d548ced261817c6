//! The source that owns a project: the rule that separates several subscriptions.
//!
//! The first subscription that listed the project at the point, or before it, owns it, in any spelling of the
//! name. A project whose files were all removed is still owned: otherwise a package of the same name from a
//! public index would replace a private one. An index owns the projects that it lists at the point, a curated
//! source those that its definition names. Files of two sources are never on one page.

use std::collections::{HashMap, HashSet};

use super::document::LatestState;
use super::serial;
use crate::serve::selection::allowed::{self, View};
use base::model::ids::{PackageId, Seq};
use base::model::point::{Base, PointTree};
use base::model::project_name::ProjectName;
use base::model::project_page::ProjectStatus;
use runtime::catalog::Catalog;
use store::db::project::ListedProject;
use store::db::{self, Conn, DbError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct OwnedProject {
    /// The project; `None` if it has not been requested yet: it is on the list of an index.
    pub(in crate::serve) package: Option<PackageId>,
    /// The tree that owns it, at the newest step up to the point that changed the project.
    pub(in crate::serve) tree: PointTree,
}

/// Returns the owner of a project at a point; `None` if no subscription has listed it up to that point.
pub(in crate::serve) fn owner(
    c: &mut dyn Conn,
    views: &[View],
    project: &ProjectName,
) -> Result<Option<OwnedProject>, DbError> {
    let Some(first) = views.first() else { return Ok(None) };
    let package = db::package::by_name(c, first.source, project.as_str())?;
    for view in views.iter().filter(|view| !view.hides(project.as_str())) {
        let tree = &view.tree();
        if tree.base.is_some() {
            if db::curation::rule(c, tree.tree, tree.seq, project.as_str())?.is_some() {
                return Ok(Some(OwnedProject { package, tree: *tree }));
            }
            continue;
        }
        if is_index(tree) {
            if db::project::is_listed(c, tree.source, project.as_str(), tree.seq)? {
                return Ok(Some(OwnedProject { package, tree: *tree }));
            }
            continue;
        }
        let Some(id) = package else { continue };
        if let Some(seq) = db::project_file::last_change(c, tree.tree, tree.seq, id)? {
            return Ok(Some(OwnedProject { package, tree: PointTree { seq, ..*tree } }));
        }
    }
    Ok(None)
}

/// Returns whether the projects of a tree come, also through a curated source, from an index: known before their files.
pub(in crate::serve) fn is_index(tree: &PointTree) -> bool {
    tree.listing().source.is_project_index()
}

/// Returns whether a tree is the whole list of an index, not a selection from it.
pub(in crate::serve) fn is_whole_index(tree: &PointTree) -> bool {
    tree.base.is_none() && is_index(tree)
}

/// Returns the trees of a point with each index at the last change of its list of projects.
pub(in crate::serve) fn at_list_changes(
    c: &mut dyn Conn,
    trees: &[PointTree],
) -> Result<Vec<PointTree>, DbError> {
    let mut trees = trees.to_vec();
    for tree in trees.iter_mut().filter(|tree| is_whole_index(tree)) {
        tree.seq = db::project::last_list_change(c, tree.source, tree.seq)?;
    }
    Ok(trees)
}

/// Calls `each` for every project that the tree of an index lists, in the order of the names.
fn each_of_index(
    c: &mut dyn Conn,
    tree: &PointTree,
    each: &mut dyn FnMut(ListedProject),
) -> Result<(), DbError> {
    match tree.base {
        Some(base) => {
            db::curation::projects(c, tree.tree, tree.seq, base)?.into_iter().for_each(each);
            Ok(())
        }
        None => db::project::each_at(c, tree.source, tree.seq, each),
    }
}

pub(in crate::serve) struct IndexPage {
    /// The tree at the newest change up to the requested sequence number. For a curated source, its base is
    /// at that change, because another step may allow different files. A quarantined project has no files.
    pub(in crate::serve) tree: PointTree,
    /// The further facts on the page while it is the newest one.
    pub(in crate::serve) latest: LatestState,
}

/// Finds the state of a project of an index at a sequence number. If not `is_complete`, the project may have
/// changed before it, and its serial is lower than on the list.
pub(in crate::serve) fn index_page(
    c: &mut dyn Conn,
    tree: PointTree,
    project: &ProjectName,
    is_complete: bool,
) -> Result<IndexPage, DbError> {
    let listing = tree.listing();
    let at = |state: PageState| match tree.base {
        Some(base) => PointTree { base: Some(Base { seq: state.seq(), ..base }), ..tree },
        None => PointTree { seq: state.seq(), ..tree },
    };
    // A curated source has no serials, see `serial`.
    let changed_at = match tree.base {
        Some(_) => None,
        None => db::project::changed_at(c, tree.source, project.as_str(), tree.seq)?,
    };
    let changed_at = changed_at.map(|at| if is_complete { at } else { 0 });
    let Some(package) = db::package::by_name(c, tree.source, project.as_str())? else {
        let latest =
            LatestState { serial: serial::of_index(changed_at, None, tree), ..LatestState::default() };
        return Ok(IndexPage { tree: at(PageState::Empty), latest });
    };
    let reading = db::project::last_reading(c, listing.source, package)?;
    let changed = db::project_file::last_change(c, listing.tree, listing.seq, package)?;
    let status = reading.as_ref().map(|reading| ProjectStatus::of_word(&reading.status)).unwrap_or_default();
    let reason =
        reading.and_then(|reading| reading.reason).map(|reason| reason.chars().take(MAX_REASON).collect());
    let latest = LatestState { serial: serial::of_index(changed_at, changed, tree), status, reason };
    let state = match status {
        ProjectStatus::Quarantined => PageState::Quarantined,
        ProjectStatus::Active | ProjectStatus::Archived | ProjectStatus::Deprecated => {
            changed.map_or(PageState::Empty, PageState::At)
        }
    };
    Ok(IndexPage { tree: at(state), latest })
}

const MAX_REASON: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum PageState {
    At(Seq),
    /// None: the index never listed a file.
    Empty,
    /// None, because the index quarantined the project.
    Quarantined,
}

impl PageState {
    pub(in crate::serve) fn of(listing: &PointTree) -> PageState {
        match listing.seq {
            Seq(-1) => PageState::Empty,
            Seq(-2) => PageState::Quarantined,
            seq => PageState::At(seq),
        }
    }

    /// Returns the number in the tree and in keys. Those of an index are times: no file is listed at a negative one.
    fn seq(self) -> Seq {
        match self {
            PageState::At(seq) => seq,
            PageState::Empty => Seq(-1),
            PageState::Quarantined => Seq(-2),
        }
    }
}

/// Returns the listed projects of a point in the order of their names, each with its owner.
pub(in crate::serve) fn listed(
    c: &mut dyn Conn,
    views: &[View],
) -> Result<Vec<(String, PointTree)>, DbError> {
    let mut owned = OwnedNames::new(views);
    let mut projects = Vec::new();
    for view in views {
        let tree = &view.tree();
        if is_index(tree) {
            each_of_index(c, tree, &mut |listed| {
                if owned.add(view, &listed.normalized_name) {
                    projects.push((listed.normalized_name, *tree));
                }
            })?;
            continue;
        }
        for project in db::project_file::projects(c, tree.tree, tree.seq)? {
            if owned.add(view, &project.name) && project.is_listed {
                projects.push((project.name, *tree));
            }
        }
    }
    projects.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(projects)
}

pub(in crate::serve) struct RootProject {
    pub(in crate::serve) name: Box<str>,
    /// The name as its owner writes it, if it differs.
    pub(in crate::serve) display: Option<Box<str>>,
    pub(in crate::serve) serial: Option<u64>,
}

/// Returns the list of projects of a point by name; with serials if a catalog with its steps is given. A
/// project whose files are all hidden is left out, except one of an index.
pub(in crate::serve) fn root(
    c: &mut dyn Conn,
    views: &[View],
    catalog: Option<&Catalog>,
) -> Result<Vec<RootProject>, DbError> {
    let with_serials = catalog.is_some();
    let steps = catalog.map(|catalog| serials_of_steps(catalog, views)).unwrap_or_default();
    let newest_step = |until: i64| {
        let count = steps.partition_point(|step| *step <= until);
        steps.get(count.checked_sub(1)?).copied()
    };
    let mut owned = OwnedNames::new(views);
    let mut projects = Vec::new();
    for view in views {
        let tree = &view.tree();
        if is_index(tree) {
            let mut changes: HashMap<String, Seq> = HashMap::new();
            if with_serials && tree.base.is_none() {
                let known = db::project_file::projects(c, tree.tree, tree.seq)?;
                changes.extend(known.into_iter().map(|project| (project.name, project.changed)));
            }
            each_of_index(c, tree, &mut |listed| {
                if owned.add(view, &listed.normalized_name) {
                    let changed_at = listed.changed_at.filter(|_| with_serials);
                    let changed = changes.get(&listed.normalized_name).copied();
                    let serial = serial::of_index(changed_at, changed, *tree);
                    projects.push(RootProject {
                        name: listed.normalized_name.into(),
                        display: listed.name.map(Into::into),
                        serial: serial.map(|serial| serial::beside_steps(serial, newest_step)),
                    });
                }
            })?;
            continue;
        }
        let blocked = allowed::project::blocked_projects(c, view)?;
        for project in db::project_file::projects(c, tree.tree, tree.seq)? {
            if owned.add(view, &project.name) && project.is_listed && !blocked.contains(&project.name) {
                let serial = catalog.and_then(|catalog| serial::of_step(catalog, tree.tree, project.changed));
                projects.push(RootProject { name: project.name.into(), display: None, serial });
            }
        }
    }
    projects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(projects)
}

fn serials_of_steps(catalog: &Catalog, views: &[View]) -> Vec<i64> {
    let trees = views.iter().map(View::tree).filter(|tree| !is_index(tree));
    let mut steps: Vec<i64> = trees.flat_map(|tree| serial::steps(catalog, &tree)).collect();
    steps.sort_unstable();
    steps
}

/// The names that a tree owns. Those of the last tree are not stored: it is often an index with a million names.
struct OwnedNames {
    last: Option<PointTree>,
    names: HashSet<Box<str>>,
}

impl OwnedNames {
    fn new(views: &[View]) -> OwnedNames {
        OwnedNames { last: views.last().map(View::tree), names: HashSet::new() }
    }

    /// Adds a name of a tree. Returns false if a tree before it owns the name, or a name guard hides it.
    fn add(&mut self, view: &View, name: &str) -> bool {
        if view.hides(name) {
            return false;
        }
        if self.last == Some(view.tree()) {
            !self.names.contains(name)
        } else {
            self.names.insert(name.into())
        }
    }
}
