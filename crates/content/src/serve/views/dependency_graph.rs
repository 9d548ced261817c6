//! Dependencies among the listed packages of a point, in both directions, and their system requirements.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quick_cache::Weighter;
use tokio::sync::Semaphore;

use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, error};
use base::model::point::{Point, PointTree};
use formats::r::closure::DependencyIndex;
use formats::r::dependency::{DependencyKind, Operator, VersionRequirement};
use formats::r::description::Description;
use formats::r::name::is_base;
use runtime::state::State;
use store::db::{detail, life};
use store::storage::memory_cache;

/// The dependency graph of a point. Uses several megabytes of memory for all of CRAN.
#[derive(Debug, Default)]
pub struct DependencyGraph {
    /// Listed packages, sorted.
    names: Vec<Box<str>>,
    /// Names of dependencies, listed or not, with their numbers.
    dependency_numbers: HashMap<Box<str>, u32>,
    versions: Vec<Box<str>>,
    /// The dependencies, sorted by dependency, kind, and dependent package.
    edges: Vec<Edge>,
    /// Pairs of a package and a listed package that its installation requires, as indices into `names`; sorted.
    hard_edges: Vec<(u32, u32)>,
    /// `SystemRequirements` by index into `names`; sorted.
    requirements: Vec<(u32, Box<str>)>,
    /// Indices into `names` of packages whose `SystemRequirements` are unknown; sorted.
    undescribed_packages: Vec<u32>,
    memory: usize,
}

/// The records of a tree's listed packages, and details from their archives.
#[derive(Debug, Default)]
struct TreeRecords {
    records: Vec<life::ListedRelease>,
    /// `SystemRequirements` from archives, by name.
    requirements: Vec<(String, String)>,
    /// Names of packages for which only the index record is known.
    undescribed_packages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    dependency: u32,
    kind: DependencyKind,
    dependent: u32,
    /// The operator, and an index into `versions`.
    requirement: Option<(Operator, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReverseDependency<'a> {
    pub name: &'a str,
    pub kind: DependencyKind,
    pub requirement: Option<(Operator, &'a str)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredPackage<'a> {
    pub name: &'a str,
    /// The position of the package that requires it, on the shortest path; `None` for the installed package.
    pub required_by: Option<usize>,
}

/// A condition that a package declares for the version of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionCondition<'a> {
    pub dependent: &'a str,
    pub dependency: &'a str,
    pub requirement: VersionRequirement<'a>,
}

/// Shortest chain from the installed package to the one at `position` of [`DependencyGraph::required_by`], without it.
pub fn chain<'a>(packages: &[RequiredPackage<'a>], position: usize) -> Vec<&'a str> {
    let parent = |position: usize| packages.get(position).and_then(|package| package.required_by);
    let parents = std::iter::successors(parent(position), |position| parent(*position));
    let mut chain: Vec<&str> = parents.map(|position| packages[position].name).collect();
    chain.reverse();
    chain
}

type Key = (Vec<PointTree>, u64);

/// The graphs of the most recently used points.
pub(in crate::serve) type Cache = quick_cache::sync::Cache<Key, Arc<DependencyGraph>, GraphWeighter>;

const CACHE_BYTES: u64 = 64 << 20;
const CACHE_ENTRIES: usize = 64;
/// Memory of an entry of the [`Cache`] besides its trees and its graph, in bytes.
const ENTRY_OVERHEAD: usize = 200;
/// Memory that the allocator needs for a text besides its bytes, at most.
const TEXT_OVERHEAD: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct GraphWeighter;

impl Weighter<Key, Arc<DependencyGraph>> for GraphWeighter {
    fn weight(&self, (trees, _): &Key, graph: &Arc<DependencyGraph>) -> u64 {
        (ENTRY_OVERHEAD + size_of_val(trees.as_slice()) + graph.memory) as u64
    }
}

pub(in crate::serve) fn cache() -> Cache {
    // One shard: a graph must not exceed its capacity.
    memory_cache::with_shards(1, CACHE_BYTES, CACHE_ENTRIES, GraphWeighter)
}

/// Limits the graphs that are read concurrently: the records of all of CRAN take tens of megabytes.
static READS: Semaphore = Semaphore::const_new(2);

/// Returns the dependency graph of a point: read once, then cached.
pub async fn of_point(repositories: &Repositories, point: &Point) -> Result<Arc<DependencyGraph>, RepoError> {
    let key = (point.trees.clone(), repositories.state.detail_updates.load(Ordering::Acquire));
    repositories.views.dependency_graphs.get_or_insert_async(&key, read(&repositories.state, point)).await
}

async fn read(state: &State, point: &Point) -> Result<Arc<DependencyGraph>, RepoError> {
    let _permit = READS.acquire().await.ok();
    let mut records_by_tree = Vec::with_capacity(point.trees.len());
    let mut hidden_names: HashSet<String> = HashSet::new();
    for view in View::of(state, point) {
        let PointTree { tree, seq, .. } = view.tree();
        let records = state.db.read(move |c| {
            let records = view.listed(c)?;
            let requirements = detail::requirements(c, tree, seq)?;
            let undescribed_packages =
                detail::without_detail(c, tree, seq)?.into_iter().map(|package| package.name).collect();
            let hidden_names = view.hidden_names(c)?;
            Ok((TreeRecords { records, requirements, undescribed_packages }, hidden_names))
        });
        let (mut records, names) = records.await?;
        records.records.retain(|record| !hidden_names.contains(&record.name));
        hidden_names.extend(names);
        records_by_tree.push(records);
    }
    Ok(Arc::new(error::run_blocking(move || DependencyGraph::of(&records_by_tree)).await?))
}

impl DependencyGraph {
    /// Builds the graph from the records of each tree; a name in several trees has the record of the first.
    fn of(trees: &[TreeRecords]) -> DependencyGraph {
        let mut first_records: HashMap<&str, (usize, &[u8])> = HashMap::new();
        for (tree, tree_records) in trees.iter().enumerate() {
            for record in tree_records.records.iter().filter(|record| record.path.is_empty()) {
                first_records.entry(&record.name).or_insert((tree, &record.stanza));
            }
        }
        let archive_requirements: Vec<HashMap<&str, &str>> = trees
            .iter()
            .map(|tree_records| {
                tree_records.requirements.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
            })
            .collect();
        let undescribed_packages: Vec<HashSet<&str>> = trees
            .iter()
            .map(|tree_records| tree_records.undescribed_packages.iter().map(String::as_str).collect())
            .collect();
        let mut records: Vec<(&str, (usize, &[u8]))> = first_records.into_iter().collect();
        records.sort_unstable();
        let mut graph = DependencyGraph::default();
        let mut versions: HashMap<Box<str>, u32> = HashMap::new();
        for (dependent, (name, (tree, stanza))) in (0..).zip(records) {
            graph.names.push(name.into());
            let description = Description::from_bytes(stanza).ok();
            let declared_text =
                description.as_ref().and_then(|description| description.non_empty("SystemRequirements"));
            if let Some(text) = declared_text.or_else(|| archive_requirements[tree].get(name).copied()) {
                graph.requirements.push((dependent, text.into()));
            } else if undescribed_packages[tree].contains(name) {
                graph.undescribed_packages.push(dependent);
            }
            let Some(description) = description else { continue };
            for kind in DependencyKind::ALL {
                for dependency in description.dependencies(kind).filter(|dependency| dependency.name != "R") {
                    let number = number_of(&mut graph.dependency_numbers, dependency.name);
                    let requirement = dependency.requirement;
                    let requirement = requirement.map(|r| (r.operator, number_of(&mut versions, r.version)));
                    graph.edges.push(Edge { dependency: number, kind, dependent, requirement });
                }
            }
        }
        graph.versions = vec![Box::default(); versions.len()];
        for (version, index) in versions {
            graph.versions[index as usize] = version;
        }
        graph.edges.sort_unstable();
        graph.edges.dedup();
        graph.edges.shrink_to_fit();
        graph.hard_edges = graph.find_hard_edges();
        graph.memory = graph.find_memory();
        graph
    }

    fn find_memory(&self) -> usize {
        let texts = self.names.iter().chain(self.dependency_numbers.keys()).chain(&self.versions);
        let texts = texts.chain(self.requirements.iter().map(|(_, requirement)| requirement));
        size_of::<DependencyGraph>()
            + self.names.capacity() * size_of::<Box<str>>()
            // A hash table has one more byte for each of its entries.
            + self.dependency_numbers.capacity() * (size_of::<(Box<str>, u32)>() + 1)
            + self.versions.capacity() * size_of::<Box<str>>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.hard_edges.capacity() * size_of::<(u32, u32)>()
            + self.requirements.capacity() * size_of::<(u32, Box<str>)>()
            + self.undescribed_packages.capacity() * size_of::<u32>()
            + texts.map(|text| TEXT_OVERHEAD + text.len()).sum::<usize>()
    }

    fn find_hard_edges(&self) -> Vec<(u32, u32)> {
        let mut package_indices = vec![None; self.dependency_numbers.len()];
        for (name, number) in &self.dependency_numbers {
            package_indices[*number as usize] = self.index_of(name);
        }
        let edges = self.edges.iter().filter(is_hard);
        let mut pairs: Vec<(u32, u32)> = edges
            .filter_map(|edge| Some((edge.dependent, package_indices[edge.dependency as usize]?)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs.shrink_to_fit();
        pairs
    }

    /// Returns the system requirements of each package, by name.
    pub fn requirements(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().map(|(index, text)| (&*self.names[*index as usize], &**text))
    }

    /// Like [`DependencyGraph::requirements`], for the listed packages among `roots` and all that they require.
    pub fn requirements_of<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = (&str, &str)> {
        self.closure(roots).into_iter().filter_map(|index| {
            let position = self.requirements.binary_search_by_key(&index, |(index, _)| *index).ok()?;
            Some((&*self.names[index as usize], &*self.requirements[position].1))
        })
    }

    /// Returns the names of the packages whose system requirements are unknown, sorted.
    pub fn without_description(&self) -> impl Iterator<Item = &str> {
        self.undescribed_packages.iter().map(|index| &*self.names[*index as usize])
    }

    /// Like [`DependencyGraph::without_description`], for the listed packages among `roots` and all that they require.
    pub fn without_description_of<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = &str> {
        let indexes = self.closure(roots).into_iter();
        let unknown = indexes.filter(|index| self.undescribed_packages.binary_search(index).is_ok());
        unknown.map(|index| &*self.names[index as usize])
    }

    /// Returns the indices of the listed packages among `roots` and of all packages that their installation requires.
    fn closure<'a>(&self, roots: impl IntoIterator<Item = &'a str>) -> BTreeSet<u32> {
        let mut pending: Vec<u32> = roots.into_iter().filter_map(|name| self.index_of(name)).collect();
        let mut indexes: BTreeSet<u32> = pending.iter().copied().collect();
        while let Some(dependent) = pending.pop() {
            let begin = self.hard_edges.partition_point(|edge| edge.0 < dependent);
            let dependencies =
                self.hard_edges[begin..].iter().take_while(|edge| edge.0 == dependent).map(|edge| edge.1);
            pending.extend(dependencies.filter(|index| indexes.insert(*index)));
        }
        indexes
    }

    /// Returns the packages that the installation of a package requires: itself, then those with the shortest
    /// chain of dependencies. Empty if it is not listed.
    pub fn required_by(&self, package: &str) -> Vec<RequiredPackage<'_>> {
        let Some(root) = self.index_of(package) else { return Vec::new() };
        let mut found = HashSet::from([root]);
        let mut order = vec![(root, None)];
        let mut position = 0;
        while let Some((dependent, _)) = order.get(position).copied() {
            let begin = self.hard_edges.partition_point(|edge| edge.0 < dependent);
            for (_, dependency) in self.hard_edges[begin..].iter().take_while(|edge| edge.0 == dependent) {
                if found.insert(*dependency) {
                    order.push((*dependency, Some(position)));
                }
            }
            position += 1;
        }
        let package = |(index, required_by): (u32, _)| RequiredPackage {
            name: &self.names[index as usize],
            required_by,
        };
        order.into_iter().map(package).collect()
    }

    /// Returns the names that these packages require and the point does not list, without base packages; sorted.
    pub fn missing_of(&self, packages: &[RequiredPackage<'_>]) -> BTreeSet<&str> {
        let dependents: BTreeSet<u32> =
            packages.iter().filter_map(|package| self.index_of(package.name)).collect();
        let is_missing = |name: &str| !self.lists(name) && !is_base(name);
        let missing = self.dependency_numbers.iter().filter(|(name, _)| is_missing(name));
        let is_needed = |number: u32| {
            let begin = self.edges.partition_point(|edge| edge.dependency < number);
            let edges = self.edges[begin..].iter().take_while(|edge| edge.dependency == number);
            edges.filter(is_hard).any(|edge| dependents.contains(&edge.dependent))
        };
        missing.filter(|(_, number)| is_needed(**number)).map(|(name, _)| &**name).collect()
    }

    /// Returns the conditions that these packages declare for the versions of each other.
    pub fn conditions_of(&self, packages: &[RequiredPackage<'_>]) -> Vec<VersionCondition<'_>> {
        let dependents: BTreeSet<u32> =
            packages.iter().filter_map(|package| self.index_of(package.name)).collect();
        let of_dependency = |package: &RequiredPackage<'_>| {
            let (dependency, number) = self.dependency_numbers.get_key_value(package.name)?;
            let begin = self.edges.partition_point(|edge| edge.dependency < *number);
            let edges = self.edges[begin..].iter().take_while(|edge| edge.dependency == *number);
            let edges = edges.filter(is_hard).filter(|edge| dependents.contains(&edge.dependent));
            // Several fields may have the same condition.
            let conditions: BTreeSet<(u32, Operator, u32)> = edges
                .filter_map(|edge| {
                    edge.requirement.map(|(operator, version)| (edge.dependent, operator, version))
                })
                .collect();
            let condition = |(dependent, operator, version): (u32, Operator, u32)| VersionCondition {
                dependent: &self.names[dependent as usize],
                dependency,
                requirement: VersionRequirement { operator, version: &self.versions[version as usize] },
            };
            Some(conditions.into_iter().map(condition).collect::<Vec<_>>())
        };
        packages.iter().filter_map(of_dependency).flatten().collect()
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        let index = self.names.binary_search_by(|other| (**other).cmp(name)).ok()?;
        u32::try_from(index).ok()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn lists(&self, name: &str) -> bool {
        self.index_of(name).is_some()
    }

    /// Returns the listed packages that depend on this one, by field and name.
    pub fn reverse_dependencies(&self, name: &str) -> impl Iterator<Item = ReverseDependency<'_>> {
        let number = self.dependency_numbers.get(name).copied();
        let begin = number.map_or(0, |number| self.edges.partition_point(|edge| edge.dependency < number));
        self.edges[begin..].iter().take_while(move |edge| Some(edge.dependency) == number).map(|edge| {
            ReverseDependency {
                name: &self.names[edge.dependent as usize],
                kind: edge.kind,
                requirement: edge
                    .requirement
                    .map(|(operator, index)| (operator, &*self.versions[index as usize])),
            }
        })
    }
}

/// Returns whether the dependent package cannot be installed without the dependency.
fn is_hard(edge: &&Edge) -> bool {
    match edge.kind {
        DependencyKind::Depends | DependencyKind::Imports | DependencyKind::LinkingTo => true,
        DependencyKind::Suggests | DependencyKind::Enhances => false,
    }
}

/// Returns the number of a text; a new text gets the next number.
fn number_of(numbers: &mut HashMap<Box<str>, u32>, text: &str) -> u32 {
    if let Some(number) = numbers.get(text) {
        return *number;
    }
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(text.into(), next);
    next
}

/// Limits the indexes that are read concurrently: the records of all of CRAN take tens of megabytes.
static READ_PERMITS: Semaphore = Semaphore::const_new(1);

/// Reads the packages that a point lists; if several trees list a name, the record of the first tree is used.
pub async fn index_of_point(
    repositories: &Repositories,
    point: &Point,
) -> Result<DependencyIndex, RepoError> {
    let _permit = READ_PERMITS.acquire().await.ok();
    let (mut index, mut names) = (DependencyIndex::default(), HashSet::new());
    for view in View::of(&repositories.state, point) {
        let rows = repositories.state.db.read(move |c| Ok((view.listed(c)?, view.hidden_names(c)?))).await?;
        let work = error::run_blocking(move || {
            let (records, hidden_names) = rows;
            for record in records.into_iter().filter(|record| record.path.is_empty()) {
                if names.contains(&record.name) {
                    continue;
                }
                if let Ok(description) = Description::from_bytes(&record.stanza)
                    && let Some(version) = description.version()
                {
                    index.insert(&record.name, version, &description);
                }
                names.insert(record.name);
            }
            names.extend(hidden_names);
            (index, names)
        });
        (index, names) = work.await?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId};

    fn record(name: &str, path: &str, fields: &str) -> life::ListedRelease {
        life::ListedRelease {
            name: name.to_owned(),
            normalized_name: name.to_lowercase(),
            path: path.to_owned(),
            package: PackageId(1),
            release: ReleaseId(1),
            stanza: format!("Package: {name}\nVersion: 1.0\n{fields}").into_bytes(),
        }
    }

    fn reverse_texts(graph: &DependencyGraph, name: &str) -> Vec<String> {
        let text = |reverse: ReverseDependency<'_>| match reverse.requirement {
            Some((operator, version)) => {
                format!("{} {} {}{version}", reverse.kind.field(), reverse.name, operator.as_str())
            }
            None => format!("{} {}", reverse.kind.field(), reverse.name),
        };
        graph.reverse_dependencies(name).map(text).collect()
    }

    fn graph_of(trees: Vec<Vec<life::ListedRelease>>) -> DependencyGraph {
        let trees = trees.into_iter().map(|records| TreeRecords { records, ..TreeRecords::default() });
        DependencyGraph::of(&trees.collect::<Vec<_>>())
    }

    #[test]
    fn the_cache_of_graphs_is_limited_in_bytes() {
        const TEXT: usize = 1 << 20;
        let cache = cache();
        let key = |tree| {
            let tree = TreeId(tree);
            (vec![PointTree { source: SourceId(1), tree, seq: Seq(1), base: None, rules: None }], 0)
        };
        let with_text = |bytes: usize| {
            let requirement = ("a".to_owned(), "x".repeat(bytes));
            Arc::new(DependencyGraph::of(&[TreeRecords {
                records: vec![record("a", "", "")],
                requirements: vec![requirement],
                undescribed_packages: Vec::new(),
            }]))
        };
        // As the graphs of eight repositories with all of CRAN.
        let of_cran = with_text(7 * TEXT);
        (0..8).for_each(|tree| cache.insert(key(tree), Arc::clone(&of_cran)));
        assert!((0..8).all(|tree| cache.get(&key(tree)).is_some()));
        let graph = with_text(TEXT);
        (8..200).for_each(|tree| cache.insert(key(tree), Arc::clone(&graph)));
        let cached = (0..200).filter_map(|tree| cache.get(&key(tree)));
        let bytes = cached.map(|graph| graph.memory as u64).sum::<u64>();
        assert!((CACHE_BYTES / 2..=CACHE_BYTES).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn a_graph_weighs_what_it_holds() {
        let names: Vec<String> = (0..200).map(|number| format!("package{number}")).collect();
        let imports = format!("Imports: {}", names.join(", "));
        let graph =
            |fields: &str| graph_of(vec![names.iter().map(|name| record(name, "", fields)).collect()]);
        let (alone, connected) = (graph("").memory, graph(&imports).memory);
        assert!(alone > 200 * "package100".len(), "{alone}");
        let edges = 200 * 200 * (size_of::<Edge>() + size_of::<(u32, u32)>());
        assert!(connected > edges && connected < edges + 40 * alone, "{connected}");
    }

    #[test]
    fn requirements_include_those_of_hard_dependencies() {
        let text = |text: &str| ("zlibish".to_owned(), text.to_owned());
        let graph = DependencyGraph::of(&[
            TreeRecords {
                records: vec![
                    record("app", "", "Imports: middle, absent\nSuggests: tested"),
                    record("middle", "", "Depends: app, R (>= 4)\nLinkingTo: zlibish"),
                    record("tested", "", "SystemRequirements: pandoc"),
                    record("zlibish", "", "License: MIT"),
                ],
                requirements: vec![text("zlib")],
                undescribed_packages: vec!["middle".to_owned(), "tested".to_owned()],
            },
            TreeRecords {
                records: vec![record("zlibish", "", "")],
                requirements: vec![text("of a shadowed one")],
                undescribed_packages: vec!["app".to_owned()],
            },
        ]);
        assert_eq!(
            graph.without_description().collect::<Vec<_>>(),
            ["middle"],
            "requirements in the index are known"
        );
        let unknown = |name: &'static str| graph.without_description_of([name]).collect::<Vec<_>>();
        assert_eq!((unknown("app"), unknown("zlibish")), (vec!["middle"], vec![]));
        let requirements = |name: &'static str| graph.requirements_of([name]).collect::<Vec<_>>();
        assert_eq!(
            requirements("app"),
            [("zlibish", "zlib")],
            "cycles are followed, and suggested packages left out"
        );
        assert_eq!((requirements("tested"), requirements("absent")), (vec![("tested", "pandoc")], vec![]));
        assert_eq!(graph.requirements().collect::<Vec<_>>(), [("tested", "pandoc"), ("zlibish", "zlib")]);
    }

    #[test]
    fn chains_are_the_shortest_ones_also_in_cycles() {
        let graph = graph_of(vec![vec![
            record("a", "", "Imports: b, c, stats"),
            record("b", "", "Imports: d, absent"),
            record("c", "", "Imports: b, e"),
            record("d", "", "Imports: e, a"),
            record("e", "", "Depends: c\nSuggests: tested"),
            record("tested", "", ""),
        ]]);
        let chains = |package: &str| -> Vec<String> {
            let all = graph.required_by(package);
            let text = |position| [chain(&all, position), vec![all[position].name]].concat().join(" ");
            (0..all.len()).map(text).collect()
        };
        assert_eq!(chains("a"), ["a", "a b", "a c", "a b d", "a c e"]);
        assert_eq!(chains("e"), ["e", "e c", "e c b", "e c b d", "e c b d a"]);
        assert_eq!(chains("tested"), ["tested"]);
        assert_eq!(chains("absent"), [""; 0]);
        assert_eq!(graph.missing_of(&graph.required_by("c")).into_iter().collect::<Vec<_>>(), ["absent"]);
    }

    #[test]
    fn dependent_packages_are_listed_by_field_and_name() {
        let graph = graph_of(vec![
            vec![
                record("b", "", "Imports: a (>= 1.2), absent\nSuggests: a"),
                record("a", "", "Depends: R (>= 4.0)"),
                record("a", "4.6.0/Recommended", "Depends: b"),
            ],
            vec![record("b", "", "Imports: c"), record("C", "", "LinkingTo: a (>= 1.2)\nDepends: a, a")],
        ]);
        assert_eq!(
            reverse_texts(&graph, "a"),
            ["Imports b >=1.2", "Depends C", "Suggests b", "LinkingTo C >=1.2"]
        );
        assert_eq!(reverse_texts(&graph, "b"), [""; 0], "second records do not count");
        assert_eq!(reverse_texts(&graph, "c"), [""; 0], "the second tree's b is shadowed");
        assert_eq!(reverse_texts(&graph, "absent"), ["Imports b"]);
        assert_eq!((reverse_texts(&graph, "R").len(), reverse_texts(&graph, "x").len()), (0, 0));
        assert!(graph.lists("C") && !graph.lists("c") && !graph.lists("absent"));
    }
}
