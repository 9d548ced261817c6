//! The files of the projects that may be dependencies, and the choice of their versions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{BaseFile, BaseProject, nearest};
use super::rule::Alternative;
use crate::python::closure::{ProjectRequirement, allow_all, newest};
use crate::python::specifier::BadSpecifier;

/// A project of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Project {
    /// The base does not list the project.
    Unlisted,
    /// A name guard hides it: `hidden by name guard 7: …`. Its files were not read.
    Guarded(String),
    /// Its files could not be read.
    Unreadable(Unreadable),
    /// Its files.
    Files(ProjectFiles),
}

/// The reason why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The reason.
    pub reason: String,
    /// Whether a later attempt may succeed, because the index does not answer.
    pub is_temporary: bool,
}

/// The files of a project in the base, and those that block rules hide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectFiles {
    /// All files.
    pub files: Vec<ProjectFile>,
    /// The hidden files in each repository that subscribes to the source. Repositories without any are one entry. With no
    /// repository, there is one entry without hidden files.
    pub repositories: Vec<HiddenFiles>,
}

/// A file of a project in the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// Its version and digest.
    pub file: BaseFile,
    /// Whether it is a wheel or a source distribution; installers ignore other files.
    pub is_installable: bool,
    /// Whether it is yanked.
    pub is_yanked: bool,
}

/// The files that block rules of a repository hide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenFiles {
    /// The positions of the files.
    pub files: BTreeSet<usize>,
    /// The repository and the rule by version: `blocked in 'prod' by rule 7 (…)`.
    pub reasons: BTreeMap<String, String>,
}

/// The reason why a source cannot offer a dependency.
pub(super) enum Obstacle {
    Unlisted,
    Guarded(String),
    NoVersion(Vec<String>),
    Yanked,
    Blocked(String),
    Unreadable(Unreadable),
    Specifier(BadSpecifier),
}

/// The advice after a temporary failure.
pub(super) const TRY_AGAIN: &str = "try again when the index answers";

impl Obstacle {
    /// Returns the reason as a clause. `snapshot` names the snapshot of the base.
    pub(super) fn describe(&self, snapshot: &str) -> String {
        match self {
            Obstacle::Unlisted => format!("there is no such package at {snapshot}"),
            Obstacle::Guarded(reason) => format!("all its files are {reason}"),
            Obstacle::NoVersion(nearest) if nearest.is_empty() => {
                format!("the package has no files at {snapshot}")
            }
            Obstacle::NoVersion(nearest) => format!(
                "there is no such version at {snapshot} (the closest versions are {})",
                nearest.join(", ")
            ),
            Obstacle::Yanked => format!("all files of such versions are yanked at {snapshot}"),
            Obstacle::Blocked(reason) => format!("all files of such versions are {reason}"),
            Obstacle::Unreadable(unreadable) => format!("its files could not be read: {}", unreadable.reason),
            Obstacle::Specifier(error) => error.to_string(),
        }
    }

    /// Returns true if a later attempt may succeed.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Obstacle::Unreadable(Unreadable { is_temporary: true, .. }))
    }

    /// Returns what an administrator can do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Obstacle::Unreadable(Unreadable { is_temporary: true, .. }) => TRY_AGAIN,
            Obstacle::Blocked(_) => "create an exception, or leave it out with --allow-missing",
            Obstacle::Guarded(_) => {
                "change the guard (rspm list name-guards shows all), or leave it out with --allow-missing"
            }
            Obstacle::Unlisted
            | Obstacle::NoVersion(_)
            | Obstacle::Yanked
            | Obstacle::Unreadable(_)
            | Obstacle::Specifier(_) => "choose a later --snapshot, or leave it out with --allow-missing",
        }
    }
}

impl ProjectFiles {
    /// Returns, for each repository and each set of requirements, the newest version that the rules of the repository
    /// allow; and the obstacle if a repository can offer none.
    pub(super) fn choose(
        &self,
        requirement: &ProjectRequirement,
        constraint: Option<&Alternative>,
        sets: &[Vec<&ProjectRequirement>],
    ) -> (BTreeSet<String>, Option<Obstacle>) {
        let matches = |set: &[&ProjectRequirement], file: &ProjectFile, is_yanked: bool| {
            let BaseFile { version, sha256 } = &file.file;
            file.is_installable
                && allow_all(set, version, Some(*sha256), is_yanked)
                && constraint.is_none_or(|constraint| constraint.allows(version, *sha256))
        };
        let files: Vec<(usize, &ProjectFile)> = self.files.iter().enumerate().collect();
        let matching = |is_yanked: fn(&ProjectFile) -> bool| -> Vec<_> {
            let is_match = |(_, file): &&(usize, &ProjectFile)| {
                sets.iter().any(|set| matches(set, file, is_yanked(file)))
            };
            files.iter().filter(is_match).copied().collect()
        };
        let required = matching(|file| file.is_yanked);
        if required.is_empty() {
            let obstacle = match matching(|_| false).is_empty() {
                true => {
                    let versions = self.files.iter().map(|file| &file.file.version);
                    Obstacle::NoVersion(nearest(&requirement.versions, versions))
                }
                false => Obstacle::Yanked,
            };
            return (BTreeSet::new(), Some(obstacle));
        }
        let (mut versions, mut obstacle) = (BTreeSet::new(), None);
        for hidden in &self.repositories {
            let (blocked, available): (Vec<_>, Vec<_>) =
                required.iter().copied().partition(|(position, _)| hidden.files.contains(position));
            if available.is_empty() {
                let highest = blocked.iter().map(|(_, file)| &file.file.version).max();
                let reason = highest.and_then(|version| hidden.reasons.get(version.as_str()));
                let reason = reason.cloned().unwrap_or_else(|| "blocked".to_owned());
                obstacle.get_or_insert(Obstacle::Blocked(reason));
            }
            for set in sets {
                let in_set = available.iter().filter(|(_, file)| matches(set, file, file.is_yanked));
                let newest = newest(set, in_set.map(|(_, file)| &file.file.version));
                versions.extend(newest.map(|version| version.as_str().to_owned()));
            }
        }
        (versions, obstacle)
    }
}

/// Returns the files of a project for the plan.
#[must_use]
pub fn base_project(project: Project) -> BaseProject {
    match project {
        Project::Unlisted => BaseProject::Unlisted,
        Project::Guarded(_) => BaseProject::NotRead,
        Project::Unreadable(unreadable) => BaseProject::Unreadable(unreadable.reason),
        Project::Files(files) => BaseProject::Files(files.files.into_iter().map(|file| file.file).collect()),
    }
}
