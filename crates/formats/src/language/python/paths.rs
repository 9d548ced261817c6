//! The addresses of a Python repository: the simple repository API, PyPI's JSON API, and files without a page.

use super::Python;
use crate::language::ProjectPaths;
use crate::language::paths::{parse_pages, unknown};
use crate::python::file_name::FileName;
use crate::python::name;
use crate::python::wheel_name::WheelName;
use base::model::project_path::ProjectPath;

impl ProjectPaths for Python {
    fn parse_path(&self, segments: &[&str]) -> Option<Result<ProjectPath, String>> {
        match segments {
            ["packages", kind, letter, name, file] if letter.len() == 1 => Some(
                parse_named(kind, letter, name, file)
                    .and_then(|named| named.ok_or_else(|| unknown(self, segments))),
            ),
            ["pypi", name, "json"] => Some(parse_json(name, None, true)),
            ["pypi", name, "json", ""] => Some(parse_json(name, None, false)),
            ["pypi", name, version, "json"] => Some(parse_json(name, Some(version), true)),
            ["pypi", name, version, "json", ""] => Some(parse_json(name, Some(version), false)),
            ["pypi", ..] => Some(Err(unknown(self, segments))),
            _ => parse_pages(self, segments),
        }
    }
}

/// Parses `packages/source/{letter}/{project}/{file}`, for a wheel with its interpreters instead of `source`, which
/// recipes of conda and spack contain. They write project and letter in any spelling. `None` if the parts do not match.
fn parse_named(kind: &str, letter: &str, name: &str, file: &str) -> Result<Option<ProjectPath>, String> {
    let project = name::parse(name).map_err(|error| error.to_string())?;
    let file = FileName::parse(file).map_err(|error| error.to_string())?;
    let is_own =
        name.get(..1).is_some_and(|first| first.eq_ignore_ascii_case(letter)) && kind_of(&file) == kind;
    let version = file.version(&project, None).map(Into::into);
    Ok(is_own.then(|| ProjectPath::Named { project, file: file.as_str().into(), version }))
}

fn kind_of(file: &FileName) -> String {
    let wheel = WheelName::parse(file.as_str());
    wheel.map_or_else(|_| "source".to_owned(), |wheel| wheel.tags.python().to_string())
}

/// Parses the path of a document of the JSON API. A path with a slash at its end (not `is_exact`) is redirected.
fn parse_json(name: &str, version: Option<&str>, is_exact: bool) -> Result<ProjectPath, String> {
    let project = name::parse(name).map_err(|error| error.to_string())?;
    let is_version =
        |text: &str| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if let Some(text) = version.filter(|text| !is_version(text)) {
        let text: String = text.escape_debug().take(120).collect();
        return Err(format!("'{text}' is not a version; expected pypi/{{project}}/{{version}}/json"));
    }
    let is_exact = is_exact && project.as_str() == name;
    let path = ProjectPath::Json { project, version: version.map(Into::into) };
    Ok(if is_exact { path } else { ProjectPath::Redirect(Box::new(path)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(path: &str) -> Result<ProjectPath, String> {
        let segments: Vec<&str> = path.split('/').collect();
        Python.parse_path(&segments).unwrap_or_else(|| Err("of another language".to_owned()))
    }

    /// Returns the decoded path; for a redirect, the path of its target.
    fn text(path: &ProjectPath) -> String {
        match path {
            ProjectPath::List => "simple/".to_owned(),
            ProjectPath::Page(name) => format!("simple/{name}/"),
            ProjectPath::Redirect(target) => text(target),
            ProjectPath::File { sha256, file, part } => format!("packages/{sha256}/{file}{}", part.suffix()),
            ProjectPath::Named { project, file, .. } => {
                let kind = kind_of(&FileName::parse(file).expect("a file name"));
                format!("packages/{kind}/{}/{project}/{file}", &project.as_str()[..1])
            }
            ProjectPath::Json { project, version: None } => format!("pypi/{project}/json"),
            ProjectPath::Json { project, version: Some(version) } => format!("pypi/{project}/{version}/json"),
        }
    }

    #[test]
    fn paths_are_parsed_and_rendered() {
        for path in [
            "simple/",
            "simple/odd-name/",
            "packages/source/o/odd-name/odd_name-1.0.tar.gz",
            "packages/py2.py3/o/odd-name/odd_name-1.0-py2.py3-none-any.whl",
            "pypi/odd-name/json",
            "pypi/odd/1!1.0+x/json",
            "pypi/json/json/json",
        ] {
            let parsed = parse(path).expect(path);
            assert!(!matches!(parsed, ProjectPath::Redirect(_)), "{path}");
            assert_eq!(text(&parsed), path);
        }
        let named = parse("packages/source/O/Odd.Name/Odd.Name-1.0.zip").expect("another spelling");
        assert_eq!(text(&named), "packages/source/o/odd-name/Odd.Name-1.0.zip");
        for (path, target) in [
            ("simple", "simple/"),
            ("simple/odd", "simple/odd/"),
            ("simple/Odd.Name/", "simple/odd-name/"),
            ("simple/Odd__Name", "simple/odd-name/"),
            ("pypi/Odd.Name/json", "pypi/odd-name/json"),
            ("pypi/odd/json/", "pypi/odd/json"),
            ("pypi/Odd/V1.0/json/", "pypi/odd/V1.0/json"),
        ] {
            let ProjectPath::Redirect(parsed) = parse(path).expect(path) else { panic!("{path}") };
            assert_eq!(text(&parsed), target);
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for bad in [
            "",
            "simple//",
            "simple/a/b",
            "simple/-/",
            "simple/a/b/c/d/e",
            "packages/",
            "packages/x/a-1.whl",
            "packages/1/a.txt",
            "packages/source/b/a/a-1.0.tar.gz",
            "packages/py3/a/a/a-1.0.tar.gz",
            "packages/source/a/a/a-1.0-py3-none-any.whl",
            "packages/source/a/-/a-1.0.tar.gz",
            "packages/source/a/a/a.txt",
            "simples/",
            "src/contrib",
            "pypi",
            "pypi/odd",
            "pypi/odd/",
            "pypi/-/json",
            "pypi/odd//json",
            "pypi/odd/1 0/json",
            "pypi/odd/1/2/json",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsed_paths_are_rendered_unchanged(path in "(simple|packages|pypi|json|/|a|A|-|1|\\.whl|\\.metadata|é|0){0,8}") {
            if let Ok(parsed) = parse(&path) {
                let is_redirect = matches!(parsed, ProjectPath::Redirect(_));
                prop_assert_eq!(text(&parsed) == path, !is_redirect);
                prop_assert!(parse(&text(&parsed)).is_ok_and(|again| !matches!(again, ProjectPath::Redirect(_))));
            }
        }
    }
}
