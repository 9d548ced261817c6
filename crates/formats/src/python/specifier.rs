//! Version specifiers (PEP 440), such as `>=1.0,!=1.3.*`, and the versions that they contain. Pre-releases are treated
//! like other versions.
//!
//! The comparison is implemented here because `pep440_rs` differs from the specification: its `==1.1.*` contains 1,
//! and its `<1.0a2` does not contain 1.0a1.

use std::fmt;
use std::str::FromStr;

use super::version::Pep440Version;
use pep440_rs::Version as Value;

/// Maximum length of a list of specifiers, in bytes.
const MAX_SPECIFIERS: usize = 16 << 10;

/// A list of specifiers as written; a version is contained if every clause contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specifiers {
    text: Box<str>,
    clauses: Vec<Clause>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{clause}' is not a version specifier (PEP 440); write for example >=1.0, ==2.1.* or ~=3.4")]
pub struct BadSpecifier {
    clause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpecifierOperator {
    Compatible,
    Equal,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Less,
    Greater,
    Arbitrary,
}

/// Operators, longer ones first.
const OPERATORS: [(&str, SpecifierOperator); 8] = [
    ("===", SpecifierOperator::Arbitrary),
    ("~=", SpecifierOperator::Compatible),
    ("==", SpecifierOperator::Equal),
    ("!=", SpecifierOperator::NotEqual),
    ("<=", SpecifierOperator::LessEqual),
    (">=", SpecifierOperator::GreaterEqual),
    ("<", SpecifierOperator::Less),
    (">", SpecifierOperator::Greater),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Clause {
    Compare(SpecifierOperator, Value),
    /// `==1.2.*`, or `!=1.2.*` if `false`.
    Prefix(bool, Value),
    /// `===text`, and `==text` if the text is not a version.
    Text(Box<str>),
}

impl Specifiers {
    /// Parses like [`Specifiers::from_str`], but accepts the forms of old metadata: `>=3.6.*` means `>=3.6`. `None` for
    /// a text that is not a list of specifiers; callers then restrict nothing.
    pub fn lenient(text: &str) -> Option<Specifiers> {
        if text.len() > MAX_SPECIFIERS {
            return None;
        }
        let clauses = clause_texts(text).map(|clause| parse_lenient(clause).ok());
        Some(Specifiers { text: text.trim().into(), clauses: clauses.collect::<Option<_>>()? })
    }

    /// Returns the text, without white space around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether there is no clause, so that every version is contained.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Returns whether no clause compares with a text that is not a version, such as `==2004d`, which
    /// [`Specifiers::from_str`] accepts because old projects have such versions.
    pub fn has_only_versions(&self) -> bool {
        clause_texts(&self.text).all(|clause| match split_operator(clause) {
            Some((SpecifierOperator::Equal, text)) => text.ends_with(".*") || value(text).is_some(),
            _ => true,
        })
    }

    /// Returns whether a clause is `===` and a text that is not a version.
    pub fn has_arbitrary_text(&self) -> bool {
        let is_text = |(operator, text)| operator == SpecifierOperator::Arbitrary && value(text).is_none();
        clause_texts(&self.text).filter_map(split_operator).any(is_text)
    }

    /// Returns whether every clause contains the version; an invalid one only if each clause is that exact text.
    pub fn contains(&self, version: &Pep440Version) -> bool {
        self.clauses.iter().all(|clause| clause.contains(version))
    }

    /// Returns the version of a clause `==1.2.3` or `===1.2.3`; no other version can be contained.
    pub fn pin(&self) -> Option<Pep440Version> {
        self.clauses.iter().find_map(|clause| match clause {
            Clause::Compare(SpecifierOperator::Equal, value) => {
                Some(Pep440Version::lenient(&value.to_string()))
            }
            Clause::Text(text) => Some(Pep440Version::lenient(text)),
            _ => None,
        })
    }
}

impl FromStr for Specifiers {
    type Err = BadSpecifier;

    /// Parses clauses separated by commas, which may be in parentheses as in old metadata.
    fn from_str(text: &str) -> Result<Specifiers, BadSpecifier> {
        if text.len() > MAX_SPECIFIERS {
            return Err(bad(text));
        }
        let clauses = clause_texts(text).map(parse_clause).collect::<Result<_, _>>()?;
        Ok(Specifiers { text: text.trim().into(), clauses })
    }
}

impl fmt::Display for Specifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bad(clause: &str) -> BadSpecifier {
    BadSpecifier { clause: clause.chars().take(120).collect() }
}

fn clause_texts(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    inner.split(',').map(str::trim).filter(|clause| !clause.is_empty())
}

fn split_operator(clause: &str) -> Option<(SpecifierOperator, &str)> {
    OPERATORS.iter().find_map(|(text, operator)| Some((*operator, clause.strip_prefix(text)?.trim())))
}

fn value(text: &str) -> Option<Value> {
    Pep440Version::lenient(text).value().cloned()
}

fn parse_clause(clause: &str) -> Result<Clause, BadSpecifier> {
    let (operator, text) = split_operator(clause).ok_or_else(|| bad(clause))?;
    let is_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == ';' || c == ')');
    if !is_word {
        return Err(bad(clause));
    }
    let result = match (operator, text.strip_suffix(".*")) {
        (SpecifierOperator::Arbitrary, _) => Some(Clause::Text(text.into())),
        (SpecifierOperator::Equal | SpecifierOperator::NotEqual, Some(prefix)) => value(prefix)
            .filter(is_release)
            .map(|value| Clause::Prefix(operator == SpecifierOperator::Equal, value)),
        // Old projects have versions that do not follow PEP 440, and requirements pin them.
        (SpecifierOperator::Equal, None) if value(text).is_none() && text.bytes().all(is_legacy_byte) => {
            Some(Clause::Text(text.into()))
        }
        (SpecifierOperator::Compatible, None) => value(text)
            .filter(|value| !value.is_local() && value.release().len() > 1)
            .map(|value| Clause::Compare(operator, value)),
        (SpecifierOperator::Equal | SpecifierOperator::NotEqual, None) => {
            value(text).map(|v| Clause::Compare(operator, v))
        }
        (_, None) => value(text).filter(|v| !v.is_local()).map(|v| Clause::Compare(operator, v)),
        (_, Some(_)) => None,
    };
    result.ok_or_else(|| bad(clause))
}

/// Returns whether the version has only epoch and release.
fn is_release(value: &Value) -> bool {
    !value.is_local() && !value.any_prerelease() && !value.is_post()
}

fn is_legacy_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+' | b'!')
}

fn parse_lenient(clause: &str) -> Result<Clause, BadSpecifier> {
    let without_star =
        clause.strip_suffix(".*").filter(|_| !clause.starts_with("==") && !clause.starts_with("!="));
    parse_clause(clause).or_else(|error| without_star.map_or(Err(error), parse_clause))
}

impl Clause {
    fn contains(&self, version: &Pep440Version) -> bool {
        let (operator, this) = match self {
            Clause::Text(text) => return text.eq_ignore_ascii_case(version.as_str()),
            Clause::Prefix(expected, prefix) => {
                return version.value().is_some_and(|other| has_prefix(other, prefix) == *expected);
            }
            Clause::Compare(operator, this) => (*operator, this),
        };
        let Some(value) = version.value() else { return false };
        let public = value.clone().without_local();
        let other = if this.is_local() { value } else { &public };
        match operator {
            SpecifierOperator::Equal => other == this,
            SpecifierOperator::NotEqual => other != this,
            SpecifierOperator::LessEqual => public <= *this,
            SpecifierOperator::GreaterEqual => public >= *this,
            // Excludes pre-releases of the version, unless the version is a pre-release itself.
            SpecifierOperator::Less if this.any_prerelease() => value < this,
            SpecifierOperator::Less => *value < this.clone().with_dev(Some(0)),
            // Excludes local versions of the version, and its post-releases unless it is one itself.
            SpecifierOperator::Greater => {
                let without_post = || public.clone().with_post(None).with_dev(None);
                public > *this && (this.is_post() || !value.is_post() || without_post() != *this)
            }
            SpecifierOperator::Compatible => {
                let length = this.release().len().saturating_sub(1);
                public >= *this
                    && public.epoch() == this.epoch()
                    && (0..length).all(|at| release_at(&public, at) == release_at(this, at))
            }
            SpecifierOperator::Arbitrary => false,
        }
    }
}

fn release_at(value: &Value, at: usize) -> u64 {
    value.release().get(at).copied().unwrap_or(0)
}

/// Returns whether `version`'s release number, padded with zeros, begins with that of `prefix`, in the same epoch.
fn has_prefix(version: &Value, prefix: &Value) -> bool {
    let mut components = 0..prefix.release().len();
    version.epoch() == prefix.epoch()
        && components.all(|at| release_at(version, at) == release_at(prefix, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(specifiers: &str, version: &str) -> bool {
        specifiers.parse::<Specifiers>().expect(specifiers).contains(&Pep440Version::lenient(version))
    }

    #[test]
    fn versions_are_contained_as_in_the_specification() {
        for (specifiers, version) in [
            ("", "1.0"),
            ("~=2.2", "2.3"),
            ("~=2.2", "2.2.post3"),
            ("~=1.4.5", "1.4.9"),
            ("~=1.4.5a4", "1.4.5"),
            ("==1.1", "1.1.0"),
            ("==1.1.*", "1.1a1"),
            ("==1.0", "1.0+local"),
            ("==1.0+a", "1.0+A"),
            ("!=1.1", "1.1.post1"),
            ("!=1.1.*", "1.2"),
            ("<=1.0", "1.0+local"),
            ("<1.0a2", "1.0a1"),
            (">1.0", "1.1.dev1"),
            (">1.0.post1", "1.0.post2"),
            (">=1.0", "1.0.post1"),
            ("===1.0", "1.0"),
            ("<2", "2!0.1".trim_start_matches("2!")),
            ("(>=1.0,<2)", "1.5"),
            (">=1.0,", "1.0"),
            ("==2004d", "2004D"),
            ("!=1.0.*,>=0.9", "0.9"),
            (">1", "1!0"),
            ("<1!1", "1.0rc1"),
            ("<1.0.post1", "1.0rc1"),
            (">1.0a1", "1.0.post1"),
            (">1.0a1", "1.0+x"),
        ] {
            assert!(contains(specifiers, version), "{specifiers} {version}");
        }
        for (specifiers, version) in [
            ("~=2.2", "3.0"),
            ("~=2.2.0", "2.3"),
            ("==1.1.*", "1"),
            ("==1.1", "1.1.post1"),
            ("==1.0+a", "1.0"),
            ("<1.0", "1.0rc1"),
            ("<1.0", "1.0.dev1"),
            (">1.0", "1.0.post1"),
            (">1.0", "1.0+local"),
            ("===1.0", "1.0.0"),
            (">=1.0", "2004d"),
            ("!=1.0", "2004d"),
            ("==1.1.*", "1!1.1"),
            ("~=1.1", "1!1.1"),
        ] {
            assert!(!contains(specifiers, version), "{specifiers} {version}");
        }
    }

    #[test]
    fn other_texts_are_refused_by_clause() {
        for bad in [
            "1.0",
            ">=",
            "=>1.0",
            "~=1",
            ">=1.0.*",
            ">=1.0+local",
            "==1.0+a.*",
            "==1.0a1.*",
            "!=1.0.post1.*",
            ">=1.0 <2",
            "==1.0;",
            "=1",
            "~1",
        ] {
            assert!(bad.parse::<Specifiers>().is_err(), "{bad}");
        }
        let error = ">=1.0, =>2".parse::<Specifiers>().expect_err("wrong").to_string();
        assert!(error.starts_with("'=>2' is not a version specifier"), "{error}");
    }

    #[test]
    fn old_metadata_is_read_leniently() {
        let specifiers = Specifiers::lenient(">=3.6.*, !=3.7.*").expect("lenient");
        assert!(
            specifiers.contains(&Pep440Version::lenient("3.6"))
                && !specifiers.contains(&Pep440Version::lenient("3.7.1"))
        );
        assert_eq!(Specifiers::lenient("3.6+ only"), None);
        assert_eq!("==1.2".parse::<Specifiers>().expect("a pin").pin(), Some(Pep440Version::lenient("1.2")));
        assert_eq!(">=1.2".parse::<Specifiers>().expect("no pin").pin(), None);
    }

    proptest! {
        #[test]
        fn operators_agree_with_the_order(
            a in "[0-3]\\.[0-3](a1|rc1|\\.post1|\\.dev1)?", b in "[0-3]\\.[0-3](\\.0)?(a1|rc1|\\.post1|\\.dev1)?",
        ) {
            let (x, y) = (Pep440Version::lenient(&a), Pep440Version::lenient(&b));
            for (operator, expected) in [("==", x == y), ("!=", x != y), ("<=", x <= y), (">=", x >= y)] {
                prop_assert_eq!(contains(&format!("{operator}{b}"), &a), expected, "{} {} {}", a, operator, b);
            }
            let [less, greater] = ["<", ">"].map(|operator| contains(&format!("{operator}{b}"), &a));
            prop_assert!((x < y || !less) && (x > y || !greater));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", version in "\\PC{0,10}") {
            if let Some(specifiers) = Specifiers::lenient(&text) {
                let _ = specifiers.contains(&Pep440Version::lenient(&version));
            }
        }
    }
}
