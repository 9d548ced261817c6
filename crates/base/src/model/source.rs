//! The kinds of sources, with what each can do: the language of its packages, and how they are added.

use std::fmt;
use std::str::FromStr;

use super::ids::SourceId;
use super::language::Language;
use super::storage_class::StorageClass;

/// The kinds of source, spelled as in `rspm create source --type`.
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
    /// R packages that administrators upload.
    Local,
    /// R packages built from git.
    Git,
    /// PyPI; built in, updated by sync.
    Pypi,
    /// Selected PyPI projects.
    CuratedPypi,
    /// Python packages that administrators upload.
    LocalPython,
    /// Python packages built from git.
    GitPython,
}

/// A word that names no kind of source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a source type; known types are {known}", known = SourceKind::ALL.map(SourceKind::as_str).join(", "))]
pub struct UnknownSourceKind(pub String);

/// The properties of a kind of source.
struct Properties {
    /// The word used by the command line and the tables.
    name: &'static str,
    /// The word shown in listings, as in Posit Package Manager.
    label: &'static str,
    /// The language of its packages.
    language: Language,
    /// The storage class of its packages, except for binaries.
    storage_class: StorageClass,
    /// The way in which packages are added to the source.
    supply: Supply,
}

/// The ways in which packages are added to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// From a mirror; the source is built in.
    Mirror,
    /// By uploads.
    Uploads,
    /// By builds of git repositories.
    Builds,
    /// By a definition that selects them from another source.
    Curated,
    /// As all packages of one state of another source.
    Snapshot,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [SourceKind; 10] = [
        SourceKind::Cran,
        SourceKind::CranSnapshot,
        SourceKind::CuratedCran,
        SourceKind::Bioconductor,
        SourceKind::Local,
        SourceKind::Git,
        SourceKind::Pypi,
        SourceKind::CuratedPypi,
        SourceKind::LocalPython,
        SourceKind::GitPython,
    ];

    fn properties(self) -> Properties {
        use Language::{Python, R};
        use StorageClass::{Bioconductor, Cran, Packages, Pypi};
        let (name, label, language, storage_class, supply) = match self {
            SourceKind::Cran => ("cran", "CRAN", R, Cran, Supply::Mirror),
            SourceKind::CranSnapshot => ("cran-snapshot", "CRAN Snapshot", R, Cran, Supply::Snapshot),
            SourceKind::CuratedCran => ("curated-cran", "Curated CRAN", R, Cran, Supply::Curated),
            SourceKind::Bioconductor => ("bioconductor", "Bioconductor", R, Bioconductor, Supply::Mirror),
            SourceKind::Local => ("local", "Local", R, Packages, Supply::Uploads),
            SourceKind::Git => ("git", "Git", R, Packages, Supply::Builds),
            SourceKind::Pypi => ("pypi", "PyPI", Python, Pypi, Supply::Mirror),
            SourceKind::CuratedPypi => ("curated-pypi", "Curated PyPI", Python, Pypi, Supply::Curated),
            SourceKind::LocalPython => ("local-python", "Local Python", Python, Packages, Supply::Uploads),
            SourceKind::GitPython => ("git-python", "Git Python", Python, Packages, Supply::Builds),
        };
        Properties { name, label, language, storage_class, supply }
    }

    /// Returns the word used by the command line and the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.properties().name
    }

    /// Returns the word shown in listings, as in Posit Package Manager.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.properties().label
    }

    /// Returns the language of its packages.
    #[must_use]
    pub fn language(self) -> Language {
        self.properties().language
    }

    /// Returns the storage class of its packages, except for binaries.
    #[must_use]
    pub fn storage_class(self) -> StorageClass {
        self.properties().storage_class
    }

    /// Returns the way in which packages are added to a source of this kind.
    #[must_use]
    pub fn supply(self) -> Supply {
        self.properties().supply
    }

    /// Returns true if its packages are uploaded or built here.
    #[must_use]
    pub fn is_own(self) -> bool {
        matches!(self.supply(), Supply::Uploads | Supply::Builds)
    }

    /// Returns the built-in source from which sources of this kind select their packages; `None` for other kinds.
    #[must_use]
    pub fn origin(self) -> Option<SourceId> {
        match self {
            SourceKind::CuratedCran | SourceKind::CranSnapshot => Some(SourceId::CRAN),
            SourceKind::CuratedPypi => Some(SourceId::PYPI),
            SourceKind::Cran
            | SourceKind::Bioconductor
            | SourceKind::Local
            | SourceKind::Git
            | SourceKind::Pypi
            | SourceKind::LocalPython
            | SourceKind::GitPython => None,
        }
    }

    /// Returns true if every database has exactly one source of this kind.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        self.supply() == Supply::Mirror
    }
}

impl FromStr for SourceKind {
    type Err = UnknownSourceKind;

    fn from_str(text: &str) -> Result<Self, UnknownSourceKind> {
        let kind = SourceKind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
        kind.ok_or_else(|| UnknownSourceKind(text.chars().take(40).collect()))
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
