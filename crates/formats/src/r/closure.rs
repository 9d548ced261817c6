//! Closures of dependencies: the direct and indirect dependencies of packages in an index, as
//! `tools::package_dependencies` computes them.

use std::collections::{BTreeMap, HashMap};

use super::dependency::{DependencyKind, Operator, VersionRequirement};
use super::description::Description;
use super::name;

/// A set of kinds of dependencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

/// The packages of an index with their dependencies. Names are stored as numbers, so that all of CRAN takes several
/// megabytes, and a closure several milliseconds.
#[derive(Clone, Debug, Default)]
pub struct DependencyIndex {
    /// Names of packages and of their dependencies, by number.
    names: Vec<Box<str>>,
    /// The numbers of the names.
    numbers: HashMap<Box<str>, u32>,
    /// The packages by number; `None` for a name that is only a dependency.
    packages: Vec<Option<IndexPackage>>,
    requirements: Vec<(Operator, Box<str>)>,
    requirement_numbers: HashMap<(Operator, Box<str>), u32>,
}

#[derive(Clone, Debug)]
struct IndexPackage {
    version: Box<str>,
    /// The dependencies, ordered by kind, then as written; without R and its base packages.
    edges: Box<[DependencyEdge]>,
    /// The numbers of the requirements on R.
    r: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct DependencyEdge {
    dependency: u32,
    kind: DependencyKind,
    requirement: Option<u32>,
}

/// A package whose closure is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosureRoot<'a> {
    pub name: &'a str,
    /// The kinds of the package's own dependencies that are followed.
    pub kinds: Kinds,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyClosure<'a> {
    /// The roots in the order of the request, then their dependencies by distance from the roots, each once.
    pub members: Vec<ClosureMember<'a>>,
    /// Dependencies that the index does not have, by name.
    pub missing: Vec<MissingDependency<'a>>,
    /// Requirements that the versions in the index do not meet, in the order of the members that declare them.
    pub unmet: Vec<UnmetRequirement<'a>>,
    /// Roots that the index does not have, and roots that are base packages of R, in the order of the request.
    pub unknown_roots: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosureMember<'a> {
    pub name: &'a str,
    /// The version that the index has.
    pub version: &'a str,
    /// Position in [`DependencyClosure::members`] of the package that needs it, on a shortest chain from a root;
    /// `None` for a root.
    pub parent: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDependency<'a> {
    pub name: &'a str,
    /// The members that cannot be installed without it; if there are none, the members that declare it otherwise.
    pub dependents: Vec<&'a str>,
    /// Whether these cannot be installed without it: it is in their `Depends`, `Imports` or `LinkingTo`.
    pub is_strong: bool,
}

/// A requirement that the version in the index does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmetRequirement<'a> {
    /// The package that declares it.
    pub dependent: &'a str,
    pub kind: DependencyKind,
    /// The package whose version is required.
    pub dependency: &'a str,
    /// The version that the index has.
    pub version: &'a str,
    pub requirement: VersionRequirement<'a>,
}

impl Kinds {
    pub const NONE: Kinds = Kinds(0);
    /// The kinds without which a package cannot be installed: `Depends`, `Imports` and `LinkingTo`; `"strong"` in R.
    pub const STRONG: Kinds = Kinds::NONE
        .with(DependencyKind::Depends)
        .with(DependencyKind::Imports)
        .with(DependencyKind::LinkingTo);
    /// The strong kinds and `Suggests`; `"most"` in R.
    pub const MOST: Kinds = Kinds::STRONG.with(DependencyKind::Suggests);
    pub const ALL: Kinds = Kinds::MOST.with(DependencyKind::Enhances);

    pub const fn with(self, kind: DependencyKind) -> Kinds {
        Kinds(self.0 | (1 << kind as u8))
    }

    pub const fn union(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub const fn intersection(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    pub const fn contains(self, kind: DependencyKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl DependencyIndex {
    /// Adds a package with the dependencies in its record or DESCRIPTION. An existing package of that name is replaced.
    pub fn insert(&mut self, name: &str, version: &str, description: &Description) {
        let (mut edges, mut r) = (Vec::new(), Vec::new());
        for kind in DependencyKind::ALL {
            for dependency in description.dependencies(kind) {
                let requirement = dependency.requirement.map(|requirement| self.requirement(requirement));
                if dependency.name == "R" {
                    r.extend(requirement);
                } else if !name::is_base(dependency.name) {
                    edges.push(DependencyEdge {
                        dependency: self.number(dependency.name),
                        kind,
                        requirement,
                    });
                }
            }
        }
        let package = IndexPackage { version: version.into(), edges: edges.into(), r: r.into() };
        let number = self.number(name);
        self.packages[number as usize] = Some(package);
    }

    /// Returns the version of a package; `None` if the index does not have it.
    pub fn version(&self, name: &str) -> Option<&str> {
        Some(&*self.package(*self.numbers.get(name)?)?.version)
    }

    /// Returns the names of the packages that the index has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().zip(&self.packages);
        names.filter(|(_, package)| package.is_some()).map(|(name, _)| &**name)
    }

    /// Returns the requirements of a package on R; none for a package that the index does not have.
    pub fn r_requirements(&self, name: &str) -> impl Iterator<Item = VersionRequirement<'_>> {
        let package = self.numbers.get(name).and_then(|number| self.package(*number));
        package
            .into_iter()
            .flat_map(move |package| package.r.iter().map(move |number| self.requirement_at(*number)))
    }

    /// Returns the closure of some packages: of a root, also one that is a dependency, those of its kinds are followed,
    /// of any other member those of the kinds `recursive`.
    pub fn closure<'a>(&'a self, roots: &[ClosureRoot<'_>], recursive: Kinds) -> DependencyClosure<'a> {
        let mut closure = DependencyClosure::default();
        // The number and the followed kinds of each member, and the position of each number in `members`.
        let mut members: Vec<(u32, Kinds)> = Vec::new();
        let mut positions: Vec<Option<u32>> = vec![None; self.names.len()];
        for root in roots {
            let number = self.numbers.get(root.name).copied().filter(|_| !name::is_base(root.name));
            let Some((number, package)) = number.and_then(|number| Some((number, self.package(number)?)))
            else {
                closure.unknown_roots.push(root.name.to_owned());
                continue;
            };
            let position = &mut positions[number as usize];
            if let Some(position) = *position {
                let (_, kinds) = &mut members[position as usize];
                *kinds = kinds.union(root.kinds);
                continue;
            }
            *position = Some(members.len() as u32);
            members.push((number, root.kinds));
            closure.members.push(ClosureMember {
                name: &self.names[number as usize],
                version: &package.version,
                parent: None,
            });
        }
        let mut missing: BTreeMap<&str, MissingDependency<'a>> = BTreeMap::new();
        let mut position = 0;
        while let Some(&(number, kinds)) = members.get(position) {
            let dependent = &*self.names[number as usize];
            let edges = self.package(number).map(|package| &*package.edges).unwrap_or_default();
            for edge in edges.iter().filter(|edge| kinds.contains(edge.kind)) {
                let name = &*self.names[edge.dependency as usize];
                let Some(package) = self.package(edge.dependency) else {
                    let is_strong = Kinds::STRONG.contains(edge.kind);
                    let none = || MissingDependency { name, dependents: Vec::new(), is_strong };
                    let entry = missing.entry(name).or_insert_with(none);
                    if is_strong && !entry.is_strong {
                        *entry = none();
                    }
                    if is_strong == entry.is_strong && entry.dependents.last() != Some(&dependent) {
                        entry.dependents.push(dependent);
                    }
                    continue;
                };
                if positions[edge.dependency as usize].is_none() {
                    positions[edge.dependency as usize] = Some(members.len() as u32);
                    members.push((edge.dependency, recursive));
                    closure.members.push(ClosureMember {
                        name,
                        version: &package.version,
                        parent: Some(position),
                    });
                }
                let requirement = edge.requirement.map(|number| self.requirement_at(number));
                let requirement = requirement.filter(|requirement| !requirement.is_met_by(&package.version));
                closure.unmet.extend(requirement.map(|requirement| UnmetRequirement {
                    dependent,
                    kind: edge.kind,
                    dependency: name,
                    version: &package.version,
                    requirement,
                }));
            }
            position += 1;
        }
        closure.missing = missing.into_values().collect();
        closure
    }

    /// Returns the members of a closure in an order in which they can be installed: each member follows its strong
    /// dependencies. The members of a cycle, which cannot be installed, have an arbitrary order.
    pub fn installation_order<'a>(&'a self, closure: &DependencyClosure<'a>) -> Vec<ClosureMember<'a>> {
        let positions: HashMap<u32, usize> = closure
            .members
            .iter()
            .enumerate()
            .filter_map(|(position, member)| Some((*self.numbers.get(member.name)?, position)))
            .collect();
        let needed_by = |position: usize| -> Vec<usize> {
            let number = self.numbers.get(closure.members[position].name);
            let package = number.and_then(|number| self.package(*number));
            let edges = package.map(|package| &*package.edges).unwrap_or_default().iter();
            let strong = edges.filter(|edge| Kinds::STRONG.contains(edge.kind));
            strong.filter_map(|edge| positions.get(&edge.dependency).copied()).rev().collect()
        };
        let (mut order, mut visited) = (Vec::new(), vec![false; closure.members.len()]);
        // Not recursive: a chain of dependencies may be longer than the stack permits.
        let mut pending: Vec<(usize, Vec<usize>)> = Vec::new();
        for root in 0..closure.members.len() {
            if !std::mem::replace(&mut visited[root], true) {
                pending.push((root, needed_by(root)));
            }
            while let Some((position, remaining)) = pending.last_mut() {
                match remaining.pop() {
                    Some(next) if std::mem::replace(&mut visited[next], true) => {}
                    Some(next) => pending.push((next, needed_by(next))),
                    None => {
                        order.push(closure.members[*position]);
                        pending.pop();
                    }
                }
            }
        }
        order
    }

    /// Returns the version requirements of a closure's members on their strong dependencies.
    pub fn strong_requirements<'a>(
        &'a self,
        closure: &DependencyClosure<'a>,
    ) -> impl Iterator<Item = (&'a str, VersionRequirement<'a>)> {
        let numbers = closure.members.iter().filter_map(|member| self.numbers.get(member.name));
        let packages = numbers.filter_map(|number| self.package(*number)).collect::<Vec<_>>().into_iter();
        let edges = packages.flat_map(|package| package.edges.iter());
        let strong = edges.filter(|edge| Kinds::STRONG.contains(edge.kind));
        strong.filter_map(|edge| {
            let requirement = self.requirement_at(edge.requirement?);
            Some((&*self.names[edge.dependency as usize], requirement))
        })
    }

    fn package(&self, number: u32) -> Option<&IndexPackage> {
        self.packages.get(number as usize)?.as_ref()
    }

    fn requirement_at(&self, number: u32) -> VersionRequirement<'_> {
        let (operator, version) = &self.requirements[number as usize];
        VersionRequirement { operator: *operator, version }
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.packages.push(None);
        self.numbers.insert(name.into(), number);
        number
    }

    fn requirement(&mut self, requirement: VersionRequirement<'_>) -> u32 {
        let key: (Operator, Box<str>) = (requirement.operator, requirement.version.into());
        let next = self.requirements.len() as u32;
        let number = *self.requirement_numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.requirements.push(key);
        }
        number
    }
}

impl<'a> DependencyClosure<'a> {
    /// Returns the chain of packages from a root to the member at a position, both included; empty if there is none.
    pub fn chain(&self, position: usize) -> Vec<&'a str> {
        let mut chain = Vec::new();
        let mut next = Some(position);
        while let Some(member) = next.and_then(|position| self.members.get(position)) {
            chain.push(member.name);
            next = member.parent;
        }
        chain.reverse();
        chain
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Reads records that are separated by empty lines; a record without a version has version 1.0.
    fn index(text: &str) -> DependencyIndex {
        let mut index = DependencyIndex::default();
        for record in text.split("\n\n") {
            let description = Description::from_bytes(record.as_bytes()).expect("a record");
            let name = description.package().expect("a name");
            index.insert(name, description.version().unwrap_or("1.0"), &description);
        }
        index
    }

    fn root(name: &str, kinds: Kinds) -> ClosureRoot<'_> {
        ClosureRoot { name, kinds }
    }

    fn names<'a>(closure: &DependencyClosure<'a>) -> Vec<&'a str> {
        closure.members.iter().map(|member| member.name).collect()
    }

    #[test]
    fn strong_dependencies_are_followed_and_packages_of_r_are_left_out() {
        let index = index(
            "Package: a1\nDepends: R (>= 3.5), methods\nImports: b2, MASS\nSuggests: s1\n\n\
             Package: b2\nLinkingTo: c3\nSuggests: s2\n\n\
             Package: c3\n\nPackage: MASS\nDepends: R (>= 4.0), stats, grDevices\n\n\
             Package: s1\nImports: s2\n\nPackage: s2\n\nPackage: base",
        );
        let closure = index.closure(&[root("a1", Kinds::STRONG)], Kinds::STRONG);
        assert_eq!(names(&closure), ["a1", "b2", "MASS", "c3"]);
        assert_eq!((closure.missing.len(), closure.unmet.len()), (0, 0));
        assert_eq!(closure.chain(3), ["a1", "b2", "c3"]);
        assert_eq!(closure.chain(0), ["a1"]);
        assert_eq!(closure.chain(4), [""; 0]);
        assert_eq!(index.r_requirements("a1").count(), 1);

        // Suggested packages are added only for roots: s2 is in the closure as a dependency of s1, not because b2
        // suggests it.
        let closure = index.closure(&[root("a1", Kinds::MOST)], Kinds::STRONG);
        assert_eq!(names(&closure), ["a1", "b2", "MASS", "s1", "c3", "s2"]);
        assert_eq!(closure.chain(5), ["a1", "s1", "s2"]);

        let closure = index.closure(&[root("a1", Kinds::NONE)], Kinds::STRONG);
        assert_eq!(names(&closure), ["a1"]);
        let closure = index.closure(&[root("base", Kinds::ALL), root("zz", Kinds::ALL)], Kinds::ALL);
        assert_eq!(
            (names(&closure), closure.unknown_roots),
            (vec![], vec!["base".to_owned(), "zz".to_owned()])
        );
    }

    #[test]
    fn packages_are_installed_after_those_that_they_need() {
        let index = index(
            "Package: a1\nImports: b2, c3 (>= 2.0)\nSuggests: z9\n\nPackage: b2\nDepends: d4\n\n\
             Package: c3\nLinkingTo: b2 (> 1)\n\nPackage: d4\nSuggests: a1\n\n\
             Package: x1\nImports: y2\n\nPackage: y2\nImports: x1\n\nPackage: z9",
        );
        let order = |roots: &[ClosureRoot<'_>]| {
            let closure = index.closure(roots, Kinds::STRONG);
            index.installation_order(&closure).iter().map(|member| member.name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(order(&[root("a1", Kinds::STRONG)]), ["d4", "b2", "c3", "a1"]);
        assert_eq!(order(&[root("x1", Kinds::STRONG), root("z9", Kinds::STRONG)]), ["y2", "x1", "z9"]);
        let closure = index.closure(&[root("a1", Kinds::STRONG)], Kinds::STRONG);
        let requirements = index.strong_requirements(&closure);
        let requirements: Vec<_> =
            requirements.map(|(name, r)| format!("{name} {} {}", r.operator.as_str(), r.version)).collect();
        assert_eq!(requirements, ["c3 >= 2.0", "b2 > 1"]);
    }

    #[test]
    fn a_chain_longer_than_a_stack_is_ordered() {
        let text: Vec<String> = (0..200_000).map(|n| format!("Package: p{n}\nImports: p{}", n + 1)).collect();
        let index = index(&text.join("\n\n"));
        let closure = index.closure(&[root("p0", Kinds::STRONG)], Kinds::STRONG);
        let order = index.installation_order(&closure);
        assert_eq!((order.len(), order[0].name), (200_000, "p199999"));
    }

    #[test]
    fn cycles_self_references_and_repeated_roots_end() {
        let index = index(
            "Package: a1\nImports: b2, a1\nSuggests: c3\n\nPackage: b2\nSuggests: a1\nDepends: a1\n\nPackage: c3\nImports: a1",
        );
        let roots = [root("a1", Kinds::STRONG), root("a1", Kinds::MOST), root("b2", Kinds::NONE)];
        assert_eq!(names(&index.closure(&roots, Kinds::ALL)), ["a1", "b2", "c3"]);
    }

    #[test]
    fn missing_packages_and_unmet_versions_are_reported() {
        let index = index(
            "Package: a1\nImports: b2 (>= 2.0), m1\nSuggests: m1, m2\nDepends: R (>= 99), b2 (!= 1.0), b2 (<= 3)\n\n\
             Package: b2\nVersion: 1.0\nImports: m2, a1 (>= 0.9), c3\n\n\
             Package: c3\nVersion: 1.0\nImports: m2\nLinkingTo: m2",
        );
        let closure = index.closure(&[root("a1", Kinds::MOST)], Kinds::STRONG);
        // a1 suggests m2, but b2 and c3 cannot be installed without it.
        let missing = |name, dependents: &[&'static str]| MissingDependency {
            name,
            dependents: dependents.to_vec(),
            is_strong: true,
        };
        assert_eq!(closure.missing, [missing("m1", &["a1"]), missing("m2", &["b2", "c3"])]);
        let unmet: Vec<(&str, &str, &str)> =
            closure.unmet.iter().map(|u| (u.dependency, u.requirement.version, u.kind.field())).collect();
        assert_eq!(unmet, [("b2", "2.0", "Imports"), ("b2", "1.0", "Depends")]);

        let closure = index.closure(&[root("b2", Kinds::NONE)], Kinds::STRONG);
        assert_eq!(closure.missing.len(), 0);
    }

    #[test]
    fn a_package_is_replaced_by_another_version() {
        let mut index = index("Package: a1\nImports: b2\n\nPackage: b2");
        let other = Description::from_bytes(b"Package: a1\nImports: c3").expect("a record");
        index.insert("a1", "0.9", &other);
        let closure = index.closure(&[root("a1", Kinds::STRONG)], Kinds::STRONG);
        assert_eq!((names(&closure), index.version("a1")), (vec!["a1"], Some("0.9")));
        assert_eq!(closure.missing.first().map(|missing| missing.name), Some("c3"));
        assert_eq!((index.version("b2"), index.version("c3")), (Some("1.0"), None));
    }

    /// The dependencies of each package, by field, as numbers; packages from number 12 on are not in the index.
    type Model = Vec<Vec<BTreeSet<u8>>>;

    fn package_name(number: u8) -> String {
        format!("p{number}")
    }

    fn model_index(model: &Model) -> DependencyIndex {
        let mut index = DependencyIndex::default();
        for (number, fields) in (0..).zip(model) {
            let mut text = format!("Package: {}\n", package_name(number));
            for (kind, dependencies) in DependencyKind::ALL.into_iter().zip(fields) {
                let names: Vec<String> = dependencies.iter().map(|number| package_name(*number)).collect();
                if !names.is_empty() {
                    text.push_str(&format!("{}: {}\n", kind.field(), names.join(", ")));
                }
            }
            let description = Description::from_bytes(text.as_bytes()).expect("a record");
            index.insert(&package_name(number), "1.0", &description);
        }
        index
    }

    /// Adds dependencies until there are no new ones. Returns the packages, including those that the index lacks.
    fn model_closure(model: &Model, roots: &BTreeMap<u8, Kinds>, recursive: Kinds) -> BTreeSet<String> {
        let mut members: BTreeSet<u8> = roots.keys().copied().collect();
        loop {
            let mut next = members.clone();
            for member in &members {
                let kinds = roots.get(member).copied().unwrap_or(recursive);
                let Some(fields) = model.get(usize::from(*member)) else { continue };
                for (kind, dependencies) in DependencyKind::ALL.into_iter().zip(fields) {
                    if kinds.contains(kind) {
                        next.extend(dependencies);
                    }
                }
            }
            if next == members {
                return members.into_iter().map(package_name).collect();
            }
            members = next;
        }
    }

    fn kinds() -> impl Strategy<Value = Kinds> {
        (0..32_u8).prop_map(Kinds)
    }

    proptest! {
        #[test]
        fn closures_are_those_of_a_naive_model(
            model in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::btree_set(0..15_u8, 0..3), 5),
                12,
            ),
            roots in proptest::collection::btree_map(0..12_u8, kinds(), 1..4),
            recursive in kinds(),
        ) {
            let index = model_index(&model);
            let names_of_roots: Vec<(String, Kinds)> =
                roots.iter().map(|(number, kinds)| (package_name(*number), *kinds)).collect();
            let requested: Vec<ClosureRoot<'_>> =
                names_of_roots.iter().map(|(name, kinds)| root(name, *kinds)).collect();
            let closure = index.closure(&requested, recursive);
            let members: BTreeSet<&str> = closure.members.iter().map(|member| member.name).collect();
            prop_assert_eq!(members.len(), closure.members.len(), "a member is there twice");
            let missing = closure.missing.iter().map(|missing| missing.name);
            let all: BTreeSet<String> = members.iter().copied().chain(missing).map(str::to_owned).collect();
            prop_assert_eq!(all, model_closure(&model, &roots, recursive));
            for position in 0..closure.members.len() {
                let chain = closure.chain(position);
                let is_root = |name: &str| names_of_roots.iter().any(|(root, _)| root == name);
                prop_assert!(chain.first().is_some_and(|name| is_root(name)), "{:?}", chain);
                prop_assert!(chain.iter().skip(1).all(|name| !is_root(name)), "{:?}", chain);
            }
        }
    }
}
