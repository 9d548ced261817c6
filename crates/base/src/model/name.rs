//! Names of sources and repositories. A name is one path segment of a URL, and not a reserved word.

use std::fmt;
use std::str::FromStr;

/// The name of a source or a repository: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, beginning with a letter or a
/// digit, so that it cannot be `__api__`. Reserved words are excluded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The reason why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The text is empty or too long, begins with another character, or has a character that is not allowed.
    #[error(
        "'{0}' cannot be a name: use 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or a digit"
    )]
    Form(String),
    #[error("'{0}' is a reserved name; choose another")]
    Reserved(String),
}

/// First path segments of URLs that are not names of repositories.
const RESERVED: [&str; 4] = ["client", "upload", "assets", "favicon.ico"];

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let is_valid = (1..=128).contains(&text.len())
            && text.bytes().all(is_allowed)
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if !is_valid {
            return Err(BadName::Form(text.chars().take(140).collect()));
        }
        if RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            return Err(BadName::Reserved(text.to_owned()));
        }
        Ok(Name(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_plain_segment() {
        for good in ["cran", "a", "Team-2.pkgs_x", "0"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "..", "__api__", "a/b", "a b", "ü", "-x", "client", "Upload", &"a".repeat(129)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
