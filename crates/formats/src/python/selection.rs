//! Chooses the files of a project: for each environment those of the newest version that has one for it. Pure.

use std::collections::BTreeSet;

use super::environment::Environment;
use super::file_name::{FileKind, FileName};
use super::specifier::Specifiers;
use super::target::{BadTarget, PythonMinor, WheelPlatform};
use super::version::Pep440Version;
use super::wheel_name::WheelName;

/// A file from which [`newest`] chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCandidate<'a> {
    pub name: &'a FileName,
    pub version: Pep440Version,
    pub requires_python: Option<&'a str>,
}

/// Returns every combination of these minor versions of Python and platform tags; an empty list stands for all.
pub fn environments(pythons: &[String], platforms: &[String]) -> Result<Vec<Environment>, BadTarget> {
    let mut python_list = Vec::new();
    for text in pythons {
        python_list.push(Some(text.parse::<PythonMinor>()?));
    }
    let mut platform_list = Vec::new();
    // `any` stands for wheels of all platforms, which are always taken.
    for text in platforms.iter().filter(|text| *text != "any") {
        platform_list.push(Some(text.parse::<WheelPlatform>()?));
    }
    if python_list.is_empty() {
        python_list.push(None);
    }
    if platform_list.is_empty() {
        platform_list.push(None);
    }
    let environments = python_list.iter().flat_map(|python| {
        platform_list.iter().map(move |platform| Environment { python: *python, platform: platform.clone() })
    });
    Ok(environments.collect())
}

/// Returns the positions of the candidates that are chosen: for each environment those of the newest version that has a
/// file for it. A pre-release is chosen only if `names_pre_release`, or if there is nothing else.
pub fn newest(
    candidates: &[FileCandidate<'_>],
    environments: &[Environment],
    names_pre_release: bool,
) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for environment in environments {
        let usable: Vec<(usize, &FileCandidate<'_>)> =
            candidates.iter().enumerate().filter(|(_, candidate)| accepts(environment, candidate)).collect();
        let versions = usable.iter().map(|(_, candidate)| &candidate.version);
        let Some(newest) = newest_version(versions, names_pre_release) else { continue };
        let of_newest = usable.iter().filter(|(_, candidate)| candidate.version == *newest);
        chosen.extend(of_newest.map(|(position, _)| *position));
    }
    chosen
}

/// Returns the highest version. A pre-release is returned only if `names_pre_release`, or if there is nothing else.
pub fn newest_version<'a>(
    versions: impl IntoIterator<Item = &'a Pep440Version>,
    names_pre_release: bool,
) -> Option<&'a Pep440Version> {
    versions.into_iter().max_by_key(|version| (names_pre_release || !version.is_pre_release(), *version))
}

/// Returns whether specifiers name a pre-release: then pre-releases are chosen like other versions.
pub fn names_pre_release(specifiers: &Specifiers) -> bool {
    specifiers.as_str().contains(|c: char| c.is_ascii_alphabetic())
}

fn accepts(environment: &Environment, candidate: &FileCandidate<'_>) -> bool {
    if !environment.is_allowed_by(candidate.requires_python) {
        return false;
    }
    match candidate.name.kind() {
        FileKind::Sdist => true,
        FileKind::Wheel => WheelName::parse(candidate.name.as_str()).is_ok_and(|wheel| {
            wheel.tags.expand().any(|tag| {
                environment.python.is_none_or(|python| python.accepts(tag))
                    && environment.platform.as_ref().is_none_or(|platform| platform.accepts(tag.platform))
            })
        }),
        // Installers ignore files of other kinds.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)], pythons: &[&str], pre_release: bool) -> Vec<String> {
        let parsed: Vec<FileName> =
            files.iter().map(|(name, _)| FileName::parse(name).expect("a file name")).collect();
        let candidates: Vec<FileCandidate<'_>> = parsed
            .iter()
            .zip(files)
            .map(|(name, (_, version))| FileCandidate {
                name,
                version: Pep440Version::lenient(version),
                requires_python: None,
            })
            .collect();
        let pythons: Vec<String> = pythons.iter().map(|python| (*python).to_owned()).collect();
        let environments = environments(&pythons, &[]).expect("targets");
        let chosen = newest(&candidates, &environments, pre_release);
        chosen.into_iter().map(|position| files[position].0.to_owned()).collect()
    }

    #[test]
    fn each_environment_gets_its_newest_version() {
        let files = [
            ("odd-1.0-py3-none-any.whl", "1.0"),
            ("odd-2.0-cp312-cp312-win_amd64.whl", "2.0"),
            ("odd-3.0rc1.tar.gz", "3.0rc1"),
            ("odd-4.0.exe", "4.0"),
        ];
        let newest = |pythons: &[&str], pre_release| names(&files, pythons, pre_release);
        assert_eq!(newest(&[], false), ["odd-2.0-cp312-cp312-win_amd64.whl"]);
        assert_eq!(newest(&["3.11"], false), ["odd-1.0-py3-none-any.whl"]);
        assert_eq!(newest(&["3.11", "3.12"], false).len(), 2);
        assert_eq!(newest(&["3.11"], true), ["odd-3.0rc1.tar.gz"]);
        assert_eq!(names(&files[2..], &[], false), ["odd-3.0rc1.tar.gz"], "there is nothing else");
        assert!(names(&files[3..], &[], false).is_empty(), "installers ignore it");
    }

    #[test]
    fn a_letter_in_a_specifier_names_a_pre_release() {
        let names = |text: &str| names_pre_release(&text.parse().expect(text));
        assert!(names(">=3.0rc1") && names("==1.0.dev1"));
        assert!(!names("") && !names(">=1,<2"));
    }
}
