//! The exact versions in a lock file or a requirements file.

use std::collections::BTreeMap;

use super::lock_file;
use super::requirement::VersionsOrUrl;
use super::requirements_file::{self, SkippedKind, SkippedLine};
use base::model::locked_version::{ExactVersions, SkipReason, Skipped};

/// Parses a lock file, or a requirements file, whose lines without an exact version are skipped.
pub fn exact_versions(file: &[u8]) -> Result<ExactVersions, String> {
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    let mut skipped = Vec::new();
    match lock_file::parse(file) {
        Ok(lock) => {
            for package in lock.packages {
                add_package(&mut packages, &mut skipped, package.name.to_string(), package.version);
            }
            let names = lock.skipped.into_iter().map(|package| package.name);
            skipped.extend(names.map(|name| Skipped { name, reason: SkipReason::NotFromRepository }));
        }
        Err(of_lock) => {
            let file = requirements_file::parse_named(file)
                .map_err(|error| format!("{of_lock}; or as requirements: {error}"))?;
            for requirement in file.requirements {
                let name = requirement.name.to_string();
                match exact_version(&requirement.constraint) {
                    Some(version) => add_package(&mut packages, &mut skipped, name, version),
                    None => skipped.push(Skipped { name, reason: SkipReason::NoExactVersion }),
                }
            }
            skipped.extend(file.skipped.into_iter().map(skipped_line));
            if packages.is_empty() {
                return Err(format!(
                    "{of_lock}; as requirements, no line names an exact version, such as flask==3.0.0"
                ));
            }
        }
    }
    Ok(ExactVersions { packages: packages.into_iter().collect(), skipped })
}

fn skipped_line(line: SkippedLine) -> Skipped {
    let SkippedLine { line, kind, name } = line;
    let reason = match kind {
        SkippedKind::Option => SkipReason::Option,
        SkippedKind::File => SkipReason::OtherFile,
        SkippedKind::Address => SkipReason::NotFromRepository,
    };
    let name = if name.is_empty() { format!("line {line}") } else { format!("{name} (line {line})") };
    Skipped { name, reason }
}

/// Adds a package. A second version of the same package, which is for other environments, is skipped.
fn add_package(
    packages: &mut BTreeMap<String, String>,
    skipped: &mut Vec<Skipped>,
    name: String,
    version: String,
) {
    match packages.get(&name) {
        Some(first) if *first != version => {
            skipped.push(Skipped { name: format!("{name} {version}"), reason: SkipReason::OtherEnvironment });
        }
        Some(_) => {}
        None => drop(packages.insert(name, version)),
    }
}

/// Returns the version of a constraint that allows only one version: `3.0` of `==3.0`, `===3.0` or `(==3.0)`.
fn exact_version(constraint: &VersionsOrUrl) -> Option<String> {
    let VersionsOrUrl::Versions(specifiers) = constraint else { return None };
    let text = specifiers.as_str();
    let clause = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text).trim();
    let version = clause.strip_prefix("==")?.trim_start_matches('=').trim();
    let is_exact = !version.is_empty() && !version.contains([',', '*', ' ']);
    is_exact.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::requirement::Requirement;

    #[test]
    fn the_exact_version_of_a_requirement_has_no_parentheses() {
        for (text, version) in [
            ("flask==3.0.0", Some("3.0.0")),
            ("flask (==3.0.0)", Some("3.0.0")),
            ("flask[async] ( === 3.0.0 ) ; python_version > '3.8'", Some("3.0.0")),
            ("flask (==3.0.0,!=3.1)", None),
            ("flask (>=3.0.0)", None),
            ("flask (==)", None),
        ] {
            let requirement = Requirement::parse(text).ok();
            let exact = requirement.and_then(|requirement| exact_version(&requirement.constraint));
            assert_eq!(exact.as_deref(), version, "{text}");
        }
    }

    #[test]
    fn lines_without_an_exact_version_are_skipped_with_the_reason() {
        let file = b"--index-url https://h.example/simple\n-r other.txt\n\
            flask[async]==3.0.0 ; python_version > '3.8' --hash=sha256:00\nrequests>=2\nnumpy==1.*\nclick===8.1\n\
            mine @ git+https://h.example/mine\n./folder\nclick==7.0 ; python_version < '3.7'\n";
        let ExactVersions { packages, skipped } = exact_versions(file).expect("requirements");
        let expected = [("click", "8.1"), ("flask", "3.0.0")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(packages, expected);
        let skipped: Vec<(&str, SkipReason)> =
            skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.reason)).collect();
        assert_eq!(
            skipped,
            [
                ("requests", SkipReason::NoExactVersion),
                ("numpy", SkipReason::NoExactVersion),
                ("click 7.0", SkipReason::OtherEnvironment),
                ("--index-url (line 1)", SkipReason::Option),
                ("-r (line 2)", SkipReason::OtherFile),
                ("mine (line 7)", SkipReason::NotFromRepository),
                ("line 8", SkipReason::NotFromRepository),
            ]
        );
        let ExactVersions { packages, .. } =
            exact_versions(b"flask (==3.0.0)\nclick ( === 8.1 ); os_name == 'nt'\n").expect("old forms");
        assert_eq!(packages, expected, "versions in parentheses");
        for text in ["requests>=2\n", "-r other.txt\n"] {
            let error = exact_versions(text.as_bytes()).expect_err("no version");
            assert!(error.contains("flask==3.0.0"), "{error}");
        }
    }
}
