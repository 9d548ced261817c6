//! The kinds of repositories, and the changes that a repository accepts. A repository is an ordered list of subscribed
//! sources under one name.

use std::fmt;
use std::str::FromStr;

use super::language::Language;

/// The kinds of repository, spelled as in `rspm create repo --type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoKind {
    /// R packages.
    R,
    /// Bioconductor versions, together with R sources.
    Bioconductor,
    /// Python packages.
    Python,
}

/// A word that names no kind of repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a repository type; known types are r, bioconductor, python")]
pub struct UnknownRepoKind(pub String);

impl RepoKind {
    /// Returns the word used by the command line and the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RepoKind::R => "r",
            RepoKind::Bioconductor => "bioconductor",
            RepoKind::Python => "python",
        }
    }

    /// Returns the word used by the public API and listings.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            RepoKind::R => "R",
            RepoKind::Bioconductor => "Bioconductor",
            RepoKind::Python => "Python",
        }
    }

    /// Returns the language of the sources that a repository of this kind may subscribe to.
    #[must_use]
    pub fn language(self) -> Language {
        match self {
            RepoKind::R | RepoKind::Bioconductor => Language::R,
            RepoKind::Python => Language::Python,
        }
    }
}

/// The changes that a repository accepts, spelled as in `rspm create repo --changes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChangePolicy {
    /// Changes of subscriptions; it also serves everything that its sources publish.
    #[default]
    Any,
    /// Only promotions; between them, it serves a fixed state.
    Promotion,
    /// Only promotions that a person other than the requester has approved.
    TwoPersons,
}

/// A word that names no change policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a change policy; the policies are any, promotion and two-persons")]
pub struct UnknownChangePolicy(pub String);

impl ChangePolicy {
    /// Every policy.
    pub const ALL: [ChangePolicy; 3] = [ChangePolicy::Any, ChangePolicy::Promotion, ChangePolicy::TwoPersons];

    /// Returns the word used by the command line and the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangePolicy::Any => "any",
            ChangePolicy::Promotion => "promotion",
            ChangePolicy::TwoPersons => "two-persons",
        }
    }
}

impl FromStr for ChangePolicy {
    type Err = UnknownChangePolicy;

    fn from_str(text: &str) -> Result<Self, UnknownChangePolicy> {
        let policy = ChangePolicy::ALL.into_iter().find(|policy| policy.as_str() == text);
        policy.ok_or_else(|| UnknownChangePolicy(text.chars().take(40).collect()))
    }
}

impl fmt::Display for ChangePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RepoKind {
    type Err = UnknownRepoKind;

    fn from_str(text: &str) -> Result<Self, UnknownRepoKind> {
        [RepoKind::R, RepoKind::Bioconductor, RepoKind::Python]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownRepoKind(text.chars().take(40).collect()))
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
