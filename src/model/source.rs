//! The kinds of source: where packages come from.

use std::fmt;
use std::str::FromStr;

use super::language::Language;

/// The kinds of source, spelt as `rspm create source --type` spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// CRAN or a CRAN-like mirror; built in, updated by sync.
    Cran,
    /// All of CRAN at one date.
    CranSnapshot,
    /// Selected CRAN packages with their dependencies.
    CuratedCran,
    /// Bioconductor; built in, updated by sync.
    Bioconductor,
    /// R packages an administrator adds.
    Local,
    /// R packages built from git.
    Git,
    /// PyPI; built in, updated by sync.
    Pypi,
    /// Selected PyPI projects.
    CuratedPypi,
    /// Python packages an administrator adds.
    LocalPython,
    /// Python packages built from git.
    GitPython,
}

/// A word that names no kind of source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a source type; known types are {known}", known = SourceKind::NAMES.map(|(_, name)| name).join(", "))]
pub struct UnknownSourceKind(pub String);

impl SourceKind {
    const NAMES: [(SourceKind, &'static str); 10] = [
        (SourceKind::Cran, "cran"),
        (SourceKind::CranSnapshot, "cran-snapshot"),
        (SourceKind::CuratedCran, "curated-cran"),
        (SourceKind::Bioconductor, "bioconductor"),
        (SourceKind::Local, "local"),
        (SourceKind::Git, "git"),
        (SourceKind::Pypi, "pypi"),
        (SourceKind::CuratedPypi, "curated-pypi"),
        (SourceKind::LocalPython, "local-python"),
        (SourceKind::GitPython, "git-python"),
    ];

    /// Returns the word used by the command line and the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Returns the word shown in listings, the same as in the original product.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            SourceKind::Cran => "CRAN",
            SourceKind::CranSnapshot => "CRAN Snapshot",
            SourceKind::CuratedCran => "Curated CRAN",
            SourceKind::Bioconductor => "Bioconductor",
            SourceKind::Local => "Local",
            SourceKind::Git => "Git",
            SourceKind::Pypi => "PyPI",
            SourceKind::CuratedPypi => "Curated PyPI",
            SourceKind::LocalPython => "Local Python",
            SourceKind::GitPython => "Git Python",
        }
    }

    /// Returns the language of its packages.
    #[must_use]
    pub fn language(self) -> Language {
        match self {
            SourceKind::Cran
            | SourceKind::CranSnapshot
            | SourceKind::CuratedCran
            | SourceKind::Bioconductor
            | SourceKind::Local
            | SourceKind::Git => Language::R,
            SourceKind::Pypi | SourceKind::CuratedPypi | SourceKind::LocalPython | SourceKind::GitPython => {
                Language::Python
            }
        }
    }
}

impl FromStr for SourceKind {
    type Err = UnknownSourceKind;

    fn from_str(text: &str) -> Result<Self, UnknownSourceKind> {
        let found = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(kind, _)| *kind).ok_or_else(|| UnknownSourceKind(text.chars().take(40).collect()))
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
