//! Reads the file of `--file-in`: requirements, with the files that it names, or a lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::selection::Rule;
use crate::error::OfflineError;
use crate::progress::Output;
use formats::python::closure::ProjectRequirement;
use formats::python::lock_file::{self, BadPythonLockFile, LockedPackage};
use formats::python::marker::Marker;
use formats::python::requirement::Requirement;
use formats::python::requirements_file::{self, Entry};
use formats::python::specifier::Specifiers;

/// Maximum number of files that a requirements file includes, directly or through other files.
const MAX_FILES: usize = 100;
/// Endings of the names of lock files.
const LOCK_FILES: [&str; 2] = [".toml", ".lock"];

/// Returns the packages that a file requires in any environment of the rule.
pub(super) fn read(
    path: &Path,
    rule: &Rule,
    output: Output,
) -> Result<Vec<ProjectRequirement>, OfflineError> {
    let mut requirements = Vec::new();
    let mut read_paths = BTreeSet::new();
    let mut pending_paths = vec![path.to_owned()];
    while let Some(path) = pending_paths.pop() {
        let usage_error =
            |reason: String| OfflineError::Usage(format!("--file-in {}: {reason}", path.display()));
        if !read_paths.insert(path.clone()) {
            continue;
        }
        if read_paths.len() > MAX_FILES {
            return Err(usage_error(format!("it includes more than {MAX_FILES} files")));
        }
        let bytes = std::fs::read(&path).map_err(|error| usage_error(error.to_string()))?;
        if is_lock_file(&path) {
            requirements
                .extend(locked(&bytes, rule, output).map_err(|error| usage_error(error.to_string()))?);
            continue;
        }
        let (file, errors) = requirements_file::read(&bytes);
        let file = errors.or_value(file).map_err(|errors| usage_error(errors.to_string()))?;
        for (line, option) in &file.ignored {
            output.warn(&format!("{}:{line}: {option} has no effect", path.display()));
        }
        for skipped in &file.skipped {
            output.warn(&format!("{}:{}: {skipped}", path.display(), skipped.line));
        }
        for entry in file.entries {
            match entry {
                Entry::Requirement { requirement, sha256, .. } => {
                    let item = project_requirement(requirement, rule);
                    requirements.extend(item.map(|item| ProjectRequirement { digests: sha256, ..item }));
                }
                Entry::File { path: other, .. } => pending_paths.push(resolve(&path, &other)),
            }
        }
    }
    if requirements.is_empty() {
        let file = path.display();
        return Err(OfflineError::Usage(format!(
            "--file-in {file}: it requires no package for these targets"
        )));
    }
    Ok(requirements)
}

/// Resolves the path `other`, which the file at `path` names, relative to the directory of that file.
fn resolve(path: &Path, other: &str) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from(other), |folder| folder.join(other))
}

fn is_lock_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    LOCK_FILES.iter().any(|ending| name.ends_with(ending))
}

/// Converts a requirement; `None` if its marker is false in all environments, or it names a URL.
fn project_requirement(requirement: Requirement, rule: &Rule) -> Option<ProjectRequirement> {
    if !requirement.marker.as_ref().is_none_or(|marker| applies(marker, rule)) {
        return None;
    }
    ProjectRequirement::of(requirement, None)
}

/// Returns whether a marker may be true in any environment of the rule.
fn applies(marker: &Marker, rule: &Rule) -> bool {
    rule.environments.iter().any(|environment| environment.may_satisfy(marker, &[]))
}

/// Converts the packages of a lock file to requirements of exact versions, with their digests.
fn locked(bytes: &[u8], rule: &Rule, output: Output) -> Result<Vec<ProjectRequirement>, BadPythonLockFile> {
    let file = lock_file::parse(bytes)?;
    for package in &file.skipped {
        output.warn(&format!("{} is left out: {}", package.name, package.reason));
    }
    let is_needed = |package: &LockedPackage| {
        // A marker that cannot be read does not exclude the package.
        let marker = package.marker.as_deref().and_then(|text| Marker::parse(text).ok());
        marker.is_none_or(|marker| applies(&marker, rule))
    };
    let requirements = file.packages.into_iter().filter(is_needed).filter_map(|package| {
        let exact = format!("=={}", package.version).parse::<Specifiers>();
        let versions = exact.or_else(|_| format!("==={}", package.version).parse()).ok()?;
        let digests = package.files.iter().filter_map(|file| file.sha256).collect();
        Some(ProjectRequirement { versions, digests, ..ProjectRequirement::any(package.name) })
    });
    Ok(requirements.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pythons: &[&str], platforms: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Rule::parse(&texts(pythons), &texts(platforms)).expect("targets")
    }

    #[test]
    fn requirements_and_the_files_that_they_name_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("requirements.txt");
        let digest = "ab".repeat(32);
        let text = format!(
            "-r more.txt\nflask>=2  # web\nodd==1.0 --hash=sha256:{digest}\nwin ; sys_platform == 'win32'\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("more.txt"), "-r requirements.txt\nmore[b,A]\n").unwrap();
        let requirements = read(&path, &rule(&["3.11"], &["manylinux_2_17_x86_64"]), Output::Quiet).unwrap();
        let names: Vec<&str> = requirements.iter().map(|requirement| requirement.project.as_str()).collect();
        assert_eq!(names, ["flask", "odd", "more"]);
        assert_eq!(requirements[1].digests.len(), 1);
        assert_eq!(requirements[2].extras, ["a", "b"]);
        assert_eq!(read(&path, &rule(&[], &[]), Output::Quiet).unwrap().len(), 4);
        let error = read(&dir.path().join("none.txt"), &rule(&[], &[]), Output::Quiet).unwrap_err();
        assert!(matches!(error, OfflineError::Usage(text) if text.contains("none.txt")));
    }

    #[test]
    fn lock_files_give_exact_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("poetry.lock");
        let text = format!(
            "[[package]]\nname = \"Odd.Lib\"\nversion = \"1.0\"\noptional = false\npython-versions = \"*\"\n\
             files = [{{file = \"odd_lib-1.0.tar.gz\", hash = \"sha256:{}\"}}]\n\
             [metadata]\nlock-version = \"2.1\"\npython-versions = \"*\"\ncontent-hash = \"x\"\n",
            "ab".repeat(32)
        );
        std::fs::write(&path, text).unwrap();
        let requirements = read(&path, &rule(&[], &[]), Output::Quiet).unwrap();
        let [requirement] = &requirements[..] else { panic!("{requirements:?}") };
        assert_eq!((requirement.project.as_str(), requirement.versions.as_str()), ("odd-lib", "==1.0"));
        assert_eq!(requirement.digests.len(), 1);
    }
}
