//! Short texts of messages and files: numbers with nouns, lists of names, single lines, words of shell commands that an
//! administrator copies, and cells of CSV.

use std::fmt::Display;

/// Returns a number with its noun, such as `1 package` or `23,144 packages`.
pub fn count_of(number: impl TryInto<u64>, singular: &str, plural: &str) -> String {
    let number = number.try_into().unwrap_or(0);
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    format!("{} {}", groups.join(","), if number == 1 { singular } else { plural })
}

/// Joins words in a sentence: `a, b or c`.
pub fn phrase(words: &[&str], conjunction: &str) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} {conjunction} {last}", first.join(", ")),
        words => words.concat(),
    }
}

/// Returns the first `max` names, with the number of the others: `a, b and 3 more`.
pub fn first_names<T: Display>(names: &[T], max: usize) -> String {
    let excerpt = names.iter().take(max).map(T::to_string).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(max) {
        0 => excerpt,
        rest => format!("{excerpt} and {rest} more"),
    }
}

/// Returns the words of a text in one line, at most `max` characters of them; `…` replaces the rest. Reads only the
/// beginning of a long text: at most four times `max` characters, including white space.
pub fn one_line(text: &str, max: usize) -> String {
    let end = text.char_indices().nth(4 * max).map_or(text.len(), |(end, _)| end);
    let line = text[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Joins the lines of a message: each ends with a period, unless it ends with other punctuation.
pub fn joined_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push_str(if out.ends_with(['.', ':', ';', ',', '!', '?']) { " " } else { ". " });
        }
        out.push_str(line);
    }
    out
}

/// Quotes a word for the shell.
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a word for the shell, if that is necessary.
pub fn shell_argument(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%=,:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { shell_word(text) }
}

/// Returns a text as a cell of CSV (RFC 4180) for spreadsheets, in quotes if necessary.
pub fn csv_cell(text: &str) -> String {
    let text = without_formula(text);
    if text.contains(['"', ',', '\r', '\n']) { csv_quotes(&text) } else { text }
}

pub fn quoted_csv_cell(text: &str) -> String {
    csv_quotes(&without_formula(text))
}

fn csv_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Prepends an apostrophe to a text that a spreadsheet would interpret as a formula. SECURITY: cells contain texts
/// of users and of authors of packages, and spreadsheets execute formulas.
fn without_formula(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noun_agrees_with_the_number() {
        assert_eq!(count_of(0_usize, "package", "packages"), "0 packages");
        assert_eq!(count_of(1_i64, "package", "packages"), "1 package");
        assert_eq!(count_of(23_144_u64, "package", "packages"), "23,144 packages");
    }

    #[test]
    fn arguments_are_single_words() {
        for (argument, word) in [
            ("v1.0-rc.1", "v1.0-rc.1"),
            ("--config=/etc/my site.gcfg", "'--config=/etc/my site.gcfg'"),
            ("v1;touch${IFS}x", "'v1;touch${IFS}x'"),
            ("v1'`id`", r"'v1'\''`id`'"),
            ("v1\u{202e}", "'v1\u{202e}'"),
            ("", "''"),
        ] {
            assert_eq!(shell_argument(argument), word);
        }
    }

    #[test]
    fn lines_become_sentences() {
        assert_eq!(joined_lines("address in use\nStop it.\n\nOr wait"), "address in use. Stop it. Or wait");
        assert_eq!(joined_lines("2 errors:\n  a.gcfg:3: x;\n  y\n"), "2 errors: a.gcfg:3: x; y");
        assert_eq!(joined_lines("one"), "one");
    }

    #[test]
    fn a_text_is_shortened_to_one_line() {
        assert_eq!(one_line(" A title\n\tin  lines\n\n", 80), "A title in lines");
        let longest = "é".repeat(80);
        assert_eq!(one_line(&longest, 80), longest);
        assert_eq!(one_line(&"é".repeat(900_000), 80), format!("{longest}…"));
        assert_eq!(one_line(&format!("a{}b", " ".repeat(900_000)), 80), "a");
    }

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("", ""),
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("@x,y", "\"'@x,y\""),
            ("-1.0", "'-1.0"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("1=1", "1=1"),
        ] {
            assert_eq!(csv_cell(text), expected);
            let in_quotes =
                if expected.starts_with('"') { expected.to_owned() } else { format!("\"{expected}\"") };
            assert_eq!(quoted_csv_cell(text), in_quotes);
        }
    }
}
