//! The closure of requirements: the projects that the chosen versions of required projects require in turn. Pure: the
//! caller reads pages and metadata, and chooses versions, in rounds until nothing new is required. There is no
//! backtracking: a version that was chosen stays chosen. Curated sources and the downloader use it.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::requirement::{Requirement, VersionsOrUrl};
use super::selection::names_pre_release;
use super::specifier::Specifiers;
use super::version::Pep440Version;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;

/// Maximum number of different requirements of a closure. A closure of real packages has several hundred.
pub const MAX_REQUIREMENTS: usize = 100_000;

/// Maximum number of different requirements of one project, which are compared with each other.
pub const MAX_REQUIREMENTS_OF_PROJECT: usize = 2_000;

/// A version of a project, as its index writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectVersion {
    pub project: ProjectName,
    pub version: String,
}

/// The required versions of a project, and their extras and digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRequirement {
    pub project: ProjectName,
    /// The normalized names of the extras.
    pub extras: Vec<String>,
    pub versions: Specifiers,
    /// Digests of the files that may be chosen; empty if any file may be chosen.
    pub digests: Vec<Sha256>,
    /// The version that has this requirement; `None` for a requirement of the user.
    pub required_by: Option<ProjectVersion>,
}

/// A version whose requirements are followed, with the extras with which it is required.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expansion {
    pub version: ProjectVersion,
    /// The normalized names of the extras.
    pub extras: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyRequirements {
    #[error(
        "the dependencies have more than {MAX_REQUIREMENTS} requirements; the metadata of a package may be wrong"
    )]
    All,
    #[error(
        "the dependencies require '{0}' with more than {MAX_REQUIREMENTS_OF_PROJECT} different requirements; the metadata \
         of a package may be wrong"
    )]
    OfProject(ProjectName),
}

/// Sets of requirements of one project: for each set, the newest version that satisfies all of the set is chosen.
#[derive(Clone, Debug)]
pub struct Combinations<'a> {
    /// The small sets. A requirement of the user is alone in its set, as is that of a version for a project that the user
    /// does not require; otherwise there is a set with each requirement of the user.
    pub sets: Vec<Vec<&'a ProjectRequirement>>,
    /// The set of all requirements of the project. Later requirements are appended: for a large set, a caller can reuse
    /// what it found for the first ones.
    pub all: &'a [ProjectRequirement],
}

#[derive(Clone, Debug)]
pub struct RequirementClosure {
    /// The environments whose requirements are followed.
    environments: Vec<Environment>,
    /// The different requirements of each project.
    requirements: BTreeMap<ProjectName, Vec<ProjectRequirement>>,
    requirement_count: usize,
    /// For each project the shortest chain of projects from one that the user requires.
    chains: BTreeMap<ProjectName, Vec<ProjectName>>,
    /// Requirements for which no version has been chosen.
    pending: Vec<ProjectRequirement>,
    expansions: BTreeSet<Expansion>,
    /// Expansions whose requirements have not been added.
    new_expansions: Vec<Expansion>,
}

impl ProjectRequirement {
    /// Returns a requirement of the user of any version.
    pub fn any(project: ProjectName) -> ProjectRequirement {
        let versions = Specifiers::lenient("").unwrap_or_else(|| unreachable!("an empty text is valid"));
        ProjectRequirement { project, extras: Vec::new(), versions, digests: Vec::new(), required_by: None }
    }

    /// Converts a requirement of the user, or of a version. `None` if it is a URL.
    pub fn of(requirement: Requirement, required_by: Option<ProjectVersion>) -> Option<ProjectRequirement> {
        let VersionsOrUrl::Versions(versions) = requirement.constraint else { return None };
        let extras = requirement.extras.iter().map(|extra| extra.as_str().to_owned()).collect();
        let project = requirement.name;
        Some(ProjectRequirement { project, extras, versions, digests: Vec::new(), required_by })
    }

    /// Returns true for a requirement of the user.
    pub fn is_requested(&self) -> bool {
        self.required_by.is_none()
    }

    /// Returns whether a file with this version and digest satisfies the requirement. A file of unknown digest satisfies no
    /// requirement with digests.
    pub fn allows(&self, version: &Pep440Version, sha256: Option<Sha256>) -> bool {
        let has_digest = || sha256.is_some_and(|sha256| self.digests.contains(&sha256));
        self.versions.contains(version) && (self.digests.is_empty() || has_digest())
    }

    /// Returns whether the requirement names one version, or digests: then yanked files may be chosen, too.
    pub fn is_pinned(&self) -> bool {
        self.versions.pin().is_some() || !self.digests.is_empty()
    }

    /// Returns whether the specifiers name a pre-release: then pre-releases are chosen like other versions.
    pub fn names_pre_release(&self) -> bool {
        names_pre_release(&self.versions)
    }

    /// Returns whether another requirement differs only in the version that has it.
    pub fn is_same(&self, other: &ProjectRequirement) -> bool {
        (&self.extras, &self.versions, &self.digests, self.is_requested())
            == (&other.extras, &other.versions, &other.digests, other.is_requested())
    }
}

/// Returns whether a file of a project satisfies all requirements of the project.
pub fn allow_all(
    requirements: &[&ProjectRequirement],
    version: &Pep440Version,
    sha256: Option<Sha256>,
    is_yanked: bool,
) -> bool {
    let may_be_yanked = || requirements.iter().any(|requirement| requirement.is_pinned());
    requirements.iter().all(|requirement| requirement.allows(version, sha256))
        && (!is_yanked || may_be_yanked())
}

impl RequirementClosure {
    /// Begins with the requirements of the user. Those of versions are followed if they may apply in an environment.
    pub fn new(environments: Vec<Environment>, requested: Vec<ProjectRequirement>) -> RequirementClosure {
        let chain = |requirement: &ProjectRequirement| {
            (requirement.project.clone(), vec![requirement.project.clone()])
        };
        RequirementClosure {
            environments,
            chains: requested.iter().map(chain).collect(),
            pending: requested,
            requirements: BTreeMap::new(),
            requirement_count: 0,
            expansions: BTreeSet::new(),
            new_expansions: Vec::new(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.pending.is_empty() && self.new_expansions.is_empty()
    }

    /// Returns the projects whose pages [`RequirementClosure::take_pending`] needs.
    pub fn pending_projects(&self) -> BTreeSet<ProjectName> {
        self.pending.iter().map(|requirement| requirement.project.clone()).collect()
    }

    /// Returns the new requirements, for each of which the caller chooses versions. All of them are recorded before:
    /// those of the user restrict those of versions.
    pub fn take_pending(&mut self) -> Result<Vec<ProjectRequirement>, TooManyRequirements> {
        let mut new = Vec::new();
        for requirement in std::mem::take(&mut self.pending) {
            let known = self.requirements.entry(requirement.project.clone()).or_default();
            if known.iter().any(|other| other.is_same(&requirement)) {
                continue;
            }
            self.requirement_count += 1;
            if self.requirement_count > MAX_REQUIREMENTS {
                return Err(TooManyRequirements::All);
            }
            if known.len() == MAX_REQUIREMENTS_OF_PROJECT {
                return Err(TooManyRequirements::OfProject(requirement.project));
            }
            known.push(requirement.clone());
            new.push(requirement);
        }
        Ok(new)
    }

    /// Returns the sets of requirements to which a requirement belongs.
    pub fn combinations<'a>(&'a self, requirement: &'a ProjectRequirement) -> Combinations<'a> {
        let all = self.requirements.get(&requirement.project).map(Vec::as_slice).unwrap_or_default();
        let requested = all.iter().filter(|other| other.is_requested() && !requirement.is_requested());
        let mut sets: Vec<Vec<&ProjectRequirement>> =
            requested.map(|requested| vec![requested, requirement]).collect();
        if sets.is_empty() {
            sets.push(vec![requirement]);
        }
        Combinations { sets, all }
    }

    /// Follows the requirements of a version that was chosen for a requirement.
    pub fn expand(&mut self, requirement: &ProjectRequirement, version: &str) {
        let version = ProjectVersion { project: requirement.project.clone(), version: version.to_owned() };
        self.add_expansion(Expansion { version, extras: requirement.extras.clone() });
    }

    fn add_expansion(&mut self, expansion: Expansion) {
        if self.expansions.insert(expansion.clone()) {
            self.new_expansions.push(expansion);
        }
    }

    pub fn expansions(&self) -> impl Iterator<Item = &Expansion> {
        self.expansions.iter()
    }

    /// Returns the new expansions. For each of them, the caller reads the metadata and calls [`RequirementClosure::add_required`].
    pub fn take_expansions(&mut self) -> Vec<Expansion> {
        std::mem::take(&mut self.new_expansions)
    }

    /// Returns whether a requirement may apply in one of the environments with the extras of an expansion.
    pub fn applies(&self, expansion: &Expansion, requirement: &Requirement) -> bool {
        requirement.marker.as_ref().is_none_or(|marker| {
            self.environments.iter().any(|environment| environment.may_satisfy(marker, &expansion.extras))
        })
    }

    /// Adds the requirements of a version. URLs are left out. A requirement of the same project, such as `odd[a]` of
    /// `odd[all]`, is about the same version.
    pub fn add_required(&mut self, expansion: &Expansion, requirements: &[Requirement]) {
        let version = &expansion.version;
        let applicable = requirements.iter().filter(|requirement| self.applies(expansion, requirement));
        let required = applicable
            .filter_map(|requirement| ProjectRequirement::of(requirement.clone(), Some(version.clone())));
        for required in required.collect::<Vec<_>>() {
            if required.project == version.project
                && required.versions.contains(&Pep440Version::lenient(&version.version))
            {
                self.add_expansion(Expansion { version: version.clone(), extras: required.extras });
                continue;
            }
            if !self.chains.contains_key(&required.project) {
                let chain = self.chain(&version.project).iter().chain([&required.project]).cloned().collect();
                self.chains.insert(required.project.clone(), chain);
            }
            self.pending.push(required);
        }
    }

    /// Returns the shortest chain of projects from one that the user requires to this one; empty for a project that
    /// nothing requires.
    pub fn chain(&self, project: &ProjectName) -> &[ProjectName] {
        self.chains.get(project).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::name;
    use crate::python::selection::newest_version;
    use proptest::prelude::*;

    fn name(text: &str) -> ProjectName {
        name::parse(text).expect(text)
    }

    fn requested(text: &str) -> ProjectRequirement {
        ProjectRequirement::of(Requirement::parse(text).expect(text), None).expect("versions")
    }

    /// An index in which each version is listed with its requirements, the oldest version of a project first.
    type Index<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

    /// Runs a closure, and returns its expansions as `name version[extras]`, with the closure.
    fn closure(index: Index<'_>, requirements: &[&str]) -> (Vec<String>, RequirementClosure) {
        let requirements = requirements.iter().map(|text| requested(text)).collect();
        let mut closure = RequirementClosure::new(vec![Environment::default()], requirements);
        let mut expansions = Vec::new();
        while !closure.is_complete() {
            for requirement in closure.take_pending().expect("few") {
                let mut chosen = BTreeSet::new();
                let Combinations { sets, all } = closure.combinations(&requirement);
                for set in sets.into_iter().chain([all.iter().collect()]) {
                    let versions: Vec<Pep440Version> = index
                        .iter()
                        .filter(|(project, ..)| name(project) == requirement.project)
                        .map(|(_, version, _)| Pep440Version::lenient(version))
                        .filter(|version| allow_all(&set, version, None, false))
                        .collect();
                    let has_pre_release = set.iter().any(|requirement| requirement.names_pre_release());
                    let newest = newest_version(&versions, has_pre_release);
                    chosen.extend(newest.map(|version| version.as_str().to_owned()));
                }
                chosen.iter().for_each(|version| closure.expand(&requirement, version));
            }
            for expansion in closure.take_expansions() {
                let ProjectVersion { project, version } = &expansion.version;
                let found = index.iter().find(|(other, text, _)| name(other) == *project && text == version);
                let (.., required) = found.expect("a version of the index");
                let required: Vec<Requirement> =
                    required.iter().map(|text| Requirement::parse(text).expect(text)).collect();
                closure.add_required(&expansion, &required);
                expansions.push(format!("{project} {version}[{}]", expansion.extras.join(",")));
            }
        }
        (expansions, closure)
    }

    #[test]
    fn requirements_are_followed_from_the_newest_allowed_version_of_each_project() {
        let index: Index<'_> = &[
            ("app", "1.0", &["Old.Lib"]),
            ("app", "2.0", &["lib_a>=1,<2", "Mid ; python_version < '3'", "not-required ; extra == 'x'"]),
            ("app", "3.0rc1", &["other"]),
            ("lib-a", "1.5", &["end"]),
            ("lib-a", "2.0", &["other"]),
            ("mid", "1.0", &["end>=1", "lib.a"]),
            ("end", "1.0", &[]),
        ];
        let (expansions, closure) = closure(index, &["App"]);
        // Clients that install only mid choose lib-a 2.0.
        assert_eq!(
            expansions,
            ["app 2.0[]", "lib-a 1.5[]", "mid 1.0[]", "end 1.0[]", "lib-a 2.0[]"],
            "all markers are true, and no extra is requested"
        );
        let chain: Vec<&str> = closure.chain(&name("end")).iter().map(ProjectName::as_str).collect();
        assert_eq!(chain, ["app", "lib-a", "end"], "the shortest chain");
        assert!(closure.chain(&name("old-lib")).is_empty());
    }

    #[test]
    fn cycles_and_extras_of_the_same_project_end() {
        let index: Index<'_> = &[
            ("odd", "1.0", &["even", "odd[a] ; extra == 'all'", "odd[B_1]==1.0 ; extra == 'all'"]),
            ("odd", "2.0", &["newer"]),
            ("even", "1.0", &["odd<2", "part-a ; extra == 'a'"]),
            ("part-a", "1.0", &["even[a]"]),
        ];
        let (expansions, _) = closure(index, &["odd[all]==1.0"]);
        assert_eq!(
            expansions,
            ["odd 1.0[all]", "odd 1.0[a]", "odd 1.0[b-1]", "even 1.0[]", "odd 1.0[]"],
            "an extra of the same project is about the same version"
        );
        let (expansions, _) = closure(index, &["even[A]", "odd<2"]);
        assert_eq!(expansions, ["even 1.0[a]", "odd 1.0[]", "part-a 1.0[]", "even 1.0[]"]);
    }

    #[test]
    fn each_requirement_of_the_user_restricts_the_choice_for_those_of_versions() {
        let index: Index<'_> = &[
            ("app", "1.0", &["lib>=0.5"]),
            ("lib", "1.0", &[]),
            ("lib", "2.0", &[]),
            ("lib", "3.0", &["other"]),
        ];
        let (expansions, _) = closure(index, &["app", "lib==1.0", "lib==2.0"]);
        assert_eq!(expansions, ["app 1.0[]", "lib 1.0[]", "lib 2.0[]"], "not 3.0");
    }

    #[test]
    fn yanked_files_need_a_pin_and_pre_releases_a_name() {
        let yanked = |text: &str| allow_all(&[&requested(text)], &Pep440Version::lenient("1.0"), None, true);
        assert!(yanked("odd==1.0") && !yanked("odd>=1") && !yanked("odd==2.0"));
        let versions = ["1.0", "2.0rc1"].map(Pep440Version::lenient);
        let newest = |text: &str| {
            newest_version(&versions, requested(text).names_pre_release()).map(Pep440Version::as_str)
        };
        assert_eq!((newest("odd"), newest("odd>=1.0a1")), (Some("1.0"), Some("2.0rc1")));
        let with_digest = ProjectRequirement { digests: vec![Sha256([1; 32])], ..requested("odd") };
        assert!(with_digest.allows(&versions[0], Some(Sha256([1; 32]))));
        assert!(
            !with_digest.allows(&versions[0], None)
                && !with_digest.allows(&versions[0], Some(Sha256([2; 32])))
        );
    }

    #[test]
    fn a_closure_with_too_many_requirements_is_refused() {
        let requirements = (0..=MAX_REQUIREMENTS).map(|number| requested(&format!("p{number}"))).collect();
        let mut closure = RequirementClosure::new(Vec::new(), requirements);
        assert_eq!(closure.take_pending(), Err(TooManyRequirements::All));
        let requirements = |count| (0..count).map(|number| requested(&format!("odd>={number}"))).collect();
        let mut closure = RequirementClosure::new(Vec::new(), requirements(MAX_REQUIREMENTS_OF_PROJECT));
        assert_eq!(closure.take_pending().map(|new| new.len()), Ok(MAX_REQUIREMENTS_OF_PROJECT));
        let mut closure = RequirementClosure::new(Vec::new(), requirements(MAX_REQUIREMENTS_OF_PROJECT + 1));
        assert_eq!(closure.take_pending(), Err(TooManyRequirements::OfProject(name("odd"))));
    }

    proptest! {
        /// With one version of each project and without extras, the closure has exactly the projects that can be reached.
        #[test]
        fn a_closure_has_the_projects_that_can_be_reached(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..40), roots in proptest::collection::vec(0_usize..12, 1..4),
        ) {
            let names: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
            let required = |from: usize| -> Vec<&str> {
                edges.iter().filter(|(other, _)| *other == from).map(|(_, to)| names[*to].as_str()).collect()
            };
            let required: Vec<Vec<&str>> = (0..12).map(required).collect();
            let index: Vec<(&str, &str, &[&str])> =
                (0..12).map(|number| (names[number].as_str(), "1.0", required[number].as_slice())).collect();
            let requested: Vec<&str> = roots.iter().map(|root| names[*root].as_str()).collect();
            let (expansions, closure) = closure(&index, &requested);
            let mut reached: BTreeSet<usize> = BTreeSet::new();
            let mut pending = roots.clone();
            while let Some(number) = pending.pop() {
                if reached.insert(number) {
                    pending.extend(edges.iter().filter(|(from, _)| *from == number).map(|(_, to)| *to));
                }
            }
            let expected: BTreeSet<String> = reached.iter().map(|number| format!("{} 1.0[]", names[*number])).collect();
            prop_assert_eq!(expansions.iter().cloned().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(expansions.len(), reached.len(), "each once");
            for number in reached {
                let chain = closure.chain(&name(&names[number]));
                prop_assert!(roots.iter().any(|root| name(&names[*root]) == chain[0]));
                for pair in chain.windows(2) {
                    let [from, to] = [0, 1].map(|at| names.iter().position(|other| *other == *pair[at].as_str()));
                    prop_assert!(edges.contains(&(from.unwrap(), to.unwrap())), "{:?}", pair);
                }
            }
        }
    }
}
