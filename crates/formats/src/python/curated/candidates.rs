//! The files of the projects that may be dependencies, and the choice of their versions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{BaseFile, BaseProject, nearest};
use super::rule::Alternative;
use crate::python::closure::ProjectRequirement;
use crate::python::selection::newest_version;
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
    Files(ProjectFiles),
}

/// The reason why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: String,
    /// Whether a later attempt may succeed, because the index does not answer.
    pub is_temporary: bool,
}

/// The files of a project in the base, and those that block rules hide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectFiles {
    pub files: Vec<ProjectFile>,
    /// The hidden files in each repository that subscribes to the source. Repositories without any are one entry. With no
    /// repository, there is one entry without hidden files.
    pub repositories: Vec<HiddenFiles>,
}

/// A file of a project in the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    pub file: BaseFile,
    /// Whether it is a wheel or a source distribution; installers ignore other files.
    pub is_installable: bool,
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

/// The files of a project that satisfy all requirements of a set. Each requirement is compared with each file once.
#[derive(Clone, Debug)]
pub(super) struct SatisfyingFiles {
    /// Whether a file, by its position, can be installed and satisfies the requirements if it is not yanked.
    satisfied: Vec<bool>,
    /// Whether yanked files may be chosen, too.
    is_pinned: bool,
    names_pre_release: bool,
    requirement_count: usize,
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

    /// Returns whether a later attempt may succeed.
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

impl SatisfyingFiles {
    /// Begins with an empty set of requirements.
    pub(super) fn new(files: &[ProjectFile]) -> SatisfyingFiles {
        SatisfyingFiles {
            satisfied: files.iter().map(|file| file.is_installable).collect(),
            is_pinned: false,
            names_pre_release: false,
            requirement_count: 0,
        }
    }

    /// Adds those of the requirements of a project that are not in the set; the others are the first ones.
    pub(super) fn add<'a>(
        &mut self,
        files: &[ProjectFile],
        requirements: impl IntoIterator<Item = &'a ProjectRequirement>,
    ) {
        for requirement in requirements.into_iter().skip(self.requirement_count) {
            self.is_pinned |= requirement.is_pinned();
            self.names_pre_release |= requirement.names_pre_release();
            self.requirement_count += 1;
            for (is_satisfied, file) in self.satisfied.iter_mut().zip(files) {
                let BaseFile { version, sha256 } = &file.file;
                *is_satisfied = *is_satisfied && requirement.allows(version, Some(*sha256));
            }
        }
    }

    fn has(&self, position: usize, is_yanked: bool) -> bool {
        self.satisfied.get(position).is_some_and(|is_satisfied| *is_satisfied)
            && (!is_yanked || self.is_pinned)
    }
}

impl ProjectFiles {
    /// Returns, for each repository and each set of requirements, the newest version that the rules of the repository
    /// allow; and the obstacle if a repository can offer none. `all` is the set of all requirements of the project.
    pub(super) fn choose(
        &self,
        requirement: &ProjectRequirement,
        constraint: Option<&Alternative>,
        sets: &[Vec<&ProjectRequirement>],
        all: &SatisfyingFiles,
    ) -> (BTreeSet<String>, Option<Obstacle>) {
        let small_sets = sets.iter().map(|set| {
            let mut satisfying = SatisfyingFiles::new(&self.files);
            satisfying.add(&self.files, set.iter().copied());
            satisfying
        });
        let small_sets: Vec<SatisfyingFiles> = small_sets.collect();
        let sets: Vec<&SatisfyingFiles> = small_sets.iter().chain([all]).collect();
        let is_allowed = |file: &ProjectFile| {
            constraint.is_none_or(|constraint| constraint.allows(&file.file.version, file.file.sha256))
        };
        let files = self.files.iter().enumerate().filter(|(_, file)| is_allowed(file));
        let files: Vec<(usize, &ProjectFile)> = files.collect();
        let matching = |is_yanked: fn(&ProjectFile) -> bool| -> Vec<_> {
            let is_match = |(position, file): &&(usize, &ProjectFile)| {
                sets.iter().any(|set| set.has(*position, is_yanked(file)))
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
            for set in &sets {
                let in_set = available.iter().filter(|(position, file)| set.has(*position, file.is_yanked));
                let newest =
                    newest_version(in_set.map(|(_, file)| &file.file.version), set.names_pre_release);
                versions.extend(newest.map(|version| version.as_str().to_owned()));
            }
        }
        (versions, obstacle)
    }
}

/// Returns the files of a project for the plan.
pub fn base_project(project: Project) -> BaseProject {
    match project {
        Project::Unlisted => BaseProject::Unlisted,
        Project::Guarded(_) => BaseProject::NotRead,
        Project::Unreadable(unreadable) => BaseProject::Unreadable(unreadable.reason),
        Project::Files(files) => BaseProject::Files(files.files.into_iter().map(|file| file.file).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::requirement::Requirement;
    use crate::python::version::Pep440Version;
    use base::model::digest::Sha256;

    fn file(version: &str) -> ProjectFile {
        let file = BaseFile { version: Pep440Version::lenient(version), sha256: Sha256([1; 32]) };
        ProjectFile { file, is_installable: true, is_yanked: false }
    }

    #[test]
    fn only_added_requirements_are_compared_with_the_files() {
        let files = ["1.0", "2.0", "3.0rc1"].map(file);
        let required = |text: &str| {
            let requirement = Requirement::parse(text).expect(text);
            ProjectRequirement::of(requirement, None).expect("versions")
        };
        let mut requirements = vec![required("odd>=1.5")];
        let mut set = SatisfyingFiles::new(&files);
        set.add(&files, &requirements);
        assert_eq!((&set.satisfied[..], set.names_pre_release), (&[false, true, true][..], false));
        // No file that was excluded is compared again, so that a changed earlier requirement has no effect.
        requirements = vec![required("odd>=9"), required("odd<4"), required("odd!=4a1")];
        set.add(&files, &requirements);
        assert_eq!((&set.satisfied[..], set.names_pre_release), (&[false, true, true][..], true));
        assert_eq!((set.requirement_count, set.is_pinned), (3, false));
        set.add(&files, &[required("odd"), required("odd"), required("odd"), required("odd==2.0")]);
        assert_eq!((&set.satisfied[..], set.is_pinned), (&[false, true, false][..], true));
    }
}
