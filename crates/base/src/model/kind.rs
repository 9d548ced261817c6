//! Kinds of sources and repositories: language of the packages, how they are added, and their class of storage.

use super::ids::SourceId;
use super::text::phrase;
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
    prepared { Sample = "sample", LocalSample = "local-sample", }
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
            #[cfg(debug_assertions)]
            SourceKind::Sample => ("Sample", Language::Sample, Packages, Supply::Mirror),
            #[cfg(debug_assertions)]
            SourceKind::LocalSample => ("Local Sample", Language::Sample, Packages, Supply::Uploads),
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
        match self.supply() {
            Supply::Curated | Supply::Snapshot => Some(self.language().index()),
            Supply::Mirror | Supply::Uploads | Supply::Builds => None,
        }
    }

    /// Returns the kind of a language's sources to which packages are added in a way; of several, the first. `None` if
    /// the language has no such sources.
    pub fn find(language: Language, supply: Supply) -> Option<SourceKind> {
        SourceKind::ALL.into_iter().find(|kind| (kind.language(), kind.supply()) == (language, supply))
    }

    /// Returns the kind of a built-in source; `None` for other sources.
    pub fn of_built_in(source: SourceId) -> Option<SourceKind> {
        if source == SourceId::BIOCONDUCTOR {
            return Some(SourceKind::Bioconductor);
        }
        let language = Language::ALL.into_iter().find(|language| language.index() == source);
        language.map(Language::mirror)
    }

    /// Returns the words of some kinds in a sentence: `git or git-python`.
    pub fn phrase(conjunction: &str, is_named: impl Fn(SourceKind) -> bool) -> String {
        let named = SourceKind::ALL.into_iter().filter(|kind| kind.is_listed() && is_named(*kind));
        let words: Vec<&str> = named.map(SourceKind::as_str).collect();
        phrase(&words, conjunction)
    }

    pub fn layout(self) -> Layout {
        self.language().layout()
    }

    /// Returns whether it is an index with one page per project: projects are known before their files.
    pub fn is_project_index(self) -> bool {
        self.is_built_in() && self.layout() == Layout::Projects
    }

    /// Returns whether its packages are selected from a list, such as CRAN's, or are all of it.
    pub fn selects_from_lists(self) -> bool {
        self.origin().is_some() && self.layout() == Layout::Lists
    }

    /// Returns whether it has one list of packages per version of Bioconductor, and per repository of that version.
    pub fn has_parts(self) -> bool {
        self == SourceKind::Bioconductor
    }

    /// Returns whether its projects are those of such an index or selected from them: their versions are known only after
    /// a request.
    pub fn is_of_project_index(self) -> bool {
        self.layout() == Layout::Projects && !self.is_own()
    }

    /// Returns whether `rspm backfill` can read its earlier states.
    pub fn is_backfillable(self) -> bool {
        self == SourceKind::Cran
    }

    /// Returns whether every database has exactly one source of this kind.
    pub fn is_built_in(self) -> bool {
        self.supply() == Supply::Mirror
    }
}

words! {
    /// The kinds of repository, spelled as in `rspm create repo --type`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum RepoKind {
        /// The kind of a repository that is created without a type, and in responses that need a kind without a repository.
        #[default]
        R = "r",
        /// Bioconductor versions, together with R sources.
        Bioconductor = "bioconductor",
        Python = "python",
    }
    prepared { Sample = "sample", }
    else "repository type" in any case
}

struct RepoProperties {
    label: &'static str,
    language: Language,
}

impl RepoKind {
    fn properties(self) -> RepoProperties {
        let (label, language) = match self {
            RepoKind::R => ("R", Language::R),
            RepoKind::Bioconductor => ("Bioconductor", Language::R),
            RepoKind::Python => ("Python", Language::Python),
            #[cfg(debug_assertions)]
            RepoKind::Sample => ("Sample", Language::Sample),
        };
        RepoProperties { label, language }
    }

    /// Returns the word used by the public API and listings.
    pub fn label(self) -> &'static str {
        self.properties().label
    }

    /// Returns the language of the sources that a repository of this kind may subscribe to.
    pub fn language(self) -> Language {
        self.properties().language
    }

    /// Returns the kind of the built-in source of its packages.
    pub fn mirror(self) -> SourceKind {
        if self.has_parts() { SourceKind::Bioconductor } else { self.language().mirror() }
    }

    pub fn layout(self) -> Layout {
        self.language().layout()
    }

    /// Returns whether it is one list of packages, whose address is that of the snapshot.
    pub fn is_one_list(self) -> bool {
        self.layout() == Layout::Lists && !self.has_parts()
    }

    /// Returns whether it has one list of packages per version of Bioconductor, below `packages/{version}/`.
    pub fn has_parts(self) -> bool {
        self == RepoKind::Bioconductor
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
    prepared { Sample = "sample", }
}

/// The form of the index of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One list of all packages with their fields, as of R.
    Lists,
    /// A list of names, and one page for each project with all of its files, as of Python.
    Projects,
}

struct LanguageProperties {
    label: &'static str,
    layout: Layout,
    mirror: SourceKind,
    index: SourceId,
}

impl Language {
    fn properties(self) -> LanguageProperties {
        let (label, layout, mirror, index) = match self {
            Language::R => ("R", Layout::Lists, SourceKind::Cran, SourceId::CRAN),
            Language::Python => ("Python", Layout::Projects, SourceKind::Pypi, SourceId::PYPI),
            #[cfg(debug_assertions)]
            Language::Sample => ("Sample", Layout::Projects, SourceKind::Sample, SourceId(-1)),
        };
        LanguageProperties { label, layout, mirror, index }
    }

    /// Returns the word in texts: `Python`.
    pub fn label(self) -> &'static str {
        self.properties().label
    }

    pub fn layout(self) -> Layout {
        self.properties().layout
    }

    /// Returns the built-in source of the language's public index.
    pub fn index(self) -> SourceId {
        self.properties().index
    }

    /// Returns the kind of this source, whose label is the name of the index.
    pub fn mirror(self) -> SourceKind {
        self.properties().mirror
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
