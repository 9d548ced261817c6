//! The plan of an update of a curated source: the changes of its new definition, and the problems that prevent it.

use std::collections::{BTreeMap, BTreeSet};

use sha2::Digest;

use super::PythonDefinition;
use super::rule::{Alternative, ProjectRule};
use crate::python::specifier::Specifiers;
use crate::python::version::Pep440Version;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::words;

/// Maximum number of versions that a problem names.
const NEAREST: usize = 4;

/// The files of a project in the base, as far as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseProject {
    /// The base does not list the project.
    Unlisted,
    /// Its files were not read, because every file is allowed.
    NotRead,
    /// Its files could not be read, for this reason.
    Unreadable(String),
    Files(Vec<BaseFile>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseFile {
    pub version: Pep440Version,
    pub sha256: Sha256,
}

words! {
    /// The change of a project by an update.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RowState {
        Added = "added",
        Changed = "changed",
        Removed = "removed",
        Kept = "kept",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPlanRow {
    pub name: ProjectName,
    /// The allowed versions, for display.
    pub constraint: String,
    /// The number of allowed files; `None` if they were not read.
    pub files: Option<usize>,
    /// The newest allowed version; `None` if the files were not read, or if there is none.
    pub newest: Option<String>,
    /// SHA-256 of the digests of the allowed files in ascending order; `None` if the files were not read.
    pub files_digest: Option<Sha256>,
    pub state: RowState,
}

/// The plan of an update. The same current rules, definition and base always result in the same plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub rows: Vec<ProjectPlanRow>,
    pub problems: Vec<String>,
}

impl Plan {
    pub fn count(&self, state: RowState) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }
}

/// Returns the plan of an update from the rules `old` to the definition `new`. `base` has every project of the
/// definition; `snapshot` names the base's snapshot in messages.
pub fn plan(
    old: &BTreeMap<ProjectName, ProjectRule>,
    new: &PythonDefinition,
    base: &BTreeMap<ProjectName, BaseProject>,
    snapshot: &str,
) -> Plan {
    let mut plan = Plan::default();
    let names: BTreeSet<&ProjectName> = old.keys().chain(new.rules.keys()).collect();
    for name in names {
        let Some(rule) = new.rules.get(name) else {
            plan.rows.push(ProjectPlanRow {
                name: name.clone(),
                constraint: old.get(name).map(ProjectRule::summary).unwrap_or_default(),
                files: None,
                newest: None,
                files_digest: None,
                state: RowState::Removed,
            });
            continue;
        };
        let state = match old.get(name) {
            None => RowState::Added,
            Some(old) if old == rule => RowState::Kept,
            Some(_) => RowState::Changed,
        };
        let origin = new.origins.get(name).map(String::as_str).unwrap_or_default();
        let known = base.get(name).unwrap_or(&BaseProject::Unlisted);
        let with_remedy = |problem: String| match known {
            BaseProject::Unlisted => format!(
                "{origin}: {problem} at {snapshot}; correct the name, remove the line, or choose a later --snapshot"
            ),
            BaseProject::Unreadable(_) => format!("{origin}: {problem}; try again when the index answers"),
            BaseProject::NotRead | BaseProject::Files(_) => {
                format!("{origin}: {problem} at {snapshot}; change the line, or choose a later --snapshot")
            }
        };
        plan.problems.extend(problems(name, rule, known).into_iter().map(with_remedy));
        let allowed = match known {
            BaseProject::Files(files) => {
                let is_allowed = |file: &&BaseFile| rule.allows(&file.version, file.sha256);
                Some(files.iter().filter(is_allowed).collect::<Vec<_>>())
            }
            BaseProject::Unlisted | BaseProject::NotRead | BaseProject::Unreadable(_) => None,
        };
        plan.rows.push(ProjectPlanRow {
            name: name.clone(),
            constraint: rule.summary(),
            files: allowed.as_ref().map(Vec::len),
            files_digest: allowed.as_deref().map(files_digest),
            newest: allowed.and_then(|files| newest(&files)),
            state,
        });
    }
    plan
}

fn files_digest(files: &[&BaseFile]) -> Sha256 {
    let mut digests: Vec<Sha256> = files.iter().map(|file| file.sha256).collect();
    digests.sort_unstable();
    let mut hasher = sha2::Sha256::new();
    digests.iter().for_each(|digest| hasher.update(digest.0));
    Sha256(hasher.finalize().into())
}

/// Returns the highest version that is not a pre-release; if there is none, the highest pre-release.
fn newest(files: &[&BaseFile]) -> Option<String> {
    let versions = files.iter().map(|file| &file.version);
    let newest = versions.max_by_key(|version| (!version.is_pre_release(), *version));
    newest.map(|version| version.as_str().to_owned())
}

fn problems(name: &ProjectName, rule: &ProjectRule, known: &BaseProject) -> Vec<String> {
    match known {
        BaseProject::Unlisted => vec![format!("there is no package '{name}'")],
        BaseProject::NotRead => Vec::new(),
        BaseProject::Unreadable(reason) => {
            vec![format!("the files of '{name}' could not be read: {reason}")]
        }
        BaseProject::Files(files) => {
            let is_empty = |alternative: &&Alternative| {
                !alternative.allows_all()
                    && !files.iter().any(|file| alternative.allows(&file.version, file.sha256))
            };
            let problem = |alternative: &Alternative| {
                let versions = alternative.versions();
                let has_version = files.iter().any(|file| versions.contains(&file.version));
                if has_version {
                    return format!("no file of '{name}{versions}' has one of the digests");
                }
                let nearest = nearest(versions, files.iter().map(|file| &file.version));
                let hint = if nearest.is_empty() {
                    "it has no files".to_owned()
                } else {
                    format!("the closest versions are {}", nearest.join(", "))
                };
                format!("there is no '{name}{versions}' ({hint})")
            };
            rule.alternatives().iter().filter(is_empty).map(problem).collect()
        }
    }
}

/// Returns the versions closest to the exact version that specifiers name; if they name none, the highest versions.
pub(super) fn nearest<'a>(
    specifiers: &Specifiers,
    versions: impl IntoIterator<Item = &'a Pep440Version>,
) -> Vec<String> {
    let mut versions: Vec<&Pep440Version> = versions.into_iter().collect();
    versions.sort();
    versions.dedup();
    let position = match specifiers.pin() {
        Some(pin) => versions.partition_point(|version| **version < pin),
        None => versions.len(),
    };
    let start = position.saturating_sub(NEAREST / 2).min(versions.len().saturating_sub(NEAREST));
    versions.into_iter().skip(start).take(NEAREST).map(|version| version.as_str().to_owned()).collect()
}
