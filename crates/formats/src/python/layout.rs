//! The addresses of a Python repository: paths below a snapshot, parsed and rendered in one place.

use std::fmt;

use super::file_name::FileName;
use super::name;
use super::wheel_name::WheelName;
use base::model::digest::Sha256;
use base::model::project_name::{BadProjectName, ProjectName};

/// Characters besides letters and digits that are not encoded in links.
const UNENCODED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!');

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PythonPath {
    /// `simple/`: the names of all projects.
    Root,
    /// `simple/{project}/`: the page of a project.
    Project(ProjectName),
    /// A redirect to this path: from `simple`, from a page without the final slash, from a JSON document with one, or
    /// from another spelling of the project.
    Redirect(Box<PythonPath>),
    /// `packages/{id}/{file}`, or an attached file.
    File { id: FileId, file: FileName, part: FilePart },
    /// `packages/source/{letter}/{project}/{file}`, for a wheel with its interpreters instead of `source`: the address of a
    /// file that needs no page, which recipes of conda and spack contain.
    Named { project: ProjectName, file: FileName },
    /// `pypi/{project}/json` or `pypi/{project}/{version}/json`: a document of PyPI's JSON API.
    Json {
        project: ProjectName,
        /// The version, as in the address; `None` for the version that installers prefer.
        version: Option<Box<str>>,
    },
}

/// The identity of a distribution's bytes in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileId {
    Sha256(Sha256),
    /// The row number of a file whose digest is not known yet.
    Row(u64),
}

/// A distribution, or a file attached to it: its name has a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilePart {
    Distribution,
    /// `.metadata`: METADATA of the wheel (PEP 658).
    Metadata,
    /// `.asc`: a signature.
    Signature,
    /// `.provenance`: the provenance object (PEP 740).
    Provenance,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPythonPath {
    #[error(transparent)]
    Name(#[from] BadProjectName),
    #[error(transparent)]
    File(#[from] super::file_name::BadFileName),
    #[error("'{0}' is not a file of this repository; addresses of files are on the page of their project")]
    Id(String),
    #[error("'{0}' is not a version; expected pypi/{{project}}/{{version}}/json")]
    Version(String),
    #[error(
        "'{0}' is not a path of a Python repository; expected simple/, simple/{{project}}/ or packages/…/{{file}}"
    )]
    Unknown(String),
}

impl FilePart {
    pub const ALL: [FilePart; 4] =
        [FilePart::Distribution, FilePart::Metadata, FilePart::Signature, FilePart::Provenance];

    pub fn suffix(self) -> &'static str {
        match self {
            FilePart::Distribution => "",
            FilePart::Metadata => ".metadata",
            FilePart::Signature => ".asc",
            FilePart::Provenance => ".provenance",
        }
    }
}

/// Parses a decoded path, without a slash before it.
pub fn parse(path: &str) -> Result<PythonPath, BadPythonPath> {
    let segments: Vec<&str> = path.splitn(5, '/').collect();
    let redirect = |path| PythonPath::Redirect(Box::new(path));
    let unknown = || BadPythonPath::Unknown(path.chars().take(120).collect());
    match segments[..] {
        ["simple"] => Ok(redirect(PythonPath::Root)),
        ["simple", ""] => Ok(PythonPath::Root),
        ["simple", name] => Ok(redirect(PythonPath::Project(name::parse(name)?))),
        ["simple", name, ""] => {
            let project = name::parse(name)?;
            let is_normal = project.as_str() == name;
            let path = PythonPath::Project(project);
            Ok(if is_normal { path } else { redirect(path) })
        }
        ["packages", id, file] => {
            let parts = FilePart::ALL.into_iter().filter(|part| *part != FilePart::Distribution);
            let sibling = parts.filter_map(|part| Some((file.strip_suffix(part.suffix())?, part))).next();
            let (file, part) = sibling.unwrap_or((file, FilePart::Distribution));
            let id = parse_id(id).ok_or_else(|| BadPythonPath::Id(id.chars().take(80).collect()))?;
            Ok(PythonPath::File { id, file: FileName::parse(file)?, part })
        }
        ["packages", kind, letter, name, file] => {
            let named = PythonPath::Named { project: name::parse(name)?, file: FileName::parse(file)? };
            // Recipes write project and letter in any spelling.
            let is_own = name.get(..1).is_some_and(|first| first.eq_ignore_ascii_case(letter))
                && named.to_string().split('/').nth(1) == Some(kind);
            if is_own { Ok(named) } else { Err(unknown()) }
        }
        ["pypi", name, "json"] => parse_json(name, None, true),
        ["pypi", name, "json", ""] => parse_json(name, None, false),
        ["pypi", name, version, "json"] => parse_json(name, Some(version), true),
        ["pypi", name, version, "json", ""] => parse_json(name, Some(version), false),
        _ => Err(unknown()),
    }
}

/// Parses the path of a document of the JSON API. A path with a slash at its end (not `is_exact`) is redirected.
fn parse_json(name: &str, version: Option<&str>, is_exact: bool) -> Result<PythonPath, BadPythonPath> {
    let project = name::parse(name)?;
    let is_version =
        |text: &str| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if let Some(text) = version.filter(|text| !is_version(text)) {
        return Err(BadPythonPath::Version(text.escape_debug().take(120).collect()));
    }
    let is_exact = is_exact && project.as_str() == name;
    let path = PythonPath::Json { project, version: version.map(Into::into) };
    Ok(if is_exact { path } else { PythonPath::Redirect(Box::new(path)) })
}

/// Parses a digest in lower case, or a number without leading zeros, so that every file has one address.
fn parse_id(text: &str) -> Option<FileId> {
    let id = match text.len() {
        64 => FileId::Sha256(text.parse().ok()?),
        1..=19 if text.bytes().all(|b| b.is_ascii_digit()) => FileId::Row(text.parse().ok()?),
        _ => return None,
    };
    (id.to_string() == text).then_some(id)
}

/// Returns the address of a distribution relative to the page of its project: the same in every repository and
/// snapshot, and below every prefix. Characters other than letters, digits and `-._~!` are encoded.
pub fn link(id: FileId, file: &FileName) -> String {
    let mut link = String::with_capacity(80 + file.as_str().len());
    push_link(id, file, &mut link);
    link
}

/// Appends the address that [`link`] returns.
pub fn push_link(id: FileId, file: &FileName, out: &mut String) {
    out.push_str("../../packages/");
    match id {
        FileId::Sha256(digest) => out.push_str(std::str::from_utf8(&digest.digits()).unwrap_or_default()),
        FileId::Row(row) => out.push_str(&row.to_string()),
    }
    out.push('/');
    out.extend(percent_encoding::utf8_percent_encode(file.as_str(), UNENCODED));
}

/// Returns a second address of a distribution, relative to the root of the server, for programs that mirror PyPI: they
/// accept only paths that begin with `/packages/`. `repository` is `{repository}/{snapshot}`.
pub fn root_link(repository: &str, id: FileId, file: &FileName) -> String {
    let file = percent_encoding::utf8_percent_encode(file.as_str(), UNENCODED);
    format!("packages/{repository}/{id}/{file}")
}

/// Returns the address of the provenance object of a distribution. `base` is the URL of the directory with the files of a
/// repository, such as `https://host/packages/py/latest`.
pub fn provenance_link(base: &str, id: FileId, file: &FileName) -> String {
    let file = percent_encoding::utf8_percent_encode(file.as_str(), UNENCODED);
    format!("{base}/{id}/{file}{}", FilePart::Provenance.suffix())
}

/// Returns the address of a document of the JSON API relative to the directory `pypi/` of the snapshot.
pub fn json_link(project: &ProjectName, version: Option<&str>) -> String {
    match version {
        None => format!("{project}/json"),
        Some(version) => {
            format!("{project}/{}/json", percent_encoding::utf8_percent_encode(version, UNENCODED))
        }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileId::Sha256(digest) => digest.fmt(f),
            FileId::Row(row) => row.fmt(f),
        }
    }
}

impl fmt::Display for PythonPath {
    /// Writes the decoded path; for a redirect, the path of its target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PythonPath::Root => f.write_str("simple/"),
            PythonPath::Project(name) => write!(f, "simple/{name}/"),
            PythonPath::Redirect(target) => target.fmt(f),
            PythonPath::File { id, file, part } => write!(f, "packages/{id}/{file}{}", part.suffix()),
            PythonPath::Named { project, file } => {
                let wheel = WheelName::parse(file.as_str()).ok();
                let kind = wheel.as_ref().map_or("source", |wheel| wheel.tags.python());
                let letter = project.as_str().get(..1).unwrap_or_default();
                write!(f, "packages/{kind}/{letter}/{project}/{file}")
            }
            PythonPath::Json { project, version: None } => write!(f, "pypi/{project}/json"),
            PythonPath::Json { project, version: Some(version) } => {
                write!(f, "pypi/{project}/{version}/json")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_parsed_and_rendered() {
        let hex = "0a".repeat(32);
        for path in [
            "simple/".to_owned(),
            "simple/odd-name/".to_owned(),
            format!("packages/{hex}/odd-1.0+x-py3-none-any.whl"),
            format!("packages/{hex}/odd-1.0-py3-none-any.whl.metadata"),
            format!("packages/{hex}/odd-1.0.tar.gz.asc"),
            "packages/17/odd-1.0.tar.gz.provenance".to_owned(),
            "packages/source/o/odd-name/odd_name-1.0.tar.gz".to_owned(),
            "packages/py2.py3/o/odd-name/odd_name-1.0-py2.py3-none-any.whl".to_owned(),
            "pypi/odd-name/json".to_owned(),
            "pypi/odd/1!1.0+x/json".to_owned(),
            "pypi/json/json/json".to_owned(),
        ] {
            let layout_path = parse(&path).expect(&path);
            assert!(!matches!(layout_path, PythonPath::Redirect(_)), "{path}");
            assert_eq!(layout_path.to_string(), path);
        }
        let named = parse("packages/source/O/Odd.Name/Odd.Name-1.0.zip").expect("another spelling");
        assert_eq!(named.to_string(), "packages/source/o/odd-name/Odd.Name-1.0.zip");
        for (path, target) in [
            ("simple", "simple/"),
            ("simple/odd", "simple/odd/"),
            ("simple/Odd.Name/", "simple/odd-name/"),
            ("simple/Odd__Name", "simple/odd-name/"),
            ("pypi/Odd.Name/json", "pypi/odd-name/json"),
            ("pypi/odd/json/", "pypi/odd/json"),
            ("pypi/Odd/V1.0/json/", "pypi/odd/V1.0/json"),
        ] {
            let PythonPath::Redirect(parsed) = parse(path).expect(path) else { panic!("{path}") };
            assert_eq!(parsed.to_string(), target);
        }
    }

    #[test]
    fn other_paths_are_refused() {
        let hex = "0A".repeat(32);
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
            "packages/01/a-1.whl",
            "packages/1/a-1.whl.metadata.asc",
            "packages/1/.metadata",
            "packages/99999999999999999999/a-1.whl",
            "simples/",
            &format!("packages/{hex}/a-1.whl"),
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

    #[test]
    fn links_are_relative_and_encoded() {
        let file = FileName::parse("odd-1!1.0+x y.tar.gz").expect("a file");
        assert_eq!(link(FileId::Row(7), &file), "../../packages/7/odd-1!1.0%2Bx%20y.tar.gz");
        assert_eq!(
            root_link("py/latest", FileId::Row(7), &file),
            "packages/py/latest/7/odd-1!1.0%2Bx%20y.tar.gz"
        );
        assert_eq!(
            provenance_link("https://h/packages/py/latest", FileId::Row(7), &file),
            "https://h/packages/py/latest/7/odd-1!1.0%2Bx%20y.tar.gz.provenance"
        );
        let project = name::parse("Odd.Name").expect("a name");
        assert_eq!(json_link(&project, None), "odd-name/json");
        assert_eq!(json_link(&project, Some("1.0+x?#/")), "odd-name/1.0%2Bx%3F%23%2F/json");
    }

    proptest! {
        #[test]
        fn parsed_paths_are_rendered_unchanged(path in "(simple|packages|pypi|json|/|a|A|-|1|\\.whl|\\.metadata|é|0){0,8}") {
            if let Ok(parsed) = parse(&path) {
                let is_redirect = matches!(parsed, PythonPath::Redirect(_));
                prop_assert_eq!(parsed.to_string() == path, !is_redirect);
                prop_assert!(parse(&parsed.to_string()).is_ok_and(|again| !matches!(again, PythonPath::Redirect(_))));
            }
        }
    }
}
