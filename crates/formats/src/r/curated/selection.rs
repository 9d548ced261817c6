//! Selects the releases of an index that a definition and the dependencies of its packages need.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::RootPackage;
use crate::r::closure::{
    ClosureRoot, DependencyClosure, DependencyIndex, Kinds, MissingDependency, UnmetRequirement,
};
use crate::r::dependency::{DependencyKind, Operator, VersionRequirement};
use crate::r::description::Description;
use crate::r::version;
use base::model::ids::ReleaseId;
use base::model::text::first_names;

/// Maximum number of versions that a problem names.
const NEAREST: usize = 4;
/// Minimum similarity of a name that an error suggests.
const MIN_SIMILARITY: f64 = 0.85;
/// Maximum number of names of a kind in a problem or a notice.
const MAX_NAMES: usize = 20;
/// Maximum number of times that the closure is computed again with other versions.
const MAX_ROUNDS: usize = 1000;

/// A release of a package in the snapshot from which packages are selected.
#[derive(Clone, Debug)]
pub struct KnownRelease {
    pub release: ReleaseId,
    pub version: String,
    /// Whether it is listed; otherwise it is archived.
    pub is_listed: bool,
    /// Its record in an index; `None` for an archived release that was in no index that this server has read.
    pub record: Option<Description>,
}

/// The releases of packages by name.
pub type KnownReleases = BTreeMap<String, Vec<KnownRelease>>;

#[derive(Clone, Copy, Debug)]
pub struct SelectionRequest<'a> {
    pub roots: &'a BTreeMap<String, RootPackage>,
    /// The kinds of dependencies to include.
    pub include: Kinds,
    pub listed: &'a DependencyIndex,
    /// All releases of the packages in earlier results [`SelectionStep::NeedsReleases`].
    pub known: &'a KnownReleases,
    /// The name of the snapshot in messages.
    pub snapshot: &'a str,
    /// Whether dependencies that the index lacks are omitted, with a notice.
    pub allow_missing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectionStep {
    Complete(Selection),
    /// The caller must add all releases of these packages to `known`, and select again.
    NeedsReleases(Vec<String>),
}

/// Selected releases. The same request always results in the same selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub packages: BTreeMap<String, SelectedRelease>,
    pub problems: Vec<String>,
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedRelease {
    pub version: String,
    /// The selected release, if it is not the listed one.
    pub other: Option<ReleaseId>,
    /// The shortest chain of dependencies from a requested package to this one, including both.
    pub chain: Vec<String>,
}

/// The requirements on the version of a package, each with the first dependent that declares it.
type Requirements = BTreeMap<(Operator, String), String>;

/// Selects the releases. The listed version of a package is used if the package's line and its dependents allow it;
/// otherwise, the highest version that they allow.
pub fn select(request: &SelectionRequest<'_>) -> SelectionStep {
    let mut selector = ReleaseSelector {
        request,
        index: Cow::Borrowed(request.listed),
        others: BTreeMap::new(),
        needed: BTreeSet::new(),
        selection: Selection::default(),
    };
    let roots = selector.roots();
    let roots: Vec<ClosureRoot<'_>> = roots
        .iter()
        .map(|(name, root)| ClosureRoot { name, kinds: request.include.union(root.extras) })
        .collect();
    // Suggested packages are included only for requested packages.
    let recursive = request.include.intersection(Kinds::STRONG);
    let unmet = selector.meet_requirements(&roots, recursive);
    if !selector.needed.is_empty() {
        return SelectionStep::NeedsReleases(selector.needed.into_iter().collect());
    }
    selector.selection.problems.extend(unmet);
    let ReleaseSelector { index, others, mut selection, .. } = selector;
    let closure = index.closure(&roots, recursive);
    let closures = || roots.iter().map(|root| (root.name, index.closure(&[*root], recursive)));
    add_missing(request, &closure, closures, &mut selection);
    for (position, member) in closure.members.iter().enumerate() {
        let release = SelectedRelease {
            version: member.version.to_owned(),
            other: others.get(member.name).copied(),
            chain: closure.chain(position).into_iter().map(str::to_owned).collect(),
        };
        selection.packages.insert(member.name.to_owned(), release);
    }
    SelectionStep::Complete(selection)
}

struct ReleaseSelector<'a> {
    request: &'a SelectionRequest<'a>,
    /// The listed releases, with selected other releases in place of listed ones.
    index: Cow<'a, DependencyIndex>,
    /// The selected releases that are not the listed ones.
    others: BTreeMap<String, ReleaseId>,
    /// Packages whose releases the caller must add to the request.
    needed: BTreeSet<String>,
    selection: Selection,
}

impl<'a> ReleaseSelector<'a> {
    /// Selects the requested packages; returns those that can be selected.
    fn roots(&mut self) -> Vec<(&'a String, &'a RootPackage)> {
        let mut roots = Vec::with_capacity(self.request.roots.len());
        for (name, root) in self.request.roots {
            if self.index.version(name).is_some_and(|version| root.allows(version)) {
                roots.push((name, root));
                continue;
            }
            let Some(known) = self.request.known.get(name) else {
                self.needed.insert(name.clone());
                continue;
            };
            // If no release of a package is listed, only a line with a version selects it.
            let release =
                highest(known, |version| root.allows(version)).filter(|_| !root.constraints.is_empty());
            match release {
                Some((release, record)) => {
                    self.replace(name, release, record);
                    roots.push((name, root));
                }
                None => self.selection.problems.push(self.missing_root_message(name, root, known)),
            }
        }
        roots
    }

    /// Replaces releases until the requirements of all dependents are met; returns the remaining problems.
    fn meet_requirements(&mut self, roots: &[ClosureRoot<'_>], recursive: Kinds) -> Vec<String> {
        let mut requirements: BTreeMap<String, Requirements> = BTreeMap::new();
        let mut problems: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            // Replaced versions may have removed the problems of the previous round.
            problems.clear();
            let closure = self.index.closure(roots, recursive);
            let mut affected: BTreeSet<String> = BTreeSet::new();
            for unmet in closure.unmet.iter().filter(|unmet| is_strong(unmet)) {
                let key = (unmet.requirement.operator, unmet.requirement.version.to_owned());
                let of_package = requirements.entry(unmet.dependency.to_owned()).or_default();
                of_package.entry(key).or_insert_with(|| unmet.dependent.to_owned());
                affected.insert(unmet.dependency.to_owned());
            }
            let mut is_changed = false;
            for name in affected {
                let Some(known) = self.request.known.get(&name) else {
                    self.needed.insert(name);
                    continue;
                };
                let of_package = &requirements[&name];
                let root = self.request.roots.get(&name);
                let allows = |version: &str| {
                    root.is_none_or(|root| root.allows(version))
                        && of_package.keys().all(|(operator, required)| {
                            VersionRequirement { operator: *operator, version: required }.is_met_by(version)
                        })
                };
                match highest(known, allows) {
                    Some((release, record)) => {
                        is_changed |= self.replace(&name, release, record);
                    }
                    None => {
                        problems
                            .insert(name.clone(), self.unmet_version_message(&name, root, of_package, known));
                    }
                }
            }
            if !is_changed {
                return problems.into_values().collect();
            }
        }
        vec![format!(
            "no versions were found that meet all requirements after {MAX_ROUNDS} attempts; name versions in the definition"
        )]
    }

    /// Selects a release instead of the current one; returns whether they differ.
    fn replace(&mut self, name: &str, release: &KnownRelease, record: &Description) -> bool {
        let other = (!release.is_listed).then_some(release.release);
        if self.others.get(name).copied() == other && self.index.version(name) == Some(&*release.version) {
            return false;
        }
        match other {
            Some(other) => self.others.insert(name.to_owned(), other),
            None => self.others.remove(name),
        };
        self.index.to_mut().insert(name, &release.version, record);
        true
    }

    fn missing_root_message(&self, name: &str, root: &RootPackage, known: &[KnownRelease]) -> String {
        let snapshot = self.request.snapshot;
        let RootPackage { origin, .. } = root;
        let text = root.constraint_text();
        let problem = match (known.is_empty(), root.constraints.is_empty()) {
            (true, _) => match self.nearest(name) {
                Some(nearest) => format!("there is no package '{name}' (did you mean '{nearest}'?)"),
                None => format!("there is no package '{name}'"),
            },
            (false, true) => format!("'{name}' is not listed, only archived: {}", versions(known, |_| true)),
            (false, false) => {
                let without_record = known.iter().filter(|release| root.allows(&release.version));
                match without_record
                    .map(|release| release.version.as_str())
                    .max_by(|a, b| version::compare(a, b))
                {
                    Some(version) => format!(
                        "'{name}' {version} is archived and was never in an index that this server has read, so that its \
                         dependencies are not known (rspm backfill reads earlier states)"
                    ),
                    None => {
                        format!("no version of '{name}' is {text}; there are {}", versions(known, |_| true))
                    }
                }
            }
        };
        format!("{origin}: {problem} at {snapshot}; change the line, or choose another --snapshot")
    }

    /// Returns the listed name most similar to one that is unknown, if one is similar enough.
    fn nearest(&self, name: &str) -> Option<&'a str> {
        let name = name.to_ascii_lowercase();
        let similarity = |other: &str| strsim::jaro_winkler(&name, &other.to_ascii_lowercase());
        let names = self.request.listed.names().map(|other| (similarity(other), other));
        // For equal similarities, the first name by alphabet, whatever the order of the index.
        let similar = names.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY);
        similar.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).map(|(_, name)| name)
    }

    fn unmet_version_message(
        &self,
        name: &str,
        root: Option<&RootPackage>,
        requirements: &Requirements,
        known: &[KnownRelease],
    ) -> String {
        let required = requirements.iter().map(|((operator, version), dependent)| {
            format!("{dependent} requires {}{version}", operator.as_str())
        });
        let requested = root
            .filter(|root| !root.constraints.is_empty())
            .map(|root| format!("{} requires {}", root.origin, root.constraint_text()));
        let reasons: Vec<String> = required.chain(requested).collect();
        format!(
            "no version of '{name}' at {} meets all requirements: {}; there are {}",
            self.request.snapshot,
            reasons.join(", "),
            versions(known, |release| release.record.is_some())
        )
    }
}

fn is_strong(unmet: &UnmetRequirement<'_>) -> bool {
    !matches!(unmet.kind, DependencyKind::Suggests | DependencyKind::Enhances)
}

/// Returns the highest allowed version with a record; of equal versions the listed one, otherwise the newest release.
fn highest(known: &[KnownRelease], allows: impl Fn(&str) -> bool) -> Option<(&KnownRelease, &Description)> {
    let allowed = known.iter().filter(|release| allows(&release.version));
    let with_record = allowed.filter_map(|release| Some((release, release.record.as_ref()?)));
    with_record.max_by(|(a, _), (b, _)| {
        version::compare(&a.version, &b.version).then((a.is_listed, a.release).cmp(&(b.is_listed, b.release)))
    })
}

/// Returns the highest versions, for a message.
fn versions(known: &[KnownRelease], is_included: impl Fn(&KnownRelease) -> bool) -> String {
    let mut versions: Vec<&str> =
        known.iter().filter(|release| is_included(release)).map(|release| release.version.as_str()).collect();
    versions.sort_by(|a, b| version::compare(b, a));
    versions.dedup();
    if versions.is_empty() { "none".to_owned() } else { first_names(&versions, NEAREST) }
}

/// Reports the dependencies that the index lacks: as problems if a package cannot be installed without them, unless
/// missing ones are allowed; otherwise in a notice. A problem names all packages that need it, also indirectly, so that
/// one change of the definition is enough: `closures` returns its packages with their closures.
fn add_missing<'a, I: Iterator<Item = (&'a str, DependencyClosure<'a>)>>(
    request: &SelectionRequest<'_>,
    closure: &DependencyClosure<'_>,
    closures: impl FnOnce() -> I,
    selection: &mut Selection,
) {
    let is_problem = |missing: &&MissingDependency<'_>| missing.is_strong && !request.allow_missing;
    let (problems, omitted): (Vec<_>, Vec<_>) = closure.missing.iter().partition(is_problem);
    let mut needing_roots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    if !problems.is_empty() {
        for (root, closure) in closures() {
            let strong = closure.missing.iter().filter(|missing| missing.is_strong);
            strong.for_each(|missing| needing_roots.entry(missing.name).or_default().push(root));
        }
    }
    for missing in problems {
        let verb = if missing.dependents.len() == 1 { "requires" } else { "require" };
        let needing = needing_roots.get(missing.name).map(Vec::as_slice).unwrap_or_default();
        selection.problems.push(format!(
            "{} {verb} '{}', which is not in CRAN at {}; subscribe a source that has it and add --allow-missing, or remove \
             what needs it from the definition: {}",
            first_names(&missing.dependents, MAX_NAMES),
            missing.name,
            request.snapshot,
            first_names(needing, MAX_NAMES)
        ));
    }
    let omitted: Vec<&str> = omitted.into_iter().map(|missing| missing.name).collect();
    if !omitted.is_empty() {
        let names = first_names(&omitted, MAX_NAMES);
        let (subject, verb) = match omitted.len() {
            1 => ("1 dependency is".to_owned(), "was"),
            count => (format!("{count} dependencies are"), "were"),
        };
        selection
            .notices
            .push(format!("{subject} not in CRAN at {} and {verb} omitted: {names}", request.snapshot));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse_include, read};
    use super::*;

    fn record(text: &str) -> Description {
        Description::from_bytes(text.as_bytes()).expect("a record")
    }

    /// Reads releases from records. Records with `Listed: yes` are listed; the ids are positions from 1.
    fn releases(text: &str) -> (DependencyIndex, KnownReleases) {
        let (mut index, mut known) = (DependencyIndex::default(), KnownReleases::new());
        for (id, text) in (1..).zip(text.split("\n\n")) {
            let record = record(text);
            let (name, version) = (record.package().expect("a name"), record.version().expect("a version"));
            let is_listed = record.get("Listed").is_some();
            if is_listed {
                index.insert(name, version, &record);
            }
            known.entry(name.to_owned()).or_default().push(KnownRelease {
                release: ReleaseId(id),
                version: version.to_owned(),
                is_listed,
                record: record.get("NoRecord").is_none().then(|| record.clone()),
            });
        }
        (index, known)
    }

    const BASE: &str = "Package: app1\nVersion: 2.0\nImports: lib1 (>= 1.5), util\nSuggests: extra, absent\nListed: yes\n\n\
        Package: app1\nVersion: 1.0\nImports: lib1 (< 1.5)\n\n\
        Package: lib1\nVersion: 1.6\nListed: yes\n\n\
        Package: lib1\nVersion: 1.4\nImports: old1\n\n\
        Package: lib1\nVersion: 0.9\nNoRecord: yes\n\n\
        Package: old1\nVersion: 1.0\nListed: yes\n\n\
        Package: util\nVersion: 1.0\nSuggests: old1\nListed: yes\n\n\
        Package: extra\nVersion: 1.0\nImports: old1\nListed: yes\n\n\
        Package: strict\nVersion: 1.0\nImports: lib1 (== 1.4), app1\nListed: yes\n\n\
        Package: broken\nVersion: 1.0\nImports: absent\nListed: yes\n\n\
        Package: hms\nVersion: 1.0\nImports: lifecycle\nListed: yes\n\n\
        Package: purrr\nVersion: 1.0\nDepends: lifecycle\nListed: yes\n\n\
        Package: readr\nVersion: 1.0\nImports: hms, absent\nListed: yes\n\n\
        Package: fine\nVersion: 1.0\nSuggests: lifecycle, purrr\nListed: yes\n\n\
        Package: gone\nVersion: 1.0\n\n\
        Package: ring1\nVersion: 1.0\nImports: ring2\nListed: yes\n\n\
        Package: ring2\nVersion: 1.0\nImports: ring1\nListed: yes\n\n\
        Package: low1\nVersion: 1.0\nImports: lib1 (< 1.5)\nListed: yes\n\n\
        Package: keeper\nVersion: 1.0\nImports: mid1 (< 2.0)\nListed: yes\n\n\
        Package: mid1\nVersion: 2.0\nListed: yes\n\n\
        Package: mid1\nVersion: 1.0\nImports: app1 (< 2.0)";

    fn selected(definition: &str, include: &str, allow_missing: bool) -> Selection {
        let (listed, all) = releases(BASE);
        let definition = read(&[("f", definition.as_bytes())]).expect("a definition");
        let mut known = KnownReleases::new();
        for _ in 0..10 {
            let request = SelectionRequest {
                roots: &definition.roots,
                include: parse_include(include).expect("kinds"),
                listed: &listed,
                known: &known,
                snapshot: "2024-01-31",
                allow_missing,
            };
            match select(&request) {
                SelectionStep::Complete(selection) => return selection,
                SelectionStep::NeedsReleases(names) => {
                    for name in names {
                        let releases = all.get(&name).cloned().unwrap_or_default();
                        assert!(known.insert(name, releases).is_none(), "a package is requested twice");
                    }
                }
            }
        }
        panic!("the selection does not end");
    }

    const STRONG: &str = "imports,depends,linking-to";

    fn versions_of(selection: &Selection) -> Vec<String> {
        let text = |(name, release): (&String, &SelectedRelease)| format!("{name} {}", release.version);
        selection.packages.iter().map(text).collect()
    }

    #[test]
    fn a_package_has_its_listed_version_and_dependencies() {
        let selection = selected("app1", STRONG, false);
        assert_eq!(versions_of(&selection), ["app1 2.0", "lib1 1.6", "util 1.0"]);
        assert_eq!((selection.problems.len(), selection.notices.len()), (0, 0));
        assert_eq!(selection.packages["lib1"].chain, ["app1", "lib1"]);
        assert_eq!(versions_of(&selected("app1", "none", false)), ["app1 2.0"]);
        assert_eq!(versions_of(&selected("ring1", STRONG, false)), ["ring1 1.0", "ring2 1.0"]);
    }

    #[test]
    fn suggested_packages_are_those_of_the_requested_ones() {
        let selection = selected("app1 [suggests]", STRONG, false);
        assert_eq!(versions_of(&selection), ["app1 2.0", "extra 1.0", "lib1 1.6", "old1 1.0", "util 1.0"]);
        assert_eq!(selection.notices, ["1 dependency is not in CRAN at 2024-01-31 and was omitted: absent"]);
    }

    #[test]
    fn constraints_select_archived_versions_of_packages_and_of_their_dependencies() {
        let selection = selected("app1 <2.0", STRONG, false);
        assert_eq!(versions_of(&selection), ["app1 1.0", "lib1 1.4", "old1 1.0"]);
        assert_eq!(selection.packages["app1"].other, Some(ReleaseId(2)));
        assert_eq!(selection.packages["old1"].other, None);
        assert_eq!(versions_of(&selected("gone ==1.0", STRONG, false)), ["gone 1.0"]);
    }

    #[test]
    fn a_conflict_with_a_version_that_is_replaced_later_is_no_problem() {
        // lib1 1.4 conflicts with app1 2.0 until mid1 1.0 requires an earlier app1.
        let selection = selected("app1\nkeeper\nlow1", STRONG, false);
        assert_eq!(selection.problems, [""; 0]);
        let expected = ["app1 1.0", "keeper 1.0", "lib1 1.4", "low1 1.0", "mid1 1.0", "old1 1.0"];
        assert_eq!(versions_of(&selection), expected);
    }

    #[test]
    fn problems_name_the_line_the_reason_and_the_versions() {
        let problem = |definition: &str| selected(definition, STRONG, false).problems.join("\n");
        assert!(problem("nosuch").contains("f, line 1: there is no package 'nosuch' at 2024-01-31"));
        assert!(problem("ap1").contains("there is no package 'ap1' (did you mean 'app1'?) at"));
        assert!(problem("gone").contains("only archived: 1.0"), "{}", problem("gone"));
        assert!(problem("lib1 >=3").contains("no version of 'lib1' is >=3; there are 1.6, 1.4, 0.9"));
        assert!(problem("lib1 ==0.9").contains("never in an index"));
        assert!(problem("lib1 ==1.6\nlib1 ==1.4").contains("f, line 1 and f, line 2: no version"));
        assert_eq!(
            problem("broken"),
            "broken requires 'absent', which is not in CRAN at 2024-01-31; subscribe a source that has it and add \
             --allow-missing, or remove what needs it from the definition: broken"
        );
        let conflict = problem("strict");
        assert!(
            conflict.contains("no version of 'lib1'") && conflict.contains("app1 requires >=1.5"),
            "{conflict}"
        );
        assert!(conflict.contains("strict requires ==1.4"), "{conflict}");
        // One round names everything that must be removed.
        let missing = selected("fine\nreadr\npurrr\nbroken\nutil", STRONG, false).problems;
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].starts_with("broken, readr require 'absent', "), "{}", missing[0]);
        assert!(missing[0].ends_with(": broken, readr"), "{}", missing[0]);
        assert!(missing[1].starts_with("purrr, hms require 'lifecycle', "), "{}", missing[1]);
        assert!(missing[1].ends_with(": purrr, readr"), "{}", missing[1]);
        assert!(selected("fine\nutil", STRONG, false).problems.is_empty());
        let omitted = selected("broken", STRONG, true);
        assert_eq!((omitted.problems.len(), omitted.notices.len()), (0, 1));
    }
}
