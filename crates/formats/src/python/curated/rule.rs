//! The rule of a curated source for a project: the files that are allowed. A rule is stored as text with one
//! alternative per line: version specifiers, then digests, each as `--hash=sha256:…`. An empty line allows all files.

use std::fmt;

use crate::python::specifier::{BadSpecifier, Specifiers};
use crate::python::version::Pep440Version;
use base::model::digest::Sha256;
use base::model::text::count_of;

/// The text before a digest.
const HASH: &str = "--hash=sha256:";

/// The rule for a project: a file is allowed if any alternative allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectRule {
    alternatives: Vec<Alternative>,
}

/// One alternative of a rule: versions and digests. A file must match both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The allowed versions; without a clause, all versions.
    versions: Specifiers,
    /// The allowed digests, sorted; empty for all files of these versions.
    sha256: Vec<Sha256>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProjectRule {
    #[error(transparent)]
    Specifier(#[from] BadSpecifier),
    #[error("'{0}' is not a digest of SHA-256")]
    Digest(String),
}

impl Alternative {
    /// Creates an alternative. White space and parentheses, as in old metadata, are removed from the specifiers.
    pub fn new(versions: &str, mut sha256: Vec<Sha256>) -> Result<Alternative, BadSpecifier> {
        let is_significant = |c: &char| !c.is_whitespace() && !matches!(c, '(' | ')');
        let versions: String = versions.chars().filter(is_significant).collect();
        sha256.sort_unstable();
        sha256.dedup();
        Ok(Alternative { versions: versions.trim_end_matches(',').parse()?, sha256 })
    }

    pub fn versions(&self) -> &Specifiers {
        &self.versions
    }

    /// Returns whether only certain files are allowed: those of one version, or with one of some digests.
    pub fn is_pinned(&self) -> bool {
        !self.sha256.is_empty() || self.versions.pin().is_some()
    }

    /// Returns the digests of the allowed files, sorted; empty for all files of the versions.
    pub fn digests(&self) -> &[Sha256] {
        &self.sha256
    }

    pub fn allows(&self, version: &Pep440Version, sha256: Sha256) -> bool {
        (self.sha256.is_empty() || self.sha256.binary_search(&sha256).is_ok())
            && self.versions.contains(version)
    }

    pub fn allows_all(&self) -> bool {
        self.versions.is_empty() && self.sha256.is_empty()
    }

    /// Returns the size of the specifiers and digests, in bytes.
    pub(super) fn size(&self) -> usize {
        self.versions.as_str().len() + self.sha256.len() * size_of::<Sha256>()
    }

    /// Returns an alternative that allows the versions that both `self` and `other` allow. It has the digests of
    /// `self`; if `self` has none, the digests of `other`.
    pub(super) fn restricted(&self, other: &Alternative) -> Result<Alternative, BadSpecifier> {
        let separator = if self.versions.is_empty() || other.versions.is_empty() { "" } else { "," };
        let sha256 = if self.sha256.is_empty() { &other.sha256 } else { &self.sha256 };
        Alternative::new(&format!("{}{separator}{}", self.versions, other.versions), sha256.clone())
    }

    fn parse(line: &str) -> Result<Alternative, BadProjectRule> {
        let mut words = line.split_whitespace().peekable();
        let versions = words.next_if(|word| !word.starts_with(HASH)).unwrap_or_default();
        let digest = |word: &str| {
            let hex = word.strip_prefix(HASH).unwrap_or_default();
            hex.parse::<Sha256>().map_err(|_| BadProjectRule::Digest(word.chars().take(100).collect()))
        };
        Ok(Alternative::new(versions, words.map(digest).collect::<Result<_, _>>()?)?)
    }
}

impl ProjectRule {
    pub fn parse(text: &str) -> Result<ProjectRule, BadProjectRule> {
        // `lines` would return no line for an empty text, which is a rule that allows all files.
        let alternatives = text.split('\n').map(Alternative::parse).collect::<Result<_, _>>()?;
        Ok(ProjectRule { alternatives })
    }

    /// Adds an alternative, unless the rule contains it.
    pub fn add(&mut self, alternative: Alternative) {
        if !self.alternatives.contains(&alternative) {
            self.alternatives.push(alternative);
        }
    }

    /// Restricts every alternative, as by a constraints file.
    pub fn restrict(&mut self, restriction: &Alternative) -> Result<(), BadSpecifier> {
        for alternative in &mut self.alternatives {
            *alternative = alternative.restricted(restriction)?;
        }
        Ok(())
    }

    pub fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }

    pub fn allows(&self, version: &Pep440Version, sha256: Sha256) -> bool {
        self.alternatives.iter().any(|alternative| alternative.allows(version, sha256))
    }

    pub fn allows_all(&self) -> bool {
        self.alternatives.iter().any(Alternative::allows_all)
    }

    /// Returns the lines of a requirements file that express this rule for a project.
    pub fn requirements(&self, project: &str) -> String {
        self.alternatives.iter().map(|alternative| format!("{project}{alternative}\n")).collect()
    }

    /// Returns a short description for tables: the versions, and the number of digests.
    pub fn summary(&self) -> String {
        let summary =
            |alternative: &Alternative| match (alternative.versions.as_str(), alternative.sha256.len()) {
                ("", 0) => "all versions".to_owned(),
                ("", count) => count_of(count, "digest", "digests"),
                (versions, 0) => versions.to_owned(),
                (versions, count) => format!("{versions} ({})", count_of(count, "digest", "digests")),
            };
        self.alternatives.iter().map(summary).collect::<Vec<_>>().join(" or ")
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.versions)?;
        self.sha256.iter().try_for_each(|digest| write!(f, " {HASH}{digest}"))
    }
}

impl fmt::Display for ProjectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{alternative}")?;
        }
        Ok(())
    }
}
