//! The kinds of sources, with what each can do: the language of its packages, and how they are added.

use super::ids::SourceId;
use super::language::Language;
use super::storage_class::StorageClass;
use crate::words;

words! {
    /// The kinds of source, spelled as in `rspm create source --type`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum SourceKind {
        /// CRAN or a CRAN-like mirror; built in, updated by sync.
        Cran = "cran",
        /// All of CRAN at one date.
        CranSnapshot = "cran-snapshot",
        /// Selected CRAN packages with their dependencies.
        CuratedCran = "curated-cran",
        /// Bioconductor; built in, updated by sync.
        Bioconductor = "bioconductor",
        /// R packages that administrators upload.
        Local = "local",
        /// R packages built from git.
        Git = "git",
        /// PyPI; built in, updated by sync.
        Pypi = "pypi",
        CuratedPypi = "curated-pypi",
        /// Python packages that administrators upload.
        LocalPython = "local-python",
        /// Python packages built from git.
        GitPython = "git-python",
    }
    else "source type" in any case
}

/// The properties of a kind of source.
struct Properties {
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
    Uploads,
    /// By builds of git repositories.
    Builds,
    /// By a definition that selects them from another source.
    Curated,
    /// As all packages of one state of another source.
    Snapshot,
}

impl SourceKind {
    fn properties(self) -> Properties {
        use Language::{Python, R};
        use StorageClass::{Bioconductor, Cran, Packages, Pypi};
        let (label, language, storage_class, supply) = match self {
            SourceKind::Cran => ("CRAN", R, Cran, Supply::Mirror),
            SourceKind::CranSnapshot => ("CRAN Snapshot", R, Cran, Supply::Snapshot),
            SourceKind::CuratedCran => ("Curated CRAN", R, Cran, Supply::Curated),
            SourceKind::Bioconductor => ("Bioconductor", R, Bioconductor, Supply::Mirror),
            SourceKind::Local => ("Local", R, Packages, Supply::Uploads),
            SourceKind::Git => ("Git", R, Packages, Supply::Builds),
            SourceKind::Pypi => ("PyPI", Python, Pypi, Supply::Mirror),
            SourceKind::CuratedPypi => ("Curated PyPI", Python, Pypi, Supply::Curated),
            SourceKind::LocalPython => ("Local Python", Python, Packages, Supply::Uploads),
            SourceKind::GitPython => ("Git Python", Python, Packages, Supply::Builds),
        };
        Properties { label, language, storage_class, supply }
    }

    /// Returns the word shown in listings, as in Posit Package Manager.
    pub fn label(self) -> &'static str {
        self.properties().label
    }

    /// Returns the language of its packages.
    pub fn language(self) -> Language {
        self.properties().language
    }

    /// Returns the storage class of its packages, except for binaries.
    pub fn storage_class(self) -> StorageClass {
        self.properties().storage_class
    }

    /// Returns the way in which packages are added to a source of this kind.
    pub fn supply(self) -> Supply {
        self.properties().supply
    }

    /// Returns true if its packages are uploaded or built here.
    pub fn is_own(self) -> bool {
        matches!(self.supply(), Supply::Uploads | Supply::Builds)
    }

    /// Returns the built-in source from which sources of this kind select their packages; `None` for other kinds.
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
    pub fn is_built_in(self) -> bool {
        self.supply() == Supply::Mirror
    }
}
