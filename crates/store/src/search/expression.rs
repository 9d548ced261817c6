//! Converts a text that a person typed to an expression of FTS5. SECURITY: nothing in the text is syntax.

/// Maximum number of words of an expression.
const MAX_WORDS: usize = 12;
/// Maximum length of a word, in characters.
const MAX_WORD: usize = 64;
/// Minimum length of a last word whose continuations match too, in characters: those of shorter ones are too many.
const MIN_PREFIX: usize = 3;

/// Words without which a text has the same meaning. Most descriptions have them, so they take longest to find.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "in", "is", "it", "of", "on",
    "or", "package", "packages", "r", "that", "the", "this", "to", "with",
];

/// An expression that matches texts with all its words. A word with signs, such as `t-test`, is a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(String);

impl Expression {
    /// Returns the expression of the words of a text; `None` if it has none but words without meaning.
    pub fn of(text: &str) -> Option<Expression> {
        let phrases: Vec<String> = text.split_whitespace().filter_map(phrase).take(MAX_WORDS).collect();
        let last = phrases.len().checked_sub(1)?;
        let is_used = |phrase: &str| !STOP_WORDS.contains(&phrase);
        let part = |(position, phrase): (usize, &String)| {
            let is_prefix = position == last && phrase.chars().count() >= MIN_PREFIX;
            is_used(phrase).then(|| format!("\"{phrase}\"{}", if is_prefix { "*" } else { "" }))
        };
        let parts: Vec<String> = phrases.iter().enumerate().filter_map(part).collect();
        (!parts.is_empty()).then(|| Expression(parts.join(" ")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the letters and digits of a word in lower case, with a space for other characters between them; `None` if it
/// has none.
fn phrase(word: &str) -> Option<String> {
    let word: String = word.chars().take(MAX_WORD).collect::<String>().to_lowercase();
    let parts = word.split(|character: char| !character.is_alphanumeric()).filter(|part| !part.is_empty());
    let phrase = parts.collect::<Vec<_>>().join(" ");
    (!phrase.is_empty()).then_some(phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Expression::of(text).map(|expression| expression.0)
    }

    #[test]
    fn words_are_quoted_and_the_last_one_is_a_prefix() {
        for (typed, expression) in [
            ("plot", "\"plot\"*"),
            ("Mixed  Models", "\"mixed\" \"models\"*"),
            ("read xl", "\"read\" \"xl\""),
            ("data.table t-test", "\"data table\" \"t test\"*"),
            ("plots of the data", "\"plots\" \"data\"*"),
            ("\"unbalanced* OR (x", "\"unbalanced\" \"x\""),
            ("a\0b", "\"a b\"*"),
        ] {
            assert_eq!(text(typed).as_deref(), Some(expression), "{typed:?}");
        }
        for typed in ["", "  ", "\" * ^ -", "\0", "the", "R package"] {
            assert_eq!(text(typed), None, "{typed:?}");
        }
        let long = text(&"word ".repeat(2_000)).expect("words");
        assert_eq!(long.matches("word").count(), MAX_WORDS);
        assert_eq!(text(&"x".repeat(10_000)).map(|text| text.len()), Some(MAX_WORD + "\"\"*".len()));
    }
}
