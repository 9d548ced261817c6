//! The dependencies of a definition: the projects that the newest allowed versions of its projects require, with the
//! versions that they require. Pure: the caller reads pages and metadata, in rounds until nothing new is required.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::candidates::{Obstacle, Project, ProjectFile, TRY_AGAIN, Unreadable};
use super::rule::{Alternative, Rule};
use super::{Definition, MAX_NOTICES};
use crate::python::closure::{Closure, Expansion, ProjectRequirement, ProjectVersion, TooManyRequirements};
use crate::python::environment::Environment;
use crate::python::name::NormalName;
use crate::python::requirement::{Constraint, Requirement};
use crate::python::specifier::BadSpecifier;

/// Maximum length of a requirement in a message, in characters.
const MAX_EXCERPT: usize = 200;

/// The metadata of a version, as far as dependencies are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionMetadata {
    /// The values of `Requires-Dist`.
    Requires(Vec<String>),
    /// Only the metadata of a source distribution could be read, which does not state the dependencies.
    Undeclared,
    /// No metadata could be read.
    Unreadable(Unreadable),
}

/// The dependencies of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The rules of the projects that are added to those that the definition names.
    pub rules: BTreeMap<NormalName, Rule>,
    /// For each project, the shortest chain of projects from one that the definition names to this one; for a named
    /// project, only this one.
    pub chains: BTreeMap<NormalName, Vec<NormalName>>,
    /// The problems that prevent the update.
    pub problems: Vec<String>,
    /// Notices about what was left out.
    pub notices: Vec<String>,
}

/// The search for the dependencies of a definition.
#[derive(Clone, Debug)]
pub struct Search {
    closure: Closure,
    /// The projects that the definition names.
    named: BTreeSet<NormalName>,
    /// Restrictions for the other projects.
    constraints: BTreeMap<NormalName, Alternative>,
    /// The name of the snapshot of the base in messages.
    snapshot: String,
    allow_missing: bool,
    /// The versions that wait for their metadata.
    expansions: Vec<Expansion>,
    requirements: BTreeMap<ProjectVersion, Vec<Requirement>>,
    /// The versions of each added project that are required.
    alternatives: BTreeMap<NormalName, Vec<Alternative>>,
    problems: Vec<String>,
    notices: Vec<String>,
    /// The problems and notices, so that each is reported once.
    reported: HashSet<String>,
}

impl Search {
    /// Begins with the lines of a definition. `snapshot` names the snapshot of the base in messages. With
    /// `allow_missing`, dependencies that the source cannot offer are left out with a notice; otherwise they are problems.
    #[must_use]
    pub fn new(definition: &Definition, snapshot: &str, allow_missing: bool) -> Search {
        let mut requested = Vec::new();
        for (name, rule) in &definition.rules {
            let extras = definition.extras.get(name).into_iter().flatten();
            let extras: Vec<String> = extras.map(|extra| extra.as_str().to_owned()).collect();
            requested.extend(rule.alternatives().iter().map(|alternative| ProjectRequirement {
                extras: extras.clone(),
                versions: alternative.versions().clone(),
                digests: alternative.digests().to_vec(),
                ..ProjectRequirement::any(name.clone())
            }));
        }
        Search {
            // All environments: a server does not know those of its clients.
            closure: Closure::new(vec![Environment::default()], requested),
            named: definition.rules.keys().cloned().collect(),
            constraints: definition.constraints.clone(),
            snapshot: snapshot.to_owned(),
            allow_missing,
            expansions: Vec::new(),
            requirements: BTreeMap::new(),
            alternatives: BTreeMap::new(),
            problems: Vec::new(),
            notices: Vec::new(),
            reported: HashSet::new(),
        }
    }

    /// Returns true if nothing new is required.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.closure.is_complete()
    }

    /// Returns the projects that [`Search::choose`] needs.
    #[must_use]
    pub fn pending_projects(&self) -> BTreeSet<NormalName> {
        self.closure.pending_projects()
    }

    /// Chooses the newest allowed version for each new requirement. Returns the versions whose metadata
    /// [`Search::add_metadata`] needs.
    ///
    /// # Errors
    /// [`TooManyRequirements`].
    pub fn choose(
        &mut self,
        projects: &BTreeMap<NormalName, Project>,
    ) -> Result<BTreeSet<ProjectVersion>, TooManyRequirements> {
        for requirement in self.closure.take_pending()? {
            for version in self.versions(&requirement, projects.get(&requirement.project)) {
                self.closure.expand(&requirement, &version);
            }
        }
        self.expansions = self.closure.take_expansions();
        let versions = self.expansions.iter().map(|expansion| &expansion.version);
        Ok(versions.filter(|version| !self.requirements.contains_key(version)).cloned().collect())
    }

    /// Returns the versions whose dependencies are followed for a requirement.
    fn versions(&mut self, requirement: &ProjectRequirement, project: Option<&Project>) -> BTreeSet<String> {
        let is_named = self.named.contains(&requirement.project);
        let files = match project {
            Some(Project::Files(files)) => files,
            // The plan reports the obstacles of named projects.
            Some(_) | None if is_named => return BTreeSet::new(),
            Some(Project::Guarded(reason)) => {
                self.report(requirement, &Obstacle::Guarded(reason.clone()));
                return BTreeSet::new();
            }
            Some(Project::Unreadable(unreadable)) => {
                self.report(requirement, &Obstacle::Unreadable(unreadable.clone()));
                return BTreeSet::new();
            }
            Some(Project::Unlisted) | None => {
                self.report(requirement, &Obstacle::Unlisted);
                return BTreeSet::new();
            }
        };
        let constraint = self.constraints.get(&requirement.project).cloned();
        let sets = self.closure.combinations(requirement);
        let (versions, obstacle) = files.choose(requirement, constraint.as_ref(), &sets);
        if let Some(obstacle) = obstacle {
            self.report(requirement, &obstacle);
            return if requirement.is_requested() { versions } else { BTreeSet::new() };
        }
        if !is_named {
            match required_versions(requirement, constraint.as_ref()) {
                Ok(alternative) => {
                    let alternatives = self.alternatives.entry(requirement.project.clone()).or_default();
                    if !alternatives.contains(&alternative) {
                        alternatives.push(alternative);
                    }
                }
                Err(error) => {
                    self.report(requirement, &Obstacle::Specifier(error));
                    return BTreeSet::new();
                }
            }
        }
        versions
    }

    /// Reports why a requirement is not followed.
    fn report(&mut self, requirement: &ProjectRequirement, obstacle: &Obstacle) {
        let Some(by) = &requirement.required_by else {
            // The plan reports other obstacles of the lines of a definition.
            if matches!(obstacle, Obstacle::Yanked) {
                let label = label(requirement);
                self.notice(format!(
                    "the dependencies of '{label}' are not included: all its files are yanked"
                ));
            }
            return;
        };
        let requires = format!("{} {} requires '{}'", by.project, by.version, label(requirement));
        let is_named = self.named.contains(&requirement.project);
        if is_named && matches!(obstacle, Obstacle::NoVersion(_) | Obstacle::Yanked) {
            // Clients can choose another version of the package that requires it.
            self.notice(format!("{requires}, of which the definition allows no version"));
            return;
        }
        let reason = obstacle.describe(&self.snapshot);
        if self.allow_missing && !obstacle.is_temporary() {
            self.notice(format!("{requires}, which is left out: {reason}"));
        } else {
            self.problem(format!("{requires}, but {reason}; {}", obstacle.remedy()));
        }
    }

    fn notice(&mut self, text: String) {
        if self.reported.insert(text.clone()) {
            self.notices.push(text);
        }
    }

    fn problem(&mut self, text: String) {
        if self.reported.insert(text.clone()) {
            self.problems.push(text);
        }
    }

    /// Adds the metadata of the versions that [`Search::choose`] has returned.
    pub fn add_metadata(&mut self, metadata: BTreeMap<ProjectVersion, VersionMetadata>) {
        for (version, metadata) in metadata {
            let requirements = match metadata {
                VersionMetadata::Requires(texts) => self.parse(&version, &texts),
                VersionMetadata::Undeclared => {
                    self.notice(format!(
                        "the dependencies of '{} {}' are not known: the metadata of its source distribution does not state \
                         them; add the missing ones to the definition",
                        version.project, version.version
                    ));
                    Vec::new()
                }
                VersionMetadata::Unreadable(unreadable) => {
                    self.report_unreadable(&version, &unreadable);
                    Vec::new()
                }
            };
            self.requirements.insert(version, requirements);
        }
        let mut left_out = Vec::new();
        for expansion in std::mem::take(&mut self.expansions) {
            let requirements =
                self.requirements.get(&expansion.version).map(Vec::as_slice).unwrap_or_default();
            let applicable =
                requirements.iter().filter(|requirement| self.closure.applies(&expansion, requirement));
            left_out
                .extend(applicable.filter_map(|requirement| address_notice(&expansion.version, requirement)));
            self.closure.add_required(&expansion, requirements);
        }
        left_out.into_iter().for_each(|text| self.notice(text));
    }

    fn parse(&mut self, version: &ProjectVersion, texts: &[String]) -> Vec<Requirement> {
        let mut requirements = Vec::new();
        for text in texts {
            match Requirement::parse(text) {
                Ok(requirement) => requirements.push(requirement),
                Err(error) => self.notice(format!(
                    "{} {} requires '{}', which is left out: {error}",
                    version.project,
                    version.version,
                    excerpt(text)
                )),
            }
        }
        requirements
    }

    fn report_unreadable(&mut self, version: &ProjectVersion, unreadable: &Unreadable) {
        let Unreadable { reason, is_temporary } = unreadable;
        let subject = format!("the dependencies of '{} {}' are not known", version.project, version.version);
        if *is_temporary {
            self.problem(format!("{subject}: {reason}; {TRY_AGAIN}"));
        } else if self.allow_missing {
            self.notice(format!("{subject}, and left out: {reason}"));
        } else {
            self.problem(format!("{subject}: {reason}; add them to the definition, and use --allow-missing"));
        }
    }

    /// Returns the dependencies, when the search is complete. `projects` has all projects that [`Search::choose`] needed.
    #[must_use]
    pub fn finish(self, projects: &BTreeMap<NormalName, Project>) -> Dependencies {
        let Search { closure, named, alternatives, mut problems, mut notices, .. } = self;
        truncate(&mut problems, "problems");
        truncate(&mut notices, "notices");
        let files = |name: &NormalName| match projects.get(name) {
            Some(Project::Files(files)) => files.files.as_slice(),
            Some(Project::Unlisted | Project::Guarded(_) | Project::Unreadable(_)) | None => &[],
        };
        let rule = |(name, alternatives): (NormalName, Vec<Alternative>)| {
            let rule = shortest_rule(alternatives, files(&name));
            (name, rule)
        };
        let rules: BTreeMap<NormalName, Rule> = alternatives.into_iter().map(rule).collect();
        let chain = |name: &NormalName| (name.clone(), closure.chain(name).to_vec());
        let chains = named.iter().chain(rules.keys()).map(chain).collect();
        Dependencies { rules, chains, problems, notices }
    }
}

/// Returns the versions that a requirement allows within a constraint.
fn required_versions(
    requirement: &ProjectRequirement,
    constraint: Option<&Alternative>,
) -> Result<Alternative, BadSpecifier> {
    let alternative = Alternative::new(requirement.versions.as_str(), requirement.digests.clone())?;
    match constraint {
        Some(constraint) => alternative.restricted(constraint),
        None => Ok(alternative),
    }
}

/// Returns a rule that allows the files that at least one of the alternatives allows, without alternatives that add no
/// file.
fn shortest_rule(alternatives: Vec<Alternative>, files: &[ProjectFile]) -> Rule {
    let allowed = |alternative: &Alternative| -> Vec<bool> {
        files.iter().map(|file| alternative.allows(&file.file.version, file.file.sha256)).collect()
    };
    let mut alternatives: Vec<(Vec<bool>, String, Alternative)> = alternatives
        .into_iter()
        .map(|alternative| (allowed(&alternative), alternative.to_string(), alternative))
        .collect();
    let count = |allowed: &[bool]| allowed.iter().filter(|is_allowed| **is_allowed).count();
    alternatives.sort_by(|(a, a_text, _), (b, b_text, _)| count(b).cmp(&count(a)).then(a_text.cmp(b_text)));
    let (mut rule, mut covered) = (Rule::default(), vec![false; files.len()]);
    for (allowed, _, alternative) in alternatives {
        let adds_file =
            allowed.iter().zip(&covered).any(|(is_allowed, is_covered)| *is_allowed && !is_covered);
        if adds_file {
            covered.iter_mut().zip(&allowed).for_each(|(is_covered, is_allowed)| *is_covered |= is_allowed);
            rule.add(alternative);
        }
    }
    rule
}

/// Returns the text of a requirement, such as `odd[extra]>=1`.
fn label(requirement: &ProjectRequirement) -> String {
    let extras = match requirement.extras.as_slice() {
        [] => String::new(),
        extras => format!("[{}]", extras.join(",")),
    };
    excerpt(&format!("{}{extras}{}", requirement.project, requirement.versions))
}

fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).collect()
}

/// Returns the notice about a dependency that is an address; `None` for another one.
fn address_notice(version: &ProjectVersion, requirement: &Requirement) -> Option<String> {
    let Constraint::Url(url) = &requirement.constraint else { return None };
    Some(format!(
        "{} {} requires '{} @ {}', which is left out: it is not from the index",
        version.project,
        version.version,
        requirement.name,
        excerpt(url)
    ))
}

fn truncate(texts: &mut Vec<String>, plural: &str) {
    let omitted_count = texts.len().saturating_sub(MAX_NOTICES);
    if omitted_count > 0 {
        texts.truncate(MAX_NOTICES);
        texts.push(format!("… and {omitted_count} more {plural} about dependencies"));
    }
}
