//! Texts of any length in one short line.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
