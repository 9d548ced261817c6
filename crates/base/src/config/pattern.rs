//! Regular expressions in the configuration, which match whole texts in a time linear in their length.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Maximum length of an expression, in bytes.
const MAX_LENGTH: usize = 4_096;
/// Maximum size of a compiled expression in memory, in bytes.
const MAX_COMPILED_SIZE: usize = 1 << 20;
/// Maximum nesting depth of an expression.
const MAX_DEPTH: u32 = 32;

/// A regular expression for a whole text. `\d`, `\w` and `\s` match ASCII characters only.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// The text is not a regular expression, or is too large; the error is a clause that follows the value.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("is longer than {MAX_LENGTH} bytes"));
        }
        // The text is compiled without the group first, because `a)(?:b`, which is invalid, would be valid inside it.
        compile(text)?;
        let regex = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Returns the expression as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_COMPILED_SIZE)
        .dfa_size_limit(MAX_COMPILED_SIZE)
        .nest_limit(MAX_DEPTH)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "is too large when compiled; use smaller numbers of repetitions".to_owned()
            }
            // The last line contains the reason; the lines before it show the position.
            other => {
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("is not a regular expression: {reason}")
            }
        })
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).expect(pattern).matches(text)
    }

    #[test]
    fn a_pattern_matches_whole_texts_only() {
        assert!(matches("system:serviceaccount:ns:.*-connect", "system:serviceaccount:ns:a-connect"));
        assert!(!matches("repo:org/name", "repo:org/name-of-somebody-else"));
        assert!(!matches("repo:org/name", "x-repo:org/name"));
        assert!(!matches("a|b", "ab") && matches("a|b", "b"));
        assert!(!matches("a", "a\n") && !matches("(?m)a$", "a\nb"));
        assert!(!matches("a.*", "a\nb"), "a dot is no line break");
        assert!(matches(r"\d+", "123") && !matches(r"\d+", "\u{663}"), "digits are ASCII");
        assert!(matches("é.*", "été"));
    }

    #[test]
    fn an_invalid_or_hostile_pattern_is_refused() {
        for bad in
            ["(", "a)|(?:.*", "[", "a{1000}{1000}{1000}", r"(?P<n", &"(".repeat(100), &"a".repeat(5_000)]
        {
            let reason = Pattern::new(bad).expect_err(bad);
            assert!(reason.starts_with("is "), "{reason}");
        }
        // Quadratic or worse with backtracking.
        assert!(!matches("(a*)*b", &"a".repeat(16 << 10)));
    }
}
