//! The kinds of sources and repositories: the language of their packages, how packages are added, and the class of
//! storage that contains them.

use super::ids::SourceId;
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

struct Properties {
    label: &'static str,
    language: Language,
    storage_class: StorageClass,
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

    /// Returns whether its packages are uploaded or built here.
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

    /// Returns whether every database has exactly one source of this kind.
    pub fn is_built_in(self) -> bool {
        self.supply() == Supply::Mirror
    }
}

words! {
    /// The kinds of repository, spelled as in `rspm create repo --type`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum RepoKind {
        R = "r",
        /// Bioconductor versions, together with R sources.
        Bioconductor = "bioconductor",
        Python = "python",
    }
    else "repository type" in any case
}

impl RepoKind {
    /// Returns the word used by the public API and listings.
    pub fn label(self) -> &'static str {
        match self {
            RepoKind::R => "R",
            RepoKind::Bioconductor => "Bioconductor",
            RepoKind::Python => "Python",
        }
    }

    /// Returns the language of the sources that a repository of this kind may subscribe to.
    pub fn language(self) -> Language {
        match self {
            RepoKind::R | RepoKind::Bioconductor => Language::R,
            RepoKind::Python => Language::Python,
        }
    }
}

words! {
    /// The changes that a repository accepts, spelled as in `rspm create repo --changes`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum ChangePolicy {
        /// Changes of subscriptions; it also serves everything that its sources publish.
        #[default]
        Any = "any",
        /// Only promotions; between them, it serves a fixed state.
        Promotion = "promotion",
        /// Only promotions that a person other than the requester has approved.
        TwoPersons = "two-persons",
    }
    else "change policy"
}

words! {
    /// A language. Within one language, a name refers to the same package in all sources.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Language {
        R = "r",
        Python = "python",
    }
}

words! {
    /// The nine classes of variable data, each with its own location.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum StorageClass {
        /// A class of Posit Package Manager. It can be configured, but nothing is stored in it.
        Cache = "cache",
        Launcher = "launcher",
        Metrics = "metrics",
        /// Packages of local and git sources, and READMEs.
        Packages = "packages",
        Binaries = "binaries",
        /// Packages fetched from the CRAN mirror.
        Cran = "cran",
        /// Packages fetched from the Bioconductor mirror.
        Bioconductor = "bioconductor",
        Pypi = "pypi",
        /// Indexes of closed points, rules for system requirements, and advisories. Never evicted.
        Persistent = "persistent",
    }
}
