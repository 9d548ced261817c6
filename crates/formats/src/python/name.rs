//! Names of projects and extras, and their normalization (PyPA: name normalization, PEP 503).

use std::fmt;
use std::str::FromStr;

/// Maximum length of a name in bytes, which is that of a directory name.
const MAX_NAME: usize = 255;

/// The normalized form of a valid name: lower case, each run of `-`, `_`, `.` replaced by one `-`. Spellings with the
/// same normalized form name the same project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalName(Box<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{excerpt}' is not the name of a Python project: use ASCII letters, digits, '.', '_' and '-', beginning and \
     ending with a letter or a digit{}",
    character_text(.other_character)
)]
pub struct BadProjectName {
    /// The beginning of the text, escaped.
    excerpt: String,
    /// The first character that is not ASCII: it may look like one that is.
    other_character: Option<char>,
}

fn character_text(other_character: &Option<char>) -> String {
    let text = |c: char| format!("; '{}' is U+{:04X}, not ASCII", c.escape_debug(), u32::from(c));
    other_character.map(text).unwrap_or_default()
}

impl NormalName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the text is a spelling of this name.
    pub fn matches(&self, text: &str) -> bool {
        is_valid(text) && normalize(text) == *self.0
    }
}

/// Returns whether the text is a valid name: `^([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])\Z`, ignoring case.
pub fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_NAME
        && is_alphanumeric(bytes.first())
        && is_alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Normalizes any text, without checking that it is a valid name.
pub fn normalize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !out.ends_with('-') {
                out.push('-');
            }
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

impl FromStr for NormalName {
    type Err = BadProjectName;

    /// Parses a name in any spelling.
    fn from_str(text: &str) -> Result<NormalName, BadProjectName> {
        if !is_valid(text) {
            let excerpt = text.escape_debug().take(120).collect();
            return Err(BadProjectName { excerpt, other_character: text.chars().find(|c| !c.is_ascii()) });
        }
        Ok(NormalName(normalize(text).into()))
    }
}

impl fmt::Display for NormalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_have_one_normal_form() {
        for (text, normal) in [
            ("friendly-bard", "friendly-bard"),
            ("Friendly-Bard", "friendly-bard"),
            ("FrIeNdLy-._.-bArD", "friendly-bard"),
            ("zope.interface", "zope-interface"),
            ("a", "a"),
            ("0", "0"),
            ("a--b", "a-b"),
        ] {
            assert_eq!(text.parse::<NormalName>().map(|name| name.to_string()), Ok(normal.to_owned()));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = "a".repeat(256);
        for bad in
            ["", "-a", "a-", "_", "a b", "a\n", "пакет", "a/b", "..", "a\0", "\u{212A}elvin", long.as_str()]
        {
            assert!(bad.parse::<NormalName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_character_that_is_not_ascii_is_stated() {
        let error =
            |text: &str| text.parse::<NormalName>().map_err(|error| error.to_string()).expect_err(text);
        // Cyrillic letters that look like Latin ones.
        let text = error("fl\u{430}sk\u{43e}");
        assert!(text.starts_with("'fl\u{430}sk\u{43e}' is not the name"), "{text}");
        assert!(text.ends_with("with a letter or a digit; '\u{430}' is U+0430, not ASCII"), "{text}");
        assert!(error("a\u{202e}b").ends_with("; '\\u{202e}' is U+202E, not ASCII"));
        assert!(error("-a").ends_with("with a letter or a digit"));
    }

    proptest! {
        #[test]
        fn normalizing_is_idempotent(text in "\\PC{0,20}", name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,12}[A-Za-z0-9])?") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
            let normal: NormalName = name.parse().unwrap();
            prop_assert_eq!(normal.as_str().parse::<NormalName>(), Ok(normal.clone()));
            prop_assert!(normal.matches(&name) && normal.matches(&normal.as_str().replace('-', "_")));
        }
    }
}
