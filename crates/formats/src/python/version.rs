//! Versions (PEP 440), and invalid ones of old files on PyPI. The text identifies them; comparisons use the value.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Maximum length of a version, in bytes.
const MAX_VERSION: usize = 255;

/// A version as written. Comparisons (and `==`) are by value: `1.0` equals `1.0.0` and `v1`; the text is
/// [`Pep440Version::as_str`]. Texts that are not versions (`2004d`) precede all others, ordered by text.
#[derive(Clone, Debug)]
pub struct Pep440Version {
    text: Box<str>,
    value: Option<pep440_rs::Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version of a Python package (PEP 440); write for example 1.0, 2.1rc1 or 1.0.post2")]
pub struct BadPep440Version(String);

impl Pep440Version {
    /// Creates a version from any text, without the white space around it.
    pub fn lenient(text: &str) -> Pep440Version {
        let text = text.trim();
        let value = if text.len() <= MAX_VERSION { text.parse().ok() } else { None };
        Pep440Version { text: text.into(), value }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the version follows PEP 440.
    pub fn is_valid(&self) -> bool {
        self.value.is_some()
    }

    /// Returns the value; `None` for a text that is not a version.
    pub(super) fn value(&self) -> Option<&pep440_rs::Version> {
        self.value.as_ref()
    }

    /// Returns the normalized text: `1.0a1` for `v1.0-Alpha.1`. A text that is not a version is unchanged.
    pub fn normalized(&self) -> String {
        self.value.as_ref().map_or_else(|| self.text.to_string(), ToString::to_string)
    }

    /// Returns true for an alpha, beta, release candidate or development release, and for a text that is not a version.
    pub fn is_pre_release(&self) -> bool {
        self.value.as_ref().is_none_or(pep440_rs::Version::any_prerelease)
    }
}

impl FromStr for Pep440Version {
    type Err = BadPep440Version;

    fn from_str(text: &str) -> Result<Pep440Version, BadPep440Version> {
        let version = Pep440Version::lenient(text);
        if version.is_valid() { Ok(version) } else { Err(BadPep440Version(text.chars().take(120).collect())) }
    }
}

impl fmt::Display for Pep440Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Pep440Version {
    fn cmp(&self, other: &Pep440Version) -> Ordering {
        match (&self.value, &other.value) {
            (Some(a), Some(b)) => a.cmp(b),
            (None, None) => self.text.cmp(&other.text),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

impl PartialOrd for Pep440Version {
    fn partial_cmp(&self, other: &Pep440Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pep440Version {
    fn eq(&self, other: &Pep440Version) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pep440Version {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_in_the_specification() {
        let ordered = [
            "2004d",
            "2005k",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
            "1!0.1",
        ];
        for pair in ordered.windows(2) {
            assert!(Pep440Version::lenient(pair[0]) < Pep440Version::lenient(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal_and_have_one_normal_form() {
        for (text, normal) in [
            ("v1.0", "1.0"),
            (" 1.0-Alpha.1 ", "1.0a1"),
            ("1.0c1", "1.0rc1"),
            ("1.0-preview_3", "1.0rc3"),
            ("1.0-7", "1.0.post7"),
            ("1.0r", "1.0.post0"),
            ("2015.04.28", "2015.4.28"),
            ("1.0+Ubuntu-1_x", "1.0+ubuntu.1.x"),
            ("2007c", "2007rc0"),
            ("2009r", "2009.post0"),
            ("0!1", "1"),
        ] {
            let version = text.parse::<Pep440Version>().expect(text);
            assert_eq!(version.normalized(), normal, "{text}");
            assert_eq!(version, Pep440Version::lenient(normal), "{text}");
        }
        assert_eq!(Pep440Version::lenient("1.0"), Pep440Version::lenient("1.0.0"));
        assert_eq!(Pep440Version::lenient("1.0 ").as_str(), "1.0");
    }

    #[test]
    fn other_texts_are_not_versions() {
        let long = format!("1.{}", "0".repeat(300));
        for bad in
            ["", "2004d", "1.0.dev-r1", "1..0", "1.0+", "1.0+a..b", "french toast", "1.0\u{660}", &long]
        {
            assert!(bad.parse::<Pep440Version>().is_err(), "{bad:?}");
        }
        assert!(
            Pep440Version::lenient("2004d").is_pre_release()
                && Pep440Version::lenient("1rc1").is_pre_release()
        );
        assert!(!Pep440Version::lenient("1.0.post1").is_pre_release());
    }

    proptest! {
        #[test]
        fn order_is_total(
            a in "[0-9a-dr.+!-]{0,7}", b in "[0-9]\\.[0-9](a|rc|\\.post|\\.dev)?[0-9]?", c in "\\PC{0,5}",
        ) {
            let [a, b, c] = [a, b, c].map(|text| Pep440Version::lenient(&text));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            let mut three = [&a, &b, &c];
            three.sort();
            prop_assert!(three[0] <= three[2]);
            prop_assert_eq!(Pep440Version::lenient(&a.normalized()), a);
        }
    }
}
