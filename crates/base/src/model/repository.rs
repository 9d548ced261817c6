//! The kinds of repositories, and the changes that a repository accepts. A repository is an ordered list of subscribed
//! sources under one name.

use super::language::Language;
use crate::words;

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
