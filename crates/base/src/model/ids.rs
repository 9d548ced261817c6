//! Row ids. Each table has its own newtype, so that ids of different tables cannot be confused.

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
    /// A tree: a package list with its own history, such as CRAN's `src/contrib`.
    TreeId
);
id!(RepoId);
id!(
    /// A package name in one language.
    PackageId
);
id!(
    /// One version of a package from one source, in one revision.
    ReleaseId
);
id!(
    /// A file of a release, such as a source package or a binary.
    FileId
);
id!(TokenId);
id!(
    /// A transaction. Ids increase in the order of publication. To select a state, compare times, not ids.
    TxId
);
id!(
    /// The number of a step of a tree, without gaps. The first publish has number 1; lower numbers are steps of a
    /// back-fill. In the tree of an index of Python packages, it is a time in microseconds since the epoch.
    Seq
);

impl SourceId {
    /// The built-in CRAN source. The number is fixed, because old clients request `/__api__/sources/1/transactions`.
    pub const CRAN: SourceId = SourceId(1);
    pub const BIOCONDUCTOR: SourceId = SourceId(2);
    pub const PYPI: SourceId = SourceId(3);
    /// The mirrors: every database has exactly these.
    pub const MIRRORS: [SourceId; 3] = [SourceId::CRAN, SourceId::BIOCONDUCTOR, SourceId::PYPI];

    pub fn is_mirror(self) -> bool {
        SourceId::MIRRORS.contains(&self)
    }
}

impl Seq {
    /// The end of a life that has not ended: 2^62, which is greater than every step.
    pub const OPEN: Seq = Seq(1 << 62);

    /// Returns the number of the next step.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}
