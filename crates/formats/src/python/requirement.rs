//! Requirements: `name[extra] >=1,<2 ; marker` or `name @ url ; marker` (PyPA: dependency specifiers, PEP 508).
//!
//! The crate `pep508_rs` is not used: it keeps every marker that it parses in memory until the process ends, and its
//! development continues in an internal crate of uv.

use std::fmt;

use super::marker::{BadMarker, Marker};
use super::name;
use super::specifier::{BadSpecifier, Specifiers};
use base::model::project_name::{BadProjectName, ProjectName};

/// Maximum length of a requirement, in bytes.
const MAX_REQUIREMENT: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub name: ProjectName,
    /// The extras, normalized and sorted.
    pub extras: Vec<ProjectName>,
    pub constraint: VersionsOrUrl,
    pub marker: Option<Marker>,
}

/// The versions or the file that a requirement allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionsOrUrl {
    /// The allowed versions; without a clause, all versions.
    Versions(Specifiers),
    /// `@ url`: the file or checkout at this URL.
    Url(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequirement {
    #[error("a requirement has {0} bytes, more than the {MAX_REQUIREMENT} allowed")]
    TooLong(usize),
    #[error(transparent)]
    Name(#[from] BadProjectName),
    #[error("'{0}': extras are written in brackets, separated by commas, such as name[extra1,extra2]")]
    Extras(String),
    #[error(transparent)]
    Specifier(#[from] BadSpecifier),
    #[error("'{0}': a URL must follow '@'")]
    Url(String),
    #[error(transparent)]
    Marker(#[from] BadMarker),
}

impl Requirement {
    pub fn parse(text: &str) -> Result<Requirement, BadRequirement> {
        if text.len() > MAX_REQUIREMENT {
            return Err(BadRequirement::TooLong(text.len()));
        }
        let excerpt = || text.chars().take(120).collect::<String>();
        let text_trimmed = text.trim();
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let end = text_trimmed.bytes().position(|b| !is_name_byte(b)).unwrap_or(text_trimmed.len());
        let (name, rest) = text_trimmed.split_at(end);
        // The error states the whole name, with its characters that names must not have.
        let is_cut = rest.starts_with(|c: char| !c.is_ascii() && !c.is_whitespace());
        let name = if name.is_empty() || is_cut { word(text_trimmed) } else { name };
        let name = name::parse(name)?;
        let mut rest = rest.trim_start();
        let mut extras = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let bad_extras = || BadRequirement::Extras(excerpt());
            let (list, tail) = inner.split_once(']').ok_or_else(bad_extras)?;
            if !list.trim().is_empty() {
                let names = list.split(',').map(|extra| name::parse(extra.trim()));
                extras = names.collect::<Result<_, _>>().map_err(|_| bad_extras())?;
                extras.sort();
                extras.dedup();
            }
            rest = tail.trim_start();
        }
        if let Some(tail) = rest.strip_prefix('@') {
            let tail = tail.trim_start();
            // A `;` without a blank before it is a part of the URL.
            let end = tail.find([' ', '\t']).unwrap_or(tail.len());
            let (url, rest) = tail.split_at(end);
            if url.is_empty() {
                return Err(BadRequirement::Url(excerpt()));
            }
            let marker = match rest.trim_start() {
                "" => None,
                rest => Some(rest.strip_prefix(';').ok_or_else(|| BadRequirement::Url(excerpt()))?),
            };
            let marker = marker.map(Marker::parse).transpose()?;
            return Ok(Requirement { name, extras, constraint: VersionsOrUrl::Url(url.to_owned()), marker });
        }
        let (specifiers, marker) = match rest.split_once(';') {
            Some((specifiers, marker)) => (specifiers, Some(Marker::parse(marker)?)),
            None => (rest, None),
        };
        let constraint = VersionsOrUrl::Versions(specifiers.parse()?);
        Ok(Requirement { name, extras, constraint, marker })
    }

    /// Returns whether the requirement may apply in some environment with these extras (normalized names).
    pub fn may_apply(&self, extras: &[String]) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.may_apply(extras))
    }
}

/// Returns the text before the first white space, bracket or operator; the whole text if that is empty.
fn word(text: &str) -> &str {
    let is_end = |c: char| c.is_whitespace() || "[]()<>=!~;,@#".contains(c);
    text.find(is_end).map(|end| &text[..end]).filter(|word| !word.is_empty()).unwrap_or(text)
}

impl fmt::Display for VersionsOrUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionsOrUrl::Versions(specifiers) => specifiers.fmt(f),
            VersionsOrUrl::Url(url) => write!(f, "@ {url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Requirement {
        Requirement::parse(text).expect(text)
    }

    #[test]
    fn all_forms_are_read() {
        let name_only = parse("Odd.Name");
        assert_eq!((name_only.name.as_str(), name_only.marker.is_none()), ("odd-name", true));
        assert!(matches!(&name_only.constraint, VersionsOrUrl::Versions(all) if all.is_empty()));
        let requirement = parse("odd [B_x, a] >=1.0, <2 ; python_version < '3.9' and extra == 'x'");
        assert_eq!(requirement.extras.iter().map(ProjectName::as_str).collect::<Vec<_>>(), ["a", "b-x"]);
        assert_eq!(requirement.constraint.to_string(), ">=1.0, <2");
        assert!(requirement.may_apply(&["x".to_owned()]) && !requirement.may_apply(&[]));
        for old in ["odd (>=1.0)", "odd(>=1.0,<2);os_name=='nt'", "odd[]>=1"] {
            assert!(matches!(parse(old).constraint, VersionsOrUrl::Versions(_)), "{old}");
        }
        let url = parse("odd[x] @ https://example.org/odd-1.0.tar.gz;x=1#sha256=00 ; os_name == 'posix'");
        assert_eq!(url.constraint.to_string(), "@ https://example.org/odd-1.0.tar.gz;x=1#sha256=00");
        assert!(url.marker.is_some());
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        let error = |text: &str| Requirement::parse(text).expect_err(text);
        assert!(matches!(error(""), BadRequirement::Name(_)));
        assert!(matches!(error("-e ."), BadRequirement::Name(_)));
        assert!(matches!(error("odd[a"), BadRequirement::Extras(_)));
        assert!(matches!(error("odd[a,]"), BadRequirement::Extras(_)));
        assert!(matches!(error("odd @ "), BadRequirement::Url(_)));
        assert!(matches!(error("odd @ x y"), BadRequirement::Url(_)));
        assert!(matches!(error("odd even"), BadRequirement::Specifier(_)));
        assert!(matches!(error("odd 1.0"), BadRequirement::Specifier(_)));
        assert!(matches!(error("odd>=1; python"), BadRequirement::Marker(_)));
        assert!(matches!(error(&"a".repeat(1 << 17)), BadRequirement::TooLong(_)));
    }

    #[test]
    fn the_error_of_a_name_states_the_whole_name() {
        for (text, name, character) in [
            ("\u{43e}ne>=1", "\u{43e}ne", "'\u{43e}' is U+043E"),
            ("fl\u{430}sk==1.0", "fl\u{430}sk", "'\u{430}' is U+0430"),
            ("\u{2168}", "\u{2168}", "'\u{2168}' is U+2168"),
            ("\u{201c}flask\u{201d} ; os_name == 'nt'", "\u{201c}flask\u{201d}", "'\u{201c}' is U+201C"),
            ("flask\u{ff1d}\u{ff1d}1", "flask\u{ff1d}\u{ff1d}1", "'\u{ff1d}' is U+FF1D"),
        ] {
            let error = Requirement::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("'{name}' is not the name of a Python project")), "{error}");
            assert!(error.ends_with(&format!("; {character}, not ASCII")), "{error}");
        }
        let error = Requirement::parse(">=1.0").expect_err("no name").to_string();
        assert!(error.starts_with("'>=1.0' is not the name of a Python project"), "{error}");
        // A blank that is not ASCII ends a name.
        assert_eq!(parse("odd\u{a0}>=1").name.as_str(), "odd");
    }

    proptest! {
        #[test]
        fn parts_are_read_back(
            name in "[a-z]([a-z0-9_]{0,6}[a-z0-9])?", extra in proptest::option::of("[a-z]{1,4}"),
            version in proptest::option::of("(>=|==|~=)[0-9]\\.[0-9]"), blank in " ?",
        ) {
            let bracket = extra.as_ref().map(|extra| format!("[{extra}]")).unwrap_or_default();
            let text = format!("{name}{blank}{bracket}{blank}{}", version.clone().unwrap_or_default());
            let requirement = Requirement::parse(&text).unwrap();
            prop_assert!(name::is_spelling(&name, &requirement.name));
            prop_assert_eq!(requirement.extras.len(), usize::from(extra.is_some()));
            prop_assert_eq!(requirement.constraint.to_string(), version.unwrap_or_default());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Requirement::parse(&text);
        }
    }
}
