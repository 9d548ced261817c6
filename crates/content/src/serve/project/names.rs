//! The projects of a point, for listings: each with the version that installers prefer.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use memchr::memmem;

use super::{curated, owner};
use crate::serve::selection::allowed::{self, View};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq};
use base::model::kind::Language;
use base::model::point::{Base, PointTree};
use base::model::project_page::FileDescription;
use base::model::time::Timestamp;
use formats::language;
use formats::tlog::record_proof::project_leaf;
use store::db::project_file::{self, ListedFile};
use store::db::{Conn, DbError};

/// Number of names that are compared sequentially before a binary search.
const SEQUENTIAL_COMPARISONS: usize = 8;

/// Number of projects whose files are read at a time, to limit the memory for a page of many projects.
const CHUNK: usize = 20;

/// The listed projects of a point by name. An index has a million: names are in one text, versions not in memory.
#[derive(Default)]
pub(in crate::serve) struct ProjectNames {
    /// The normalized names, one after another.
    text: String,
    /// For each project the end of its name in `text`, and the position of its tree in the point.
    entries: Vec<(u32, u32)>,
    /// The positions of the projects with a listed version, in order, and these versions. Projects of an index have none.
    versions: Vec<(usize, ProjectListing)>,
}

pub(in crate::serve) struct ProjectListing {
    pub(in crate::serve) package: PackageId,
    pub(in crate::serve) version: String,
    pub(in crate::serve) published_at: Option<Timestamp>,
    /// The files of all listed versions; empty unless they were requested.
    pub(in crate::serve) files: Vec<ProjectFile>,
}

/// A listed file of a project, with what is compared between two states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct ProjectFile {
    pub(in crate::serve) name: String,
    pub(in crate::serve) version: String,
    pub(in crate::serve) sha256: Sha256,
    pub(in crate::serve) is_yanked: bool,
}

/// Returns the listed projects by name. One whose files are all blocked is left out, except one of an index.
pub(in crate::serve) fn names(
    c: &mut dyn Conn,
    views: &[View],
    language: Language,
) -> Result<ProjectNames, DbError> {
    read_names(c, views, language, |_| Vec::new())
}

/// Like [`names`], with the files of each project, except of those of an index.
pub(in crate::serve) fn names_with_files(
    c: &mut dyn Conn,
    views: &[View],
    language: Language,
) -> Result<ProjectNames, DbError> {
    let file = |file: &ListedFile| ProjectFile {
        name: file.name.clone(),
        version: file.version.clone(),
        sha256: file.sha256,
        is_yanked: file.yanked.is_some(),
    };
    read_names(c, views, language, |files| files.iter().map(file).collect())
}

fn read_names(
    c: &mut dyn Conn,
    views: &[View],
    language: Language,
    compared_files: impl Fn(&[ListedFile]) -> Vec<ProjectFile>,
) -> Result<ProjectNames, DbError> {
    let owned = owner::listed(c, views)?;
    let trees: Vec<PointTree> = views.iter().map(View::tree).collect();
    let mut files: HashMap<(String, PointTree), Vec<ListedFile>> = HashMap::new();
    for tree in trees.iter().filter(|tree| !owner::is_index(tree)) {
        for file in project_file::all(c, tree.tree, tree.seq)? {
            files.entry((file.project.clone(), *tree)).or_default().push(file);
        }
    }
    for ((_, tree), files) in &mut files {
        if let Some(view) = views.iter().find(|view| view.tree() == *tree) {
            allowed::project::retain_allowed(c, view, files)?;
        }
    }
    let mut names = ProjectNames { entries: Vec::with_capacity(owned.len()), ..ProjectNames::default() };
    for (name, tree) in owned {
        let Some(position) = trees.iter().position(|other| *other == tree) else { continue };
        if owner::is_index(&tree) {
            names.push(&name, position, None);
            continue;
        }
        let version = files.remove(&(name.clone(), tree)).and_then(|files| {
            let version = listed_version(&files, language)?;
            Some(ProjectListing { files: compared_files(&files), ..version })
        });
        if version.is_some() {
            names.push(&name, position, version);
        }
    }
    Ok(names)
}

fn listed_version(files: &[ListedFile], language: Language) -> Option<ProjectListing> {
    let (newest, rules) = (newest(files, language)?, language::of(language));
    let version = rules.version(&newest.version);
    let of_version = files.iter().filter(|file| rules.version(&file.version) == version);
    let published_at = of_version.filter_map(|file| rules.uploaded_at(&file.facts)).min();
    let (package, version) = (newest.key.package, newest.version.clone());
    Some(ProjectListing { package, version, published_at, files: Vec::new() })
}

impl ProjectNames {
    /// Returns the leaves of all files, which were read, as records that are separated by empty lines.
    pub(in crate::serve) fn leaves(&self) -> String {
        let leaves = self.versions.iter().flat_map(|(position, listing)| {
            let project = self.name(*position);
            let leaf = move |file: &ProjectFile| project_leaf(project, &file.name, &file.sha256.to_string());
            listing.files.iter().map(leaf)
        });
        leaves.collect::<Vec<_>>().join("\n\n")
    }

    pub(in crate::serve) fn memory(&self) -> usize {
        let version = |(_, version): &(usize, ProjectListing)| {
            let files = version
                .files
                .iter()
                .map(|file| size_of::<ProjectFile>() + file.name.capacity() + file.version.capacity());
            size_of::<(usize, ProjectListing)>() + version.version.capacity() + files.sum::<usize>()
        };
        let versions: usize = self.versions.iter().map(version).sum();
        self.text.capacity() + self.entries.capacity() * size_of::<(u32, u32)>() + versions
    }

    /// Adds the next project; `tree` is the position of its tree in the point.
    pub(in crate::serve) fn push(&mut self, name: &str, tree: usize, version: Option<ProjectListing>) {
        // All names of PyPI take about 13 MB.
        let (Ok(tree), Ok(end)) = (u32::try_from(tree), u32::try_from(self.text.len() + name.len())) else {
            return;
        };
        if let Some(version) = version {
            self.versions.push((self.entries.len(), version));
        }
        self.text.push_str(name);
        self.entries.push((end, tree));
    }

    pub(in crate::serve) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the positions of the projects whose names contain a part.
    pub(in crate::serve) fn containing<'a>(&'a self, part: &'a str) -> Containing<'a> {
        let finder = (!part.is_empty()).then(|| memmem::Finder::new(part));
        Containing { names: self, finder, at: 0, next: 0 }
    }

    pub(in crate::serve) fn position_of(&self, name: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// Returns the names with the same first character, and a length that differs by at most `difference` characters.
    pub(in crate::serve) fn near<'a>(
        &'a self,
        name: &'a str,
        difference: usize,
    ) -> impl Iterator<Item = &'a str> {
        let first = name.get(..1).unwrap_or_default();
        let (mut begin, mut end) = (0, self.len());
        while begin < end {
            let middle = begin.midpoint(end);
            if self.name(middle) < first {
                begin = middle + 1;
            } else {
                end = middle;
            }
        }
        let names = (begin..self.len()).map(move |position| self.name(position));
        let names = names.take_while(move |other| !first.is_empty() && other.starts_with(first));
        names.filter(move |other| other.len().abs_diff(name.len()) <= difference)
    }

    pub(in crate::serve) fn name(&self, position: usize) -> &str {
        let end = |position: usize| self.entries.get(position).map_or(0, |(end, _)| *end as usize);
        let start = position.checked_sub(1).map_or(0, end);
        self.text.get(start..end(position)).unwrap_or_default()
    }

    pub(in crate::serve) fn tree_position(&self, position: usize) -> usize {
        self.entries.get(position).map_or(usize::MAX, |(_, tree)| *tree as usize)
    }

    pub(in crate::serve) fn version(&self, position: usize) -> Option<&ProjectListing> {
        let index = self.versions.binary_search_by_key(&position, |(position, _)| *position).ok()?;
        self.versions.get(index).map(|(_, version)| version)
    }

    /// Returns the projects with a listed version, and their positions.
    pub(in crate::serve) fn versions(&self) -> impl Iterator<Item = (usize, &ProjectListing)> {
        self.versions.iter().map(|(position, version)| (*position, version))
    }
}

/// The positions of the projects whose names contain a part. One search of the text of all names takes a
/// tenth of the time of a search for each name.
pub(in crate::serve) struct Containing<'a> {
    names: &'a ProjectNames,
    finder: Option<memmem::Finder<'a>>,
    /// The byte offset in the text at which the search continues.
    at: usize,
    /// The position of the first project that can contain the next match.
    next: usize,
}

impl Iterator for Containing<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (text, entries) = (self.names.text.as_bytes(), &self.names.entries);
        let Some(finder) = &self.finder else {
            let position = self.next;
            self.next += 1;
            return (position < entries.len()).then_some(position);
        };
        loop {
            let start = self.at + finder.find(text.get(self.at..)?)?;
            let rest = entries.get(self.next..).unwrap_or_default();
            // The next match is often in one of the next names.
            let is_before = |(end, _): &&(u32, u32)| *end as usize <= start;
            let near = rest.iter().take(SEQUENTIAL_COMPARISONS).take_while(is_before).count();
            let skipped = if near < SEQUENTIAL_COMPARISONS {
                near
            } else {
                rest.partition_point(|(end, _)| *end as usize <= start)
            };
            self.next += skipped;
            let end = entries.get(self.next)?.0 as usize;
            if start + finder.needle().len() <= end {
                self.at = end;
                return Some(self.next);
            }
            // The match begins in one name and ends in another.
            self.at = start + 1;
        }
    }
}

/// The version that installers prefer, each value of the description from the first file that has it. Empty without files.
#[derive(Clone, Default)]
pub(in crate::serve) struct PreferredVersion {
    pub(in crate::serve) version: String,
    pub(in crate::serve) description: FileDescription,
}

/// Cache of preferred versions, by the tree at the last change of the project, which may have thousands of files.
pub(in crate::serve) type PreferredVersions =
    quick_cache::sync::Cache<(PointTree, PackageId), Arc<PreferredVersion>>;

/// Maximum number of entries of the cache, at most two kilobytes each.
pub(in crate::serve) const PREFERRED_VERSIONS: usize = 8192;

/// Returns the preferred versions of projects of a tree, in their order.
pub(in crate::serve) fn preferred_versions(
    c: &mut dyn Conn,
    cache: &PreferredVersions,
    view: &View,
    language: Language,
    projects: &[PackageId],
) -> Result<Vec<Arc<PreferredVersion>>, DbError> {
    let tree = view.tree();
    let at = |seq: Seq| match tree.base {
        Some(base) => PointTree { base: Some(Base { seq, ..base }), ..tree },
        None => PointTree { seq, ..tree },
    };
    let mut versions = Vec::with_capacity(projects.len());
    for chunk in projects.chunks(CHUNK) {
        let changes = project_file::last_changes(c, tree.listing().tree, tree.listing().seq, chunk)?;
        let keys: Vec<_> = chunk
            .iter()
            .zip(changes)
            .map(|(project, change)| change.map(|seq| (at(seq), *project)))
            .collect();
        let cached: Vec<_> = keys.iter().map(|key| key.as_ref().and_then(|key| cache.get(key))).collect();
        let missing: Vec<(PointTree, PackageId)> = keys
            .iter()
            .zip(&cached)
            .filter(|(_, cached)| cached.is_none())
            .filter_map(|(key, _)| *key)
            .collect();
        let packages: Vec<PackageId> = missing.iter().map(|(_, project)| *project).collect();
        let files = curated::of_projects(c, view, &packages)?;
        let mut read: HashMap<PackageId, Arc<PreferredVersion>> = HashMap::with_capacity(missing.len());
        for (key, files) in missing.into_iter().zip(files) {
            let version = Arc::new(preferred_version(&files, language));
            cache.insert(key, Arc::clone(&version));
            read.insert(key.1, version);
        }
        let version = |(project, cached): (&PackageId, Option<Arc<PreferredVersion>>)| {
            cached.or_else(|| read.get(project).cloned()).unwrap_or_default()
        };
        versions.extend(chunk.iter().zip(cached).map(version));
    }
    Ok(versions)
}

fn preferred_version(files: &[ListedFile], language: Language) -> PreferredVersion {
    let Some(newest) = newest(files, language) else { return PreferredVersion::default() };
    let rules = language::of(language);
    let version = rules.version(&newest.version);
    let mut files: Vec<&ListedFile> =
        files.iter().filter(|file| rules.version(&file.version) == version).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let descriptions = files.into_iter().map(|file| language::describe(language, &file.facts));
    let description = descriptions.reduce(FileDescription::or).unwrap_or_default();
    PreferredVersion { version: newest.version.clone(), description }
}

/// Returns a file of the version that installers prefer: the highest one that is not yanked and no
/// pre-release, else not yanked, else any.
pub(in crate::serve) fn newest(files: &[ListedFile], language: Language) -> Option<&ListedFile> {
    let rules = language::of(language);
    files.iter().max_by_key(|file| {
        let version = rules.version(&file.version);
        (file.yanked.is_none(), file.yanked.is_none() && !version.is_pre_release(), version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ProjectListing {
        let (package, version) = (PackageId(1), text.to_owned());
        ProjectListing { package, version, published_at: None, files: Vec::new() }
    }

    #[test]
    fn projects_have_a_position_a_name_and_a_tree() {
        let mut names = ProjectNames::default();
        names.push("a", 1, None);
        names.push("flask", 0, Some(version("1.0")));
        names.push("zope-interface", 1, None);
        assert_eq!(names.len(), 3);
        let all: Vec<&str> = (0..4).map(|position| names.name(position)).collect();
        assert_eq!(all, ["a", "flask", "zope-interface", ""]);
        assert_eq!([0, 1, 2, 3].map(|position| names.tree_position(position)), [1, 0, 1, usize::MAX]);
        assert_eq!(names.version(1).map(|listed| listed.version.as_str()), Some("1.0"));
        assert!(names.version(0).is_none() && names.version(2).is_none());
        assert_eq!(names.versions().map(|(position, _)| position).collect::<Vec<_>>(), [1]);
        for (name, position) in [("a", Some(0)), ("flask", Some(1)), ("zope-interface", Some(2))] {
            assert_eq!(names.position_of(name), position);
        }
        for name in ["", "b", "flas", "flasks", "zz"] {
            assert_eq!(names.position_of(name), None, "{name}");
        }
    }

    #[test]
    fn names_near_another_begin_like_it_and_have_about_its_length() {
        let mut names = ProjectNames::default();
        for name in ["a", "f", "fla", "flask", "flask-sqlalchemy", "flasks", "g-flask", "zope-interface"] {
            names.push(name, 0, None);
        }
        let near = |name: &str| names.near(name, 2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(near("flaks"), ["fla", "flask", "flasks"]);
        assert_eq!(near("b"), [""; 0]);
        assert_eq!(near("zope-interfaces"), ["zope-interface"]);
        assert_eq!((near(""), near("é")), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_part_is_found_within_names_only() {
        let mut names = ProjectNames::default();
        for name in ["a", "flask", "zope-interface"] {
            names.push(name, 0, None);
        }
        let containing = |names: &ProjectNames, part: &str| names.containing(part).collect::<Vec<usize>>();
        assert_eq!(containing(&names, "a"), [0, 1, 2]);
        assert_eq!(containing(&names, "fl"), [1]);
        assert_eq!(containing(&names, ""), [0, 1, 2]);
        assert!(containing(&names, "af").is_empty() && containing(&names, "kz").is_empty(), "across names");
        for number in 0..100 {
            names.push(&format!("n{number}"), 0, None);
        }
        assert_eq!(containing(&names, "n9"), [12, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102]);
        assert!(containing(&names, "9n").is_empty());
    }
}
