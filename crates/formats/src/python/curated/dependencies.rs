//! The dependencies of a definition: the projects that the newest allowed versions of its projects require, with the
//! versions that they require. Pure: the caller reads pages and metadata, in rounds until nothing new is required.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::candidates::{Obstacle, Project, ProjectFile, SatisfyingFiles, TRY_AGAIN, Unreadable};
use super::rule::{Alternative, ProjectRule};
use super::{MAX_NOTICES, PythonDefinition};
use crate::python::closure::{
    Combinations, Expansion, ProjectRequirement, ProjectVersion, RequirementClosure, TooManyRequirements,
};
use crate::python::environment::Environment;
use crate::python::requirement::{Requirement, VersionsOrUrl};
use crate::python::specifier::BadSpecifier;
use base::model::project_name::ProjectName;
use base::model::text::first_names;

/// Maximum length of a requirement in a message, in characters.
const MAX_EXCERPT: usize = 200;
/// Maximum number of names in a list of a message.
const MAX_NAMES: usize = 20;

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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The rules of the projects that are added to those that the definition names.
    pub rules: BTreeMap<ProjectName, ProjectRule>,
    /// For each project, the shortest chain of projects from one that the definition names to this one, both included.
    pub chains: BTreeMap<ProjectName, Vec<ProjectName>>,
    pub problems: Vec<String>,
    /// Notices about what was left out.
    pub notices: Vec<String>,
    /// The projects that are required and left out, with their chains.
    pub left_out: BTreeMap<ProjectName, Vec<ProjectName>>,
}

/// The search for the dependencies of a definition.
#[derive(Clone, Debug)]
pub struct Search {
    closure: RequirementClosure,
    /// The projects that the definition names.
    named: BTreeSet<ProjectName>,
    /// Restrictions for the other projects.
    constraints: BTreeMap<ProjectName, Alternative>,
    /// The name of the snapshot of the base in messages.
    snapshot: String,
    allow_missing: bool,
    /// The versions that wait for their metadata.
    expansions: Vec<Expansion>,
    requirements: BTreeMap<ProjectVersion, Vec<Requirement>>,
    /// The files of each project that satisfy all its requirements.
    satisfying: BTreeMap<ProjectName, SatisfyingFiles>,
    /// The versions of each added project that are required.
    alternatives: BTreeMap<ProjectName, Vec<Alternative>>,
    problems: Vec<String>,
    /// Requirements that are problems, with reason and remedy. All versions that have them are known at the end.
    unmet: Vec<(ProjectRequirement, String)>,
    notices: Vec<String>,
    left_out: BTreeSet<ProjectName>,
    /// The problems and notices, so that each is reported once.
    reported: HashSet<String>,
}

impl Search {
    /// Begins with the lines of a definition. `snapshot` names the snapshot of the base in messages. With
    /// `allow_missing`, dependencies that the source cannot offer are left out with a notice; otherwise they are problems.
    pub fn new(definition: &PythonDefinition, snapshot: &str, allow_missing: bool) -> Search {
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
            closure: RequirementClosure::new(vec![Environment::default()], requested),
            named: definition.rules.keys().cloned().collect(),
            constraints: definition.constraints.clone(),
            snapshot: snapshot.to_owned(),
            allow_missing,
            expansions: Vec::new(),
            requirements: BTreeMap::new(),
            satisfying: BTreeMap::new(),
            alternatives: BTreeMap::new(),
            problems: Vec::new(),
            unmet: Vec::new(),
            notices: Vec::new(),
            left_out: BTreeSet::new(),
            reported: HashSet::new(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.closure.is_complete()
    }

    /// Returns the projects that [`Search::choose`] needs.
    pub fn pending_projects(&self) -> BTreeSet<ProjectName> {
        self.closure.pending_projects()
    }

    /// Chooses the newest allowed version per new requirement. Returns those that [`Search::add_metadata`] needs.
    pub fn choose(
        &mut self,
        projects: &BTreeMap<ProjectName, Project>,
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
        let Combinations { sets, all } = self.closure.combinations(requirement);
        let project = requirement.project.clone();
        let satisfying = self.satisfying.entry(project).or_insert_with(|| SatisfyingFiles::new(&files.files));
        satisfying.add(&files.files, all);
        let (versions, obstacle) = files.choose(requirement, constraint.as_ref(), &sets, satisfying);
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
            self.left_out.insert(requirement.project.clone());
            self.notice(format!("{requires}, which is left out: {reason}"));
        } else {
            self.unmet.push((requirement.clone(), format!("but {reason}; {}", obstacle.remedy())));
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
    pub fn finish(self, projects: &BTreeMap<ProjectName, Project>) -> Dependencies {
        let unmet = self.unmet_problems();
        let Search { closure, named, alternatives, mut problems, mut notices, mut left_out, .. } = self;
        problems.splice(0..0, unmet);
        truncate(&mut problems, "problems");
        truncate(&mut notices, "notices");
        let files = |name: &ProjectName| match projects.get(name) {
            Some(Project::Files(files)) => files.files.as_slice(),
            Some(Project::Unlisted | Project::Guarded(_) | Project::Unreadable(_)) | None => &[],
        };
        let rule = |(name, alternatives): (ProjectName, Vec<Alternative>)| {
            let rule = shortest_rule(alternatives, files(&name));
            (name, rule)
        };
        let rules: BTreeMap<ProjectName, ProjectRule> = alternatives.into_iter().map(rule).collect();
        let chain = |name: &ProjectName| (name.clone(), closure.chain(name).to_vec());
        let chains = named.iter().chain(rules.keys()).map(chain).collect();
        left_out.retain(|name| !named.contains(name) && !rules.contains_key(name));
        let left_out = left_out.iter().map(chain).collect();
        Dependencies { rules, chains, problems, notices, left_out }
    }

    /// Returns the problems of unmet requirements. Each names all versions that have the requirement, and the projects of
    /// the definition that need it, also indirectly, so that one change of the definition is enough.
    fn unmet_problems(&self) -> Vec<String> {
        if self.unmet.is_empty() {
            return Vec::new();
        }
        let required_by = |expansion: &Expansion| -> Vec<ProjectRequirement> {
            let requirements =
                self.requirements.get(&expansion.version).map(Vec::as_slice).unwrap_or_default();
            let applicable = requirements.iter().filter(|one| self.closure.applies(expansion, one));
            let version = || Some(expansion.version.clone());
            applicable.filter_map(|one| ProjectRequirement::of(one.clone(), version())).collect()
        };
        let required: Vec<ProjectRequirement> = self.closure.expansions().flat_map(required_by).collect();
        let mut dependents: BTreeMap<&ProjectName, BTreeSet<&ProjectName>> = BTreeMap::new();
        for one in &required {
            let by = one.required_by.iter().map(|by| &by.project);
            dependents.entry(&one.project).or_default().extend(by);
        }
        let problem = |(requirement, reason): &(ProjectRequirement, String)| {
            let same =
                |one: &&ProjectRequirement| one.project == requirement.project && one.is_same(requirement);
            let versions: BTreeSet<&ProjectVersion> =
                required.iter().filter(same).filter_map(|one| one.required_by.as_ref()).collect();
            let verb = if versions.len() == 1 { "requires" } else { "require" };
            let needing = self.named_that_need(versions.iter().map(|by| &by.project), &dependents);
            let is_named = versions.len() == 1 && versions.iter().all(|by| needing == [&by.project]);
            let needing = if is_named {
                String::new()
            } else {
                format!("; the definition needs it for {}", first_names(&needing, MAX_NAMES))
            };
            let versions: Vec<String> =
                versions.iter().map(|by| format!("{} {}", by.project, by.version)).collect();
            format!(
                "{} {verb} '{}', {reason}{needing}",
                first_names(&versions, MAX_NAMES),
                label(requirement)
            )
        };
        self.unmet.iter().map(problem).collect()
    }

    /// Returns the projects of the definition from which some projects are required.
    fn named_that_need<'a>(
        &self,
        projects: impl Iterator<Item = &'a ProjectName>,
        dependents: &BTreeMap<&'a ProjectName, BTreeSet<&'a ProjectName>>,
    ) -> Vec<&'a ProjectName> {
        let mut pending: Vec<&ProjectName> = projects.collect();
        let mut needing: BTreeSet<&ProjectName> = BTreeSet::new();
        while let Some(project) = pending.pop() {
            if needing.insert(project) {
                pending.extend(dependents.get(project).into_iter().flatten());
            }
        }
        needing.into_iter().filter(|name| self.named.contains(*name)).collect()
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

/// Returns a rule with the alternatives, without those that allow no further file.
fn shortest_rule(alternatives: Vec<Alternative>, files: &[ProjectFile]) -> ProjectRule {
    let allowed = |alternative: &Alternative| -> Vec<bool> {
        files.iter().map(|file| alternative.allows(&file.file.version, file.file.sha256)).collect()
    };
    let mut alternatives: Vec<(Vec<bool>, String, Alternative)> = alternatives
        .into_iter()
        .map(|alternative| (allowed(&alternative), alternative.to_string(), alternative))
        .collect();
    let count = |allowed: &[bool]| allowed.iter().filter(|is_allowed| **is_allowed).count();
    alternatives.sort_by(|(a, a_text, _), (b, b_text, _)| count(b).cmp(&count(a)).then(a_text.cmp(b_text)));
    let (mut rule, mut covered) = (ProjectRule::default(), vec![false; files.len()]);
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
    // Old metadata has the versions in parentheses.
    let is_significant = |c: &char| !c.is_whitespace() && !matches!(c, '(' | ')');
    let versions: String = requirement.versions.as_str().chars().filter(is_significant).collect();
    excerpt(&format!("{}{extras}{versions}", requirement.project))
}

fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).collect()
}

/// Returns the notice about a dependency that is an address; `None` for another one.
fn address_notice(version: &ProjectVersion, requirement: &Requirement) -> Option<String> {
    let VersionsOrUrl::Url(url) = &requirement.constraint else { return None };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::curated::candidates::{HiddenFiles, ProjectFiles};
    use crate::python::curated::plan::BaseFile;
    use crate::python::curated::{NamedFile, ReadOptions, read};
    use crate::python::name;
    use crate::python::version::Pep440Version;
    use base::model::digest::Sha256;

    fn name(text: &str) -> ProjectName {
        name::parse(text).expect(text)
    }

    /// An index: the versions of each project with their requirements.
    struct Index {
        versions: BTreeMap<ProjectVersion, VersionMetadata>,
        projects: BTreeMap<ProjectName, Project>,
    }

    impl Index {
        fn new(versions: &[(&str, &str, &[&str])]) -> Index {
            let mut index = Index { versions: BTreeMap::new(), projects: BTreeMap::new() };
            for (project, version, requires) in versions {
                let requires = requires.iter().map(|text| (*text).to_owned()).collect();
                index.add(project, version, VersionMetadata::Requires(requires));
            }
            index
        }

        fn add(&mut self, project: &str, version: &str, metadata: VersionMetadata) {
            let key = ProjectVersion { project: name(project), version: version.to_owned() };
            self.versions.insert(key, metadata);
            let digest = u8::try_from(self.versions.len()).expect("few");
            let files = self.files(project);
            let file = BaseFile { version: Pep440Version::lenient(version), sha256: Sha256([digest; 32]) };
            files.files.push(ProjectFile { file, is_installable: true, is_yanked: false });
        }

        fn files(&mut self, project: &str) -> &mut ProjectFiles {
            let files = || {
                Project::Files(ProjectFiles { files: Vec::new(), repositories: vec![HiddenFiles::default()] })
            };
            match self.projects.entry(name(project)).or_insert_with(files) {
                Project::Files(files) => files,
                other => panic!("{other:?}"),
            }
        }

        fn file(&mut self, project: &str, version: &str) -> &mut ProjectFile {
            let mut files = self.files(project).files.iter_mut();
            files.find(|file| file.file.version.as_str() == version).expect("a file")
        }

        /// Blocks versions of a project in a repository.
        fn block(&mut self, project: &str, versions: &[&str], repo: &str) {
            let files = self.files(project);
            let is_blocked = |file: &ProjectFile| versions.contains(&file.file.version.as_str());
            let blocked = files.files.iter().enumerate().filter(|(_, file)| is_blocked(file));
            let reason = |version: &&str| {
                ((*version).to_owned(), format!("blocked in '{repo}' by rule 1 ({version})"))
            };
            let hidden = HiddenFiles {
                files: blocked.map(|(position, _)| position).collect(),
                reasons: versions.iter().map(reason).collect(),
            };
            files.repositories.push(hidden);
        }

        fn search(&self, files: &[(&str, &str)], allow_missing: bool) -> Dependencies {
            let files: Vec<NamedFile<'_>> =
                files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
            let definition = read(&files, ReadOptions::default()).expect("a definition");
            let mut search = Search::new(&definition, "2024-01-31", allow_missing);
            while !search.is_complete() {
                let pending = search.pending_projects();
                let projects = pending.into_iter().map(|name| {
                    let project = self.projects.get(&name).cloned().unwrap_or(Project::Unlisted);
                    (name, project)
                });
                let versions = search.choose(&projects.collect()).expect("few requirements");
                let metadata = |version: ProjectVersion| {
                    let metadata = self.versions[&version].clone();
                    (version, metadata)
                };
                search.add_metadata(versions.into_iter().map(metadata).collect());
            }
            search.finish(&self.projects)
        }
    }

    /// Returns each added project with its rule and its chain: `lib >=1,<2: app > lib`.
    fn added(dependencies: &Dependencies) -> Vec<String> {
        let chain = |name: &ProjectName| {
            let chain: Vec<&str> = dependencies.chains[name].iter().map(ProjectName::as_str).collect();
            chain.join(" > ")
        };
        let text = |(name, rule): (&ProjectName, &ProjectRule)| {
            format!("{name} {}: {}", rule.summary(), chain(name))
        };
        dependencies.rules.iter().map(text).collect()
    }

    #[test]
    fn what_the_newest_allowed_versions_require_is_added_with_its_versions_and_reason() {
        let index = Index::new(&[
            ("app", "1.0", &["old"]),
            ("app", "2.0", &["Lib_A>=1,<3", "win ; sys_platform == 'win32'", "extra-x ; extra == 'x'"]),
            ("lib-a", "1.5", &["deep>=1"]),
            ("lib-a", "2.0", &["deep>=2", "app"]),
            ("lib-a", "3.0", &["old"]),
            ("win", "1.0", &["lib.a"]),
            ("deep", "1.0", &[]),
            ("deep", "2.0", &[]),
            ("extra-x", "1.0", &["old==1.0"]),
            ("old", "1.0", &[]),
        ]);
        let found = index.search(&[("r.txt", "App\n")], false);
        // Clients that install only win get lib-a 3.0.
        assert_eq!(
            added(&found),
            [
                "deep >=2: app > lib-a > deep",
                "lib-a all versions: app > lib-a",
                "old all versions: app > lib-a > old",
                "win all versions: app > win",
            ]
        );
        assert_eq!((found.problems.len(), found.notices.len()), (0, 0), "{found:?}");
        assert_eq!(found.chains[&name("app")], [name("app")]);
        let found = index.search(&[("r.txt", "app[X]<2\nextra-x\n")], false);
        assert_eq!(added(&found), ["old all versions: app > old"], "1.0 requires no extra");
        let found = index.search(&[("r.txt", "app[X]\n-c limits.txt\n"), ("limits.txt", "lib-a<2\n")], false);
        assert_eq!(
            added(&found),
            [
                "deep >=1: app > lib-a > deep",
                "extra-x all versions: app > extra-x",
                "lib-a <2: app > lib-a",
                "old ==1.0: app > extra-x > old",
                "win all versions: app > win",
            ],
            "a constraints file restricts dependencies"
        );
    }

    #[test]
    fn each_line_is_followed_and_a_requirement_does_not_extend_a_line() {
        let index = Index::new(&[
            ("app", "1.0", &["lib>=2", "one"]),
            ("app", "2.0", &["lib>=3", "two"]),
            ("lib", "1.0", &[]),
            ("lib", "2.0", &["three"]),
            ("one", "1.0", &[]),
            ("two", "1.0", &[]),
            ("three", "1.0", &[]),
        ]);
        let found = index.search(&[("r.txt", "app==1.0\napp==2.0\nlib<3\n")], false);
        assert_eq!(
            added(&found),
            ["one all versions: app > one", "three all versions: lib > three", "two all versions: app > two"]
        );
        assert_eq!(found.notices, ["app 2.0 requires 'lib>=3', of which the definition allows no version"]);
        assert_eq!(found.problems, Vec::<String>::new());
    }

    #[test]
    fn a_dependency_that_cannot_be_offered_is_a_problem_or_left_out_with_a_notice() {
        let mut index = Index::new(&[
            ("app", "1.0", &["gone", "lib>=9", "yanked", "held", "away>=1", "unread"]),
            ("lib", "1.0", &[]),
            ("yanked", "1.0", &[]),
        ]);
        index.file("yanked", "1.0").is_yanked = true;
        index.projects.insert(name("held"), Project::Guarded("hidden by name guard 7: held".to_owned()));
        let unreadable = |is_temporary: bool| Unreadable { reason: "503".to_owned(), is_temporary };
        index.projects.insert(name("away"), Project::Unreadable(unreadable(false)));
        index.add("unread", "1.0", VersionMetadata::Unreadable(unreadable(false)));
        let file = [("r.txt", "app\n")];
        let found = index.search(&file, false);
        assert_eq!(
            found.problems,
            [
                "app 1.0 requires 'gone', but there is no such package at 2024-01-31; choose a later --snapshot, or leave \
                 it out with --allow-missing",
                "app 1.0 requires 'lib>=9', but there is no such version at 2024-01-31 (the closest versions are 1.0); \
                 choose a later --snapshot, or leave it out with --allow-missing",
                "app 1.0 requires 'yanked', but all files of such versions are yanked at 2024-01-31; choose a later \
                 --snapshot, or leave it out with --allow-missing",
                "app 1.0 requires 'held', but all its files are hidden by name guard 7: held; change the guard (rspm list \
                 name-guards shows all), or leave it out with --allow-missing",
                "app 1.0 requires 'away>=1', but its files could not be read: 503; choose a later --snapshot, or leave it \
                 out with --allow-missing",
                "the dependencies of 'unread 1.0' are not known: 503; add them to the definition, and use --allow-missing",
            ]
        );
        assert_eq!(
            (added(&found), found.notices),
            (vec!["unread all versions: app > unread".to_owned()], vec![])
        );
        let found = index.search(&file, true);
        assert_eq!((found.problems.len(), found.notices.len()), (0, 6), "{found:?}");
        assert_eq!(
            found.notices[..1],
            ["app 1.0 requires 'gone', which is left out: there is no such package at 2024-01-31"]
        );
        assert_eq!(found.notices[5], "the dependencies of 'unread 1.0' are not known, and left out: 503");
        let left_out: Vec<&str> = found.left_out.keys().map(ProjectName::as_str).collect();
        assert_eq!(left_out, ["away", "gone", "held", "lib", "yanked"]);

        // A later attempt may succeed, so nothing is left out.
        index.projects.insert(name("away"), Project::Unreadable(unreadable(true)));
        index.add("unread", "1.0", VersionMetadata::Unreadable(unreadable(true)));
        let found = index.search(&file, true);
        let is_temporary = |problem: &String| problem.ends_with("503; try again when the index answers");
        assert!(found.problems.len() == 2 && found.problems.iter().all(is_temporary), "{found:?}");
    }

    #[test]
    fn a_problem_names_all_that_require_a_dependency_and_the_lines_that_need_it() {
        let index = Index::new(&[
            ("app", "1.0", &["mid", "low", "fine"]),
            ("mid", "1.0", &["gone>=1"]),
            ("low", "2.0", &["gone>=1", "app"]),
            ("web", "1.0", &["mid"]),
            ("own", "1.0", &["gone>=1"]),
            ("one", "1.0", &["lost"]),
            ("fine", "1.0", &[]),
        ]);
        let found = index.search(&[("r.txt", "app\nweb\nown\none\nfine\n")], false);
        let remedy = "but there is no such package at 2024-01-31; choose a later --snapshot, or leave it out with \
                      --allow-missing";
        assert_eq!(
            found.problems,
            [
                format!("one 1.0 requires 'lost', {remedy}"),
                format!(
                    "low 2.0, mid 1.0, own 1.0 require 'gone>=1', {remedy}; the definition needs it for app, own, web"
                ),
            ]
        );
        let rest = index.search(&[("r.txt", "fine\n")], false);
        assert!(rest.problems.is_empty(), "{rest:?}");
    }

    #[test]
    fn addresses_invalid_requirements_and_unknown_ones_of_source_distributions_are_notices() {
        let mut index = Index::new(&[(
            "app",
            "1.0",
            &["lib @ https://example.org/lib.whl ; extra == 'x'", "a b", "sdist"],
        )]);
        index.add("sdist", "1.0", VersionMetadata::Undeclared);
        let found = index.search(&[("r.txt", "app\n")], false);
        assert_eq!(added(&found), ["sdist all versions: app > sdist"]);
        assert_eq!(found.notices.len(), 2, "{found:?}");
        assert!(
            found.notices[0].starts_with("app 1.0 requires 'a b', which is left out: 'b' is not a version")
        );
        assert!(
            found.notices[1]
                .starts_with("the dependencies of 'sdist 1.0' are not known: the metadata of its")
        );
        let found = index.search(&[("r.txt", "app[x]\n")], false);
        let address = "app 1.0 requires 'lib @ https://example.org/lib.whl', which is left out: it is not from the index";
        assert!(found.notices.contains(&address.to_owned()) && found.problems.is_empty(), "{found:?}");
    }

    #[test]
    fn the_newest_version_that_rules_allow_in_each_repository_is_followed() {
        let mut index = Index::new(&[
            ("app", "1.0", &["lib", "one"]),
            ("app", "2.0", &["lib>=2", "two"]),
            ("lib", "1.0", &[]),
            ("lib", "2.0", &[]),
            ("one", "1.0", &[]),
            ("two", "1.0", &[]),
        ]);
        index.block("app", &["2.0"], "prod");
        let found = index.search(&[("r.txt", "app\n")], false);
        let all = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("{name} all versions: app > {name}")).collect()
        };
        assert_eq!(added(&found), all(&["lib", "one", "two"]), "a repository without rules has 2.0");
        index.files("app").repositories.remove(0);
        assert_eq!(added(&index.search(&[("r.txt", "app\n")], false)), all(&["lib", "one"]));

        index.block("lib", &["2.0"], "prod");
        let found = index.search(&[("r.txt", "app\n")], false);
        assert_eq!((added(&found), found.problems.len()), (all(&["lib", "one"]), 0), "1.0 is allowed");
        index.files("app").repositories = vec![HiddenFiles::default()];
        let problem = "app 2.0 requires 'lib>=2', but all files of such versions are blocked in 'prod' by rule 1 (2.0); \
                       create an exception, or leave it out with --allow-missing";
        for lines in ["app\n", "app\nlib\n"] {
            let found = index.search(&[("r.txt", lines)], false);
            assert_eq!((added(&found).len(), found.problems), (1, vec![problem.to_owned()]), "{lines}");
            assert!(index.search(&[("r.txt", lines)], true).problems.is_empty(), "{lines}");
        }
    }

    #[test]
    fn alternatives_that_add_no_file_are_left_out_of_a_rule() {
        let index = Index::new(&[
            ("a", "1.0", &["lib>=1.5,<3"]),
            ("b", "1.0", &["lib<2.5"]),
            ("c", "1.0", &["lib==1.0"]),
            ("d", "1.0", &["lib (>=2.0.0)"]),
            ("lib", "1.0", &[]),
            ("lib", "2.0", &[]),
            ("lib", "3.0", &[]),
        ]);
        let rule = |lines: &str| {
            let found = index.search(&[("r.txt", lines)], false);
            assert_eq!(found.problems, Vec::<String>::new());
            found.rules[&name("lib")].summary()
        };
        assert_eq!(rule("a\nb\nc\n"), "<2.5");
        assert_eq!(
            rule("a\nc\n"),
            "==1.0 or >=1.5,<3",
            "in the order of the number of files, then of the texts"
        );
        assert_eq!(rule("b\nd\n"), "<2.5 or >=2.0.0");
    }
}
