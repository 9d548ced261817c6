//! A file of a bundle that has a problem.

use base::words;

words! {
    /// The problem of a file.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Problem {
        /// The contents of the file have changed.
        Damaged = "damaged",
        /// The file does not exist.
        Missing = "missing",
        /// The account that owns the bundle cannot read the file.
        Unreadable = "unreadable",
        /// Nothing in the bundle refers to the file.
        Extra = "extra",
    }
}

/// A file with a problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Path relative to the bundle's directory.
    pub(super) file: String,
    pub(super) problem: Problem,
    pub(super) text: String,
}
