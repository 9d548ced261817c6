//! The part of an address after the snapshot: a variant for each layout of repositories, by language. No I/O.

use crate::http::error::Failure;
use formats::python::{self, layout::PythonPath};
use formats::r::bioconductor::{self, Component, PartName};
use formats::r::layout::{self, RPath};

/// The directory of all Bioconductor versions.
pub(super) const PACKAGES: &str = "packages";

/// The directory of the pages of Python projects.
pub(super) const SIMPLE: &str = "simple";

/// The directory of the documents of PyPI's JSON API.
const JSON_API: &str = "pypi";

/// The parsed part of an address after the snapshot. Only its first segments determine the layout; whether the
/// repository has that layout is checked when the address is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepoPath {
    /// A path in a repository of R packages.
    R {
        /// The segment after `__linux__`, a distribution whose binaries are served for source packages; may not exist.
        linux: Option<String>,
        path: RPath,
    },
    /// `packages/{version}/{component}/` and a path below it, in a Bioconductor repository.
    Bioconductor {
        /// The segment after `__linux__`, as for R.
        linux: Option<String>,
        /// The version and the component.
        part: PartName,
        path: RPath,
    },
    /// A path in a repository of Python packages.
    Python(PythonPath),
}

impl RepoPath {
    /// Parses the segments after the snapshot; `linux` is the segment after `__linux__`. `None` for a directory that is
    /// opened in a browser: the directory of the snapshot, or of a part of Bioconductor.
    pub(super) fn parse(linux: Option<&str>, rest: &[&str]) -> Result<Option<RepoPath>, Failure> {
        if is_python(rest) {
            if linux.is_some() {
                return Err(Failure::not_found(
                    "addresses with __linux__ are for R packages; those of Python packages are \
                     /{repository}/{snapshot}/simple/",
                ));
            }
            let path = python::layout::parse(&rest.join("/"));
            let path = path.map_err(|error| Failure::not_found(error.to_string()))?;
            return Ok(Some(RepoPath::Python(path)));
        }
        let (part, rest) = match rest {
            [PACKAGES, below @ ..] => {
                let (part, rest) = bioconductor::split_path(below).ok_or_else(unknown_part)?;
                (Some(part), rest)
            }
            rest => (None, rest),
        };
        if let [] | [""] = rest {
            return Ok(None);
        }
        let path = layout::parse(&rest.join("/")).map_err(|e| Failure::not_found(e.to_string()))?;
        let linux = linux.map(str::to_owned);
        Ok(Some(match part {
            None => RepoPath::R { linux, path },
            Some(part) => RepoPath::Bioconductor { linux, part, path },
        }))
    }
}

/// Returns whether the first segments are those of a Python repository: `simple`, `pypi`, or `packages` followed by a
/// digest instead of a Bioconductor version, or with a letter instead of a part of Bioconductor.
fn is_python(rest: &[&str]) -> bool {
    match rest {
        [SIMPLE | JSON_API, ..] => true,
        [PACKAGES, id, _] => id.len() == 64,
        [PACKAGES, _, letter, _, _] => letter.len() == 1,
        _ => false,
    }
}

/// Returns the 404 failure for an unknown Bioconductor repository, such as `container-binaries`, which BiocManager
/// requests in a container and ignores on a 404.
fn unknown_part() -> Failure {
    let components = Component::ALL.map(Component::path).join(", ");
    Failure::not_found(format!(
        "Bioconductor has the repositories {components} below packages/{{version}}/, where a version is two numbers, \
         release or devel"
    ))
}
