//! Which listed packages need which others at a point, told in both directions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Repo, RepoError};
use crate::db::life;
use crate::model::point::{Point, PointTree};
use crate::r::dependency::{Kind, Operator};
use crate::r::description::Description;

/// The dependencies among the packages of a point. Full-size CRAN takes some megabytes.
#[derive(Debug, Default)]
pub struct Links {
    /// Listed packages, sorted.
    names: Vec<Box<str>>,
    /// What is needed, listed or not.
    needed: HashMap<Box<str>, u32>,
    versions: Vec<Box<str>>,
    /// Sorted by what is needed, kind, and who needs it.
    edges: Vec<Edge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    needed: u32,
    kind: Kind,
    /// Place in `names`.
    by: u32,
    /// And place in `versions`.
    requirement: Option<(Operator, u32)>,
}

/// A package that needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverse<'a> {
    /// Its name.
    pub name: &'a str,
    /// In which field it says so.
    pub kind: Kind,
    /// Which version it asks for.
    pub requirement: Option<(Operator, &'a str)>,
}

/// The newest few points; a repository's newest state is asked for again and again.
pub(super) type Cache = quick_cache::sync::Cache<Vec<PointTree>, Arc<Links>>;

/// Points in the [`Cache`].
pub(super) const CACHED: usize = 4;

impl Repo {
    /// The dependencies among the packages of a point: read once, then kept until newer points push them out.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn links(&self, point: &Point) -> Result<Arc<Links>, RepoError> {
        self.links.get_or_insert_async(&point.trees, self.read_links(&point.trees)).await
    }

    async fn read_links(&self, trees: &[PointTree]) -> Result<Arc<Links>, RepoError> {
        let mut all = Vec::with_capacity(trees.len());
        for tree in trees {
            let PointTree { tree, seq, .. } = *tree;
            all.push(self.state.db.read(move |c| life::listed(c, tree, seq)).await?);
        }
        let links = tokio::task::spawn_blocking(move || Links::of(&all)).await;
        links
            .map(Arc::new)
            .map_err(|late| RepoError::Storage(crate::storage::StorageError::Other(late.to_string())))
    }
}

impl Links {
    /// From the records of each tree: of a name that several list, the first tree's counts.
    fn of(trees: &[Vec<life::Listed>]) -> Links {
        let mut first: HashMap<&str, &[u8]> = HashMap::new();
        for record in trees.iter().flatten().filter(|record| record.path.is_empty()) {
            first.entry(&record.name).or_insert(&record.stanza);
        }
        let mut records: Vec<(&str, &[u8])> = first.into_iter().collect();
        records.sort_unstable();
        let mut links = Links::default();
        let mut versions: HashMap<Box<str>, u32> = HashMap::new();
        for (by, (name, stanza)) in (0..).zip(records) {
            links.names.push(name.into());
            let Ok(described) = Description::from_bytes(stanza) else { continue };
            for kind in Kind::ALL {
                for dependency in described.dependencies(kind).filter(|dependency| dependency.name != "R") {
                    let needed = number(&mut links.needed, dependency.name);
                    let asked = dependency.requirement;
                    let requirement = asked.map(|r| (r.operator, number(&mut versions, r.version)));
                    links.edges.push(Edge { needed, kind, by, requirement });
                }
            }
        }
        links.versions = vec![Box::default(); versions.len()];
        for (version, place) in versions {
            links.versions[place as usize] = version;
        }
        links.edges.sort_unstable();
        links.edges.dedup();
        links.edges.shrink_to_fit();
        links
    }

    /// Whether the point lists a package of this name.
    #[must_use]
    pub fn lists(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// The listed packages that need this one, by field and name.
    pub fn reverse(&self, name: &str) -> impl Iterator<Item = Reverse<'_>> {
        let needed = self.needed.get(name).copied();
        let begin = needed.map_or(0, |needed| self.edges.partition_point(|edge| edge.needed < needed));
        self.edges[begin..].iter().take_while(move |edge| Some(edge.needed) == needed).map(|edge| Reverse {
            name: &self.names[edge.by as usize],
            kind: edge.kind,
            requirement: edge.requirement.map(|(operator, at)| (operator, &*self.versions[at as usize])),
        })
    }
}

/// The number of a text, the next one if it is new.
fn number(known: &mut HashMap<Box<str>, u32>, text: &str) -> u32 {
    if let Some(number) = known.get(text) {
        return *number;
    }
    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
    known.insert(text.into(), next);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{PackageId, ReleaseId};

    fn record(name: &str, path: &str, fields: &str) -> life::Listed {
        life::Listed {
            name: name.to_owned(),
            fold: name.to_lowercase(),
            path: path.to_owned(),
            package: PackageId(1),
            release: ReleaseId(1),
            stanza: format!("Package: {name}\nVersion: 1.0\n{fields}").into_bytes(),
        }
    }

    fn shown(links: &Links, name: &str) -> Vec<String> {
        let text = |reverse: Reverse<'_>| match reverse.requirement {
            Some((operator, version)) => {
                format!("{} {} {}{version}", reverse.kind.field(), reverse.name, operator.as_str())
            }
            None => format!("{} {}", reverse.kind.field(), reverse.name),
        };
        links.reverse(name).map(text).collect()
    }

    #[test]
    fn who_needs_a_package_is_told_by_field_and_name() {
        let links = Links::of(&[
            vec![
                record("b", "", "Imports: a (>= 1.2), gone\nSuggests: a"),
                record("a", "", "Depends: R (>= 4.0)"),
                record("a", "4.6.0/Recommended", "Depends: b"),
            ],
            vec![record("b", "", "Imports: c"), record("C", "", "LinkingTo: a (>= 1.2)\nDepends: a, a")],
        ]);
        assert_eq!(shown(&links, "a"), ["Imports b >=1.2", "Depends C", "Suggests b", "LinkingTo C >=1.2"]);
        assert_eq!(shown(&links, "b"), [""; 0], "second records do not count");
        assert_eq!(shown(&links, "c"), [""; 0], "the second tree's b is shadowed");
        assert_eq!(shown(&links, "gone"), ["Imports b"]);
        assert_eq!((shown(&links, "R").len(), shown(&links, "x").len()), (0, 0));
        assert!(links.lists("C") && !links.lists("c") && !links.lists("gone"));
    }
}
