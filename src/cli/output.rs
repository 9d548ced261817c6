//! Printing of results: sentences and aligned tables for people, one JSON value for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;

/// Output format, for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Human,
    /// One JSON value.
    Json,
}

/// Writer of results to standard output.
pub struct Output {
    format: Format,
}

impl Output {
    /// Creates a writer to standard output in `format`.
    #[must_use]
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// Returns whether the output is for people.
    #[must_use]
    pub fn is_human(&self) -> bool {
        self.format == Format::Human
    }

    /// Prints `text` for people, or `value` as JSON for programs.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let mut stdout = anstream::stdout().lock();
        let line = match self.format {
            Format::Human => without_controls(&text()),
            Format::Json => {
                serde_json::to_string_pretty(value).map_err(|e| CliError::Output(std::io::Error::other(e)))?
            }
        };
        writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush()).map_err(CliError::Output)
    }
}

/// Returns a text without characters that control a terminal, except line feeds, tabs and the sequences that set the
/// style of text (`ESC [ … m`), which tables have. SECURITY: the text has names and messages of a server, which may be
/// an attacker's.
fn without_controls(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        let (before, after) = rest.split_at(position);
        result.push_str(before);
        let style = after.strip_prefix("\u{1b}[").and_then(|style| {
            let end = style.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
            style[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
        });
        match style {
            Some(length) => {
                result.push_str(&after[..length]);
                rest = &after[length..];
            }
            None => rest = &after[after.chars().next().map_or(0, char::len_utf8)..],
        }
    }
    result.push_str(rest);
    result
}

/// Returns the first `limit` characters of a text of a server. SECURITY: characters that control a terminal are
/// removed.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}

/// Maximum width of a table, in characters.
const MAX_WIDTH: u16 = 100;
/// Minimum width of the widest column, in characters, if only its cells are wrapped.
const MIN_WIDEST_COLUMN: usize = 20;

/// Formats an aligned table without borders, with a bold header on a terminal. If the table is too wide, the cells of
/// its widest column are wrapped.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    table.set_width(MAX_WIDTH);
    let bold = |name: &&str| comfy_table::Cell::new(name).add_attribute(comfy_table::Attribute::Bold);
    table.set_header(header.iter().map(bold));
    for row in rows {
        table.add_row(row);
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells.chain(header.get(column).copied()).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widest = (0..header.len()).max_by_key(|column| width(*column));
    let others: usize =
        (0..header.len()).filter(|column| Some(*column) != widest).map(|column| width(column) + 2).sum();
    // If the widest column would become too narrow, all columns are wrapped.
    let wraps_only_widest = others + MIN_WIDEST_COLUMN <= usize::from(MAX_WIDTH);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if wraps_only_widest && Some(index) != widest {
            column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Formats a number with thousands separators: `1,234`.
#[must_use]
pub fn format_count(n: i64) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, indicatif::HumanCount(n.unsigned_abs()))
}

/// Formats the time `2026-10-05T12:00:00.123456Z` as `2026-10-05 12:00:00 UTC`.
pub fn format_time(rfc3339: &str) -> String {
    rfc3339.get(..19).map_or_else(|| rfc3339.to_owned(), |text| format!("{} UTC", text.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_a_hundred_columns_without_losing_text() {
        let names: Vec<String> = (0..40).map(|n| format!("alias{n}")).collect();
        let rows = vec![
            vec!["jammy".to_owned(), names.join(", "), "x86_64, arm64".to_owned()],
            vec!["noble".to_owned(), String::new(), "x86_64".to_owned()],
        ];
        let text = table(&["Name", "Also", "Architectures"], &rows);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(names.iter().all(|name| text.contains(name.as_str())), "{text}");
        assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("x86_64, arm64")), "{text}");
        let two = vec![vec!["a".to_owned(), names.join(", "), names.join(", ")]];
        let text = table(&["Name", "Sources", "Description"], &two);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.lines().count() < 20, "both are narrowed: {text}");
        let one = vec![vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]];
        assert_eq!(
            table(&["Name", "Also", "Architectures"], &one),
            "Name  Also  Architectures\na     b     c\n"
        );
    }

    #[test]
    fn a_text_of_a_server_controls_no_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}1m\n", 500), "a[2Jb1m");
        assert_eq!(printable("äöü", 2), "äö");
        let text = "\u{1b}[1mName\u{1b}[0m\ta\n\u{1b}]0;x\u{7}\u{1b}[2Jb\u{9b}1m\u{1b}";
        assert_eq!(without_controls(text), "\u{1b}[1mName\u{1b}[0m\ta\n]0;x[2Jb1m");
        assert_eq!(without_controls("\u{1b}[1;"), "[1;");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, -1000].map(format_count),
            ["0", "999", "1,000", "1,234,567", "-1,000"]
        );
    }
}
