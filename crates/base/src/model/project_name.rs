//! The name of a project in the spelling under which its language stores and compares it.

use std::fmt;

/// Maximum number of characters of a text in an error.
const MAX_EXCERPT: usize = 120;

/// The name of a project, as its language folds it. Spellings with the same folded form name the same project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectName(Box<str>);

impl ProjectName {
    /// Creates a name from its folded form: only for the rules of a language, and for stored names. Other texts are
    /// checked and folded by `Rules::project_name`.
    pub fn folded(text: impl Into<Box<str>>) -> ProjectName {
        ProjectName(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the key under which the metadata of packages of every language is stored: spellings that differ only in case
/// and in runs of `-`, `_` and `.` have one key. It is the normalized name of PEP 503.
pub fn spelling_key(name: &str) -> String {
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

/// The error for a text that is not the name of a project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{excerpt}' is not the name of {expected}{}", character_text(.other_character))]
pub struct BadProjectName {
    /// The beginning of the text, escaped.
    excerpt: String,
    expected: &'static str,
    /// The first character that is not ASCII: it may look like one that is.
    other_character: Option<char>,
}

impl BadProjectName {
    /// Creates the error for a text. `expected` follows `is not the name of` and includes the rule of such names.
    pub fn new(text: &str, expected: &'static str) -> BadProjectName {
        let excerpt = text.escape_debug().take(MAX_EXCERPT).collect();
        BadProjectName { excerpt, expected, other_character: text.chars().find(|c| !c.is_ascii()) }
    }
}

fn character_text(other_character: &Option<char>) -> String {
    let text = |c: char| format!("; '{}' is U+{:04X}, not ASCII", c.escape_debug(), u32::from(c));
    other_character.map(text).unwrap_or_default()
}
