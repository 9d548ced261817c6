//! A version with the order of its language.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::python::version::Pep440Version;
use crate::r::version::{compare, is_numeric};

/// A version with the order of its language, also of texts that are none. Versions of two languages are never compared.
#[derive(Clone, Debug)]
pub enum Version<'a> {
    /// Numbers between `.` and `-`, as of R.
    Numbers(Cow<'a, str>),
    Python(Pep440Version),
}

impl Version<'_> {
    /// Returns the text as it was read; without the white space around it for Python.
    pub fn as_str(&self) -> &str {
        match self {
            Version::Numbers(text) => text,
            Version::Python(version) => version.as_str(),
        }
    }

    pub fn into_owned(self) -> Version<'static> {
        match self {
            Version::Numbers(text) => Version::Numbers(Cow::Owned(text.into_owned())),
            Version::Python(version) => Version::Python(version),
        }
    }

    /// Returns whether two versions are the same. Valid versions are compared by value, others by text.
    pub fn is_same(&self, other: &Version<'_>) -> bool {
        match (self, other) {
            (Version::Numbers(a), Version::Numbers(b)) => {
                a == b || (is_numeric(a) && is_numeric(b) && compare(a, b).is_eq())
            }
            (Version::Python(_), _) | (Version::Numbers(_), Version::Python(_)) => self == other,
        }
    }

    /// Returns whether the text is a version of its language.
    pub fn is_valid(&self) -> bool {
        match self {
            Version::Numbers(text) => is_numeric(text),
            Version::Python(version) => version.is_valid(),
        }
    }

    /// Returns true for a version that installers choose only if there is no other, such as a release candidate.
    pub fn is_pre_release(&self) -> bool {
        match self {
            Version::Numbers(_) => false,
            Version::Python(version) => version.is_pre_release(),
        }
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Version<'_>) -> Ordering {
        match (self, other) {
            (Version::Numbers(a), Version::Numbers(b)) => compare(a, b),
            (Version::Python(a), Version::Python(b)) => a.cmp(b),
            (Version::Numbers(_), Version::Python(_)) => Ordering::Less,
            (Version::Python(_), Version::Numbers(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Version<'_>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Version<'_>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language;
    use base::model::kind::Language;

    #[test]
    fn valid_versions_are_equal_by_value_and_others_by_text() {
        let is_same =
            |language, a, b| language::of(language).version(a).is_same(&language::of(language).version(b));
        for (a, b) in [("0.1-8", "0.1.8"), ("1.2", "01.2"), ("1", "1")] {
            assert!(is_same(Language::R, a, b), "{a} {b}");
        }
        for (a, b) in [("1.0", "1"), ("1.0a", "1.0.a"), ("1.10", "1.1"), ("1.0 ", "1.0")] {
            assert!(!is_same(Language::R, a, b), "{a} {b}");
        }
        for (a, b) in [("1.0", "1"), ("1.0rc1", "1.0.RC.1"), ("v1.0", "1.0.0"), ("2004d", "2004d")] {
            assert!(is_same(Language::Python, a, b), "{a} {b}");
        }
        for (a, b) in [("1.10", "1.1"), ("2004d", "2004D"), ("1.0+x", "1.0"), ("1!1.0", "1.0")] {
            assert!(!is_same(Language::Python, a, b), "{a} {b}");
        }
    }

    #[test]
    fn each_language_has_its_own_order() {
        let assert_sorted = |language, versions: &[&str]| {
            for pair in versions.windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|text| language::of(language).version(text));
                assert_eq!([a.cmp(&b), b.cmp(&a)], [Ordering::Less, Ordering::Greater], "{pair:?}");
            }
        };
        assert_sorted(Language::R, &["0.9", "1.0", "1.0-1", "1.2", "1.10", "2"]);
        assert_sorted(
            Language::Python,
            &["2004d", "0.9", "1.0.dev1", "1.0a1", "1.0", "1.0.post1", "1.10", "1!0.1"],
        );
    }
}
