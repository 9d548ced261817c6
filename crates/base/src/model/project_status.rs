//! The status of a project of an index.

use crate::words;

words! {
    /// The status of a project (PEP 792). An unknown status counts as `Active`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum ProjectStatus {
        #[default]
        Active = "active",
        /// No further uploads are expected.
        Archived = "archived",
        /// Unsafe: no file may be served.
        Quarantined = "quarantined",
        Deprecated = "deprecated",
    }
}

impl ProjectStatus {
    /// Returns the status of a word; [`ProjectStatus::Active`] for an unknown one.
    pub fn of_word(word: &str) -> ProjectStatus {
        ProjectStatus::parse(word.trim()).unwrap_or_default()
    }
}
