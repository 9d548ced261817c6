//! Parses words with shell quoting: the lists that `systemctl show` prints, and files for `EnvironmentFile=`. Pure.

/// Splits a list of quoted words.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest, char::is_whitespace);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// Parses the lines `NAME=value` of a file for `EnvironmentFile=`; a value may be quoted. Comments begin with `#` or
/// `;`.
pub(super) fn assignments(text: &str) -> Vec<(String, String)> {
    let mut assignments = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        match line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            None => rest = &rest[line.len()..],
            Some((name, _)) => {
                let value = rest[name.len() + 1..].trim_start_matches([' ', '\t']);
                let (value, after) = word(value, |c| c == '\n');
                assignments.push((name.trim().to_owned(), value.trim_end().to_owned()));
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    assignments
}

/// Reads a word up to the first unquoted character for which `is_end` is true; returns the word and the rest, which
/// begins with that character.
fn word(text: &str, is_end: fn(char) -> bool) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match (quote, c) {
            (None, c) if is_end(c) => return (word, &text[index..]),
            (None, '$') if text[index + 1..].starts_with('\'') => {
                // `$'…'` has escape sequences, as in double quotes.
                chars.next();
                quote = Some('$');
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some('$'), '\'') => quote = None,
            (Some(open), c) if c == open && c != '$' => quote = None,
            (None | Some('"' | '$'), '\\') => match chars.next() {
                // A backslash at the end of a line continues the line.
                Some((_, '\n')) => {}
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                Some((_, escaped)) => word.push(escaped),
                None => {}
            },
            (_, c) => word.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_into_its_quoted_words() {
        assert_eq!(
            split(r#"A=1  "B=a \"b\" c" 'C=\x' $'D=it\'s' E=\$"#),
            ["A=1", "B=a \"b\" c", "C=\\x", "D=it's", "E=$"]
        );
        assert_eq!(split("  "), [""; 0]);
    }

    #[test]
    fn assignments_of_a_file_are_read() {
        let text =
            "# comment=1\n; other=2\n\nA = plain text \nB=\"a b\"\nC='it is'\nD=one\\\n two\nnothing\nE=";
        let assignments = assignments(text);
        let assignments: Vec<_> =
            assignments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            assignments,
            [("A", "plain text"), ("B", "a b"), ("C", "it is"), ("D", "one two"), ("E", "")]
        );
    }
}
