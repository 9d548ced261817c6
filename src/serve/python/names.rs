//! The projects of a point, for listings: each with the version that installers prefer.

use std::collections::HashMap;

use memchr::memmem;

use super::{curated, owner};
use crate::db::python_file::{self, ListedFile};
use crate::db::{Conn, DbError};
use crate::model::ids::PackageId;
use crate::model::point::PointTree;
use crate::model::time::Timestamp;
use crate::python::facts::FileFacts;
use crate::python::version::Version;
use crate::serve::allowed::{self, View};

/// Number of names that are compared sequentially before a binary search.
const SEQUENTIAL_COMPARISONS: usize = 8;

/// The listed projects of a point in the order of their names. An index has a million: their names are in one text, and
/// their versions are not in memory.
pub(in crate::serve) struct ProjectNames {
    /// The normalized names, one after another.
    text: String,
    /// For each project the end of its name in `text`, and the position of its tree.
    entries: Vec<(u32, u32)>,
    trees: Vec<PointTree>,
    /// The listed versions by position, except those of an index.
    versions: HashMap<usize, ListedVersion>,
}

/// The version of a project that installers prefer.
pub(in crate::serve) struct ListedVersion {
    pub(in crate::serve) package: PackageId,
    pub(in crate::serve) version: String,
    pub(in crate::serve) published_at: Option<Timestamp>,
}

/// Returns the listed projects of a point by name. A project of which block rules hide all files is left out, except one
/// of an index.
pub(in crate::serve) fn names(c: &mut dyn Conn, views: &[View]) -> Result<ProjectNames, DbError> {
    let owned = owner::listed(c, views)?;
    let trees: Vec<PointTree> = views.iter().map(View::tree).collect();
    let mut files: HashMap<(String, PointTree), Vec<ListedFile>> = HashMap::new();
    for tree in trees.iter().filter(|tree| !owner::is_index(tree)) {
        for file in python_file::all(c, tree.tree, tree.seq)? {
            files.entry((file.project.clone(), *tree)).or_default().push(file);
        }
    }
    for ((_, tree), files) in &mut files {
        if let Some(view) = views.iter().find(|view| view.tree() == *tree) {
            allowed::python::retain_allowed(c, view, files)?;
        }
    }
    let mut names = ProjectNames {
        text: String::new(),
        entries: Vec::with_capacity(owned.len()),
        trees,
        versions: HashMap::new(),
    };
    for (name, tree) in owned {
        if owner::is_index(&tree) {
            names.push(&name, tree, None);
            continue;
        }
        let version = files.remove(&(name.clone(), tree)).and_then(|files| listed_version(&files));
        if version.is_some() {
            names.push(&name, tree, version);
        }
    }
    Ok(names)
}

fn listed_version(files: &[ListedFile]) -> Option<ListedVersion> {
    let newest = newest(files)?;
    let version = Version::lenient(&newest.version);
    let of_version = files.iter().filter(|file| Version::lenient(&file.version) == version);
    let published_at = of_version.filter_map(|file| FileFacts::read(&file.facts).upload_time()).min();
    Some(ListedVersion { package: newest.key.package, version: newest.version.clone(), published_at })
}

impl ProjectNames {
    fn push(&mut self, name: &str, tree: PointTree, version: Option<ListedVersion>) {
        let position = self.trees.iter().position(|other| *other == tree).map(u32::try_from);
        // All names of PyPI take about 13 MB.
        let (Some(Ok(position)), Ok(end)) = (position, u32::try_from(self.text.len() + name.len())) else {
            return;
        };
        if let Some(version) = version {
            self.versions.insert(self.entries.len(), version);
        }
        self.text.push_str(name);
        self.entries.push((end, position));
    }

    /// Returns the number of projects.
    pub(in crate::serve) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the positions of the projects that `is_match` accepts, by name and tree.
    pub(in crate::serve) fn find(&self, is_match: impl Fn(&str, &PointTree) -> bool) -> Vec<usize> {
        let matches =
            |position: &usize| self.tree(*position).is_some_and(|tree| is_match(self.name(*position), tree));
        (0..self.entries.len()).filter(matches).collect()
    }

    /// Returns the positions of the projects whose names contain a part. The text of all names is searched once: one
    /// search for each of a million names takes ten times as long.
    pub(in crate::serve) fn containing(&self, part: &str) -> Vec<usize> {
        if part.is_empty() {
            return (0..self.entries.len()).collect();
        }
        let (finder, bytes) = (memmem::Finder::new(part), self.text.as_bytes());
        let (mut positions, mut at, mut next) = (Vec::new(), 0, 0);
        while let Some(found) = bytes.get(at..).and_then(|rest| finder.find(rest)) {
            let start = at + found;
            let rest = self.entries.get(next..).unwrap_or_default();
            // The next match is often in one of the next names.
            let is_before = |(end, _): &&(u32, u32)| *end as usize <= start;
            let near = rest.iter().take(SEQUENTIAL_COMPARISONS).take_while(is_before).count();
            let skipped = if near < SEQUENTIAL_COMPARISONS {
                near
            } else {
                rest.partition_point(|(end, _)| *end as usize <= start)
            };
            next += skipped;
            let Some((end, _)) = self.entries.get(next) else { break };
            if start + part.len() <= *end as usize {
                positions.push(next);
                at = *end as usize;
            } else {
                // The match begins in one name and ends in another.
                at = start + 1;
            }
        }
        positions
    }

    /// Returns the name at a position.
    pub(in crate::serve) fn name(&self, position: usize) -> &str {
        let end = |position: usize| self.entries.get(position).map_or(0, |(end, _)| *end as usize);
        let start = position.checked_sub(1).map_or(0, end);
        self.text.get(start..end(position)).unwrap_or_default()
    }

    /// Returns the tree of the project at a position.
    pub(in crate::serve) fn tree(&self, position: usize) -> Option<&PointTree> {
        self.trees.get(self.tree_position(position))
    }

    /// Returns the position of the tree of a project in the order of the subscriptions.
    pub(in crate::serve) fn tree_position(&self, position: usize) -> usize {
        self.entries.get(position).map_or(usize::MAX, |(_, tree)| *tree as usize)
    }

    /// Returns the listed version of a project; `None` for a project of an index.
    pub(in crate::serve) fn version(&self, position: usize) -> Option<&ListedVersion> {
        self.versions.get(&position)
    }
}

/// The version that installers prefer, with each fact from the first of its files that has it. Empty without files.
#[derive(Default)]
pub(in crate::serve) struct PreferredVersion {
    pub(in crate::serve) version: String,
    pub(in crate::serve) facts: FileFacts,
}

/// Returns the preferred versions of projects of a tree, in their order.
pub(in crate::serve) fn preferred_versions(
    c: &mut dyn Conn,
    tree: &View,
    projects: &[PackageId],
) -> Result<Vec<PreferredVersion>, DbError> {
    let projects = curated::of_projects(c, tree, projects)?;
    Ok(projects.iter().map(|files| preferred_version(files)).collect())
}

fn preferred_version(files: &[ListedFile]) -> PreferredVersion {
    let Some(newest) = newest(files) else { return PreferredVersion::default() };
    let version = Version::lenient(&newest.version);
    let mut files: Vec<&ListedFile> =
        files.iter().filter(|file| Version::lenient(&file.version) == version).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let facts =
        files.into_iter().fold(FileFacts::default(), |facts, file| facts.or(FileFacts::read(&file.facts)));
    PreferredVersion { version: newest.version.clone(), facts }
}

/// Returns a file of the version that installers prefer: the highest one that is not yanked and no pre-release, else
/// the highest one that is not yanked, else the highest one.
pub(in crate::serve) fn newest(files: &[ListedFile]) -> Option<&ListedFile> {
    files.iter().max_by_key(|file| {
        let version = Version::lenient(&file.version);
        (file.yanked.is_none(), file.yanked.is_none() && !version.is_pre_release(), version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{Seq, SourceId, TreeId};

    fn tree(source: i64) -> PointTree {
        PointTree { source: SourceId(source), tree: TreeId(source), seq: Seq(1), base: None, rules: None }
    }

    #[test]
    fn projects_have_a_position_a_name_and_a_tree() {
        let (local, index) = (tree(7), tree(SourceId::PYPI.0));
        let mut names = ProjectNames {
            text: String::new(),
            entries: Vec::new(),
            trees: vec![local, index],
            versions: HashMap::new(),
        };
        let version = |text: &str| ListedVersion {
            package: PackageId(1),
            version: text.to_owned(),
            published_at: None,
        };
        names.push("a", index, None);
        names.push("flask", local, Some(version("1.0")));
        names.push("of-another-point", tree(9), None);
        names.push("zope-interface", index, None);
        assert_eq!(names.len(), 3);
        let all: Vec<&str> = (0..4).map(|position| names.name(position)).collect();
        assert_eq!(all, ["a", "flask", "zope-interface", ""]);
        assert_eq!(names.find(|name, _| name.contains('f')), [1, 2]);
        assert_eq!(names.find(|_, tree| *tree == index), [0, 2]);
        assert_eq!((names.containing("a"), names.containing("fl")), (vec![0, 1, 2], vec![1]));
        assert_eq!(names.containing("").len(), 3);
        assert!(names.containing("af").is_empty() && names.containing("kz").is_empty(), "across names");
        assert_eq!((names.tree_position(0), names.tree(1), names.tree(3)), (1, Some(&local), None));
        assert_eq!(names.version(1).map(|listed| listed.version.as_str()), Some("1.0"));
        assert!(names.version(0).is_none());
        for number in 0..100 {
            names.push(&format!("n{number}"), index, None);
        }
        assert_eq!(names.containing("n9"), [12, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102]);
        assert_eq!(names.containing("9n"), Vec::<usize>::new());
    }
}
