//! Row identities. One newtype each, so that a tree can never be asked for with a repository's number.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A source; CRAN is 1, Bioconductor 2, PyPI 3, created by the first migration.
    SourceId
);
id!(
    /// One package list that moves by itself (CRAN's `src/contrib` is one).
    TreeId
);
id!(
    /// A repository.
    RepoId
);
id!(
    /// A package name in one language.
    PackageId
);
id!(
    /// One version of a package from one source, in one revision.
    ReleaseId
);
id!(
    /// A file of a release: the tarball, or one binary build.
    FileId
);
id!(
    /// A transaction: a label in order of publication, never compared to find a state.
    TxId
);
id!(
    /// The number of a step of one tree. Dense and signed: history can be prepended below the first.
    Seq
);

impl SourceId {
    /// The built-in CRAN source. Old clients ask `/__api__/sources/1/transactions` for it.
    pub const CRAN: SourceId = SourceId(1);
    /// The built-in Bioconductor source.
    pub const BIOCONDUCTOR: SourceId = SourceId(2);
    /// The built-in PyPI source.
    pub const PYPI: SourceId = SourceId(3);
}

impl Seq {
    /// The end of a life that has not ended, and the largest sequence number there is: 2^62.
    pub const OPEN: Seq = Seq(1 << 62);

    /// The step after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}
