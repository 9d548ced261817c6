//! A file of a bundle that has a problem.

/// The problem of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Problem {
    /// Its contents have changed.
    Damaged,
    /// It does not exist.
    Missing,
    /// The account that owns the bundle cannot read it.
    Unreadable,
    /// Nothing refers to it.
    Extra,
}

impl Problem {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Problem::Damaged => "damaged",
            Problem::Missing => "missing",
            Problem::Unreadable => "unreadable",
            Problem::Extra => "extra",
        }
    }
}

/// A file with a problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Relative to the bundle.
    pub(super) file: String,
    pub(super) problem: Problem,
    /// Details and the remedy.
    pub(super) text: String,
}
