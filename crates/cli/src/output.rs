//! Printing of results: sentences and aligned tables for people, one JSON value for programs.

use std::io::{IsTerminal, Write};

use anstyle::Style;
use clap::ValueEnum;
use console::Term;
use serde::Serialize;

use super::error::CliError;
use base::model::visible::{for_terminal, in_json, styled_for_terminal};

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
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// Returns whether the output is for people.
    pub fn is_human(&self) -> bool {
        self.format == Format::Human
    }

    /// Prints `text` for people, or `value` as JSON for programs.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let mut stdout = anstream::stdout().lock();
        let line = match self.format {
            Format::Human => styled_for_terminal(&text()),
            Format::Json => in_json(&serde_json::to_string_pretty(value)?),
        };
        writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush()).map_err(CliError::Output)
    }
}

/// Prints a part of a text to standard output, with its hidden characters visible.
pub fn print_part(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(for_terminal(text).as_bytes()).and_then(|()| stdout.flush())
}

/// Prints a document, or a part of one, for programs: unchanged, or like [`print_part`] on a terminal.
pub fn print_document(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    if stdout.is_terminal() {
        return print_part(text);
    }
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Prints a line to standard error, with its hidden characters visible. A failed write cannot be reported.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{}", styled_for_terminal(&text.to_string()));
}

/// Prints a warning to standard error.
pub fn warn(text: impl std::fmt::Display) {
    note(format!("Warning: {text}"));
}

/// Returns the first `limit` characters of a text of a server.
pub fn shortened(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

/// Minimum width of the widest column, in characters, if only its cells are wrapped.
const MIN_WIDEST_COLUMN: usize = 20;

/// Minimum width of a wrapped last column, in characters; if less is left for it, its cells are printed below their rows.
const MIN_LAST_COLUMN: usize = 40;
/// Indentation of what is printed below a row, in characters.
const INDENTATION: u16 = 4;

/// Formats an aligned table without borders. On a terminal it has a bold header, and is not wider than the terminal: the
/// cells of its widest column are wrapped. If this is the last one, and the others leave little room for it, its cells have
/// lines of their own, below those of their rows. Otherwise each row is one line.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    table_of_width(header, &rows, Term::stdout().size_checked().map(|(_, columns)| columns))
}

fn table_of_width(header: &[&str], rows: &[Vec<String>], max_width: Option<u16>) -> String {
    // Before the widths are computed.
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| for_terminal(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells.chain(header.get(column).copied()).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widest = (0..header.len()).max_by_key(|column| width(*column));
    let others: usize =
        (0..header.len()).filter(|column| Some(*column) != widest).map(|column| width(column) + 2).sum();
    if let (Some(max_width), Some(last)) = (max_width, header.len().checked_sub(1).filter(|last| *last > 0)) {
        let room = usize::from(max_width).saturating_sub(others);
        let fits_first = width(0) <= usize::from(max_width);
        let is_one_line_each = !rows.iter().flatten().any(|cell| cell.contains('\n'));
        if widest == Some(last) && room < MIN_LAST_COLUMN.min(width(last)) && fits_first && is_one_line_each {
            let widths: Vec<usize> = (0..last).map(width).collect();
            return table_with_cells_below(header, &rows, &widths, max_width);
        }
    }
    let mut table = borderless(header, &rows);
    if let Some(width) = max_width {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width);
    }
    // If the widest column would become too narrow, all columns are wrapped.
    let wraps_only_widest =
        max_width.is_some_and(|max_width| others + MIN_WIDEST_COLUMN <= usize::from(max_width));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if wraps_only_widest && Some(index) != widest {
            column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
        }
    }
    lines(&table).into_iter().map(|line| line + "\n").collect()
}

/// Formats a table of which only the first columns that fit are aligned. The cells of the others are below their rows: those
/// of the last column on lines of their own.
fn table_with_cells_below(header: &[&str], rows: &[Vec<String>], widths: &[usize], max_width: u16) -> String {
    let (mut aligned, mut used) = (0, 0);
    while let Some(width) = widths.get(aligned).filter(|width| used + **width <= usize::from(max_width)) {
        (aligned, used) = (aligned + 1, used + width + 2);
    }
    let names: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let first = |row: &Vec<String>| row.iter().take(aligned).cloned().collect::<Vec<_>>();
    let mut table = borderless(&header[..aligned], &rows.iter().map(first).collect::<Vec<_>>());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let below_width = max_width.saturating_sub(INDENTATION);
    let below = |row: &[String], is_header: bool| -> String {
        let (others, last) = row.split_at_checked(widths.len()).unwrap_or((row, &[]));
        let others = others.get(aligned..).unwrap_or_default().join("  ");
        let mut text = comfy_table::Table::new();
        text.load_style(comfy_table::presets::NOTHING);
        text.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(below_width);
        for cell in [others, last.concat()].into_iter().filter(|cell| !cell.trim().is_empty()) {
            text.add_row([cell]);
        }
        text.column_iter_mut().for_each(|column| {
            column.set_padding((0, 0));
        });
        let indentation = " ".repeat(usize::from(INDENTATION));
        let style = |line: String| if is_header { bold(&line) } else { line };
        lines(&text).into_iter().map(|line| format!("{indentation}{}\n", style(line))).collect()
    };
    let below_header = std::iter::once((&names, true));
    let all = below_header.chain(rows.iter().map(|row| (row, false)));
    lines(&table)
        .into_iter()
        .zip(all)
        .map(|(line, (row, is_header))| format!("{line}\n{}", below(row, is_header)))
        .collect()
}

/// Returns a table with columns as wide as their cells.
fn borderless(header: &[&str], rows: &[Vec<String>]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    let header_end = comfy_table::LineStyle::none().fill(HEADER_END);
    table.load_style(comfy_table::TableStyle::new().header_separator(header_end));
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    table
}

/// Character of the line below a header, which is not printed: no cell contains it.
const HEADER_END: char = '\u{1}';

fn bold(line: &str) -> String {
    let style = if std::io::stdout().is_terminal() { Style::new().bold() } else { Style::new() };
    format!("{style}{line}{style:#}")
}

/// Returns the lines of a table without the blanks at their ends; those of the header are bold.
fn lines(table: &comfy_table::Table) -> Vec<String> {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let end = lines.iter().position(|line| line.starts_with(HEADER_END)).unwrap_or(0);
    let style = |(n, line): (usize, String)| if n < end { bold(&line) } else { line };
    lines.into_iter().enumerate().map(style).filter(|line| !line.starts_with(HEADER_END)).collect()
}

/// Formats a number with thousands separators: `1,234`.
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
    fn a_table_fits_the_terminal_without_losing_text() {
        let names: Vec<String> = (0..40).map(|n| format!("alias{n}")).collect();
        let rows = vec![
            vec!["jammy".to_owned(), names.join(", "), "x86_64, arm64".to_owned()],
            vec!["noble".to_owned(), String::new(), "x86_64".to_owned()],
        ];
        let header = ["Name", "Also", "Architectures"];
        for width in [60, 100, 200] {
            let text = table_of_width(&header, &rows, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            assert!(names.iter().all(|name| text.contains(name.as_str())), "{text}");
            assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("x86_64, arm64")), "{text}");
        }
        let two = vec![vec!["a".to_owned(), names.join(", "), names.join(", ")]];
        let text = table_of_width(&["Name", "Sources", "Description"], &two, Some(100));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.lines().count() < 20, "both are narrowed: {text}");
        let one = vec![vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]];
        for width in [Some(100), None] {
            let text = table_of_width(&header, &one, width);
            assert_eq!(text, "Name  Also  Architectures\na     b     c\n");
        }
    }

    #[test]
    fn a_last_column_without_room_is_below_its_rows() {
        let detail: Vec<String> = (0..30).map(|number| format!("word{number}")).collect();
        let cells = |row: &str, detail: &str| -> Vec<String> {
            let actor = "ann (token 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f)";
            let cells = [row, "2026-11-22 12:00:00 UTC", actor, "create source", "team", detail];
            cells.map(str::to_owned).to_vec()
        };
        let rows = [cells("12", &detail.join(" ")), cells("11", "")];
        let header = ["Row", "Time", "Actor", "Action", "Object", "Detail"];
        for width in [60, 80, 110, 130] {
            let text = table_of_width(&header, &rows, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            let line_count = text.lines().filter(|line| line.contains("word")).count();
            assert!(line_count <= 220_usize.div_ceil(usize::from(width) - 10), "{text}");
            let words: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with("word")).collect();
            assert_eq!(words, detail, "{text}");
        }
        let text = table_of_width(&header, &rows, Some(90));
        let expected = "Row  Time                     Actor\n    Action  Object\n    Detail\n12   2026-11-22";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\n11   2026-11-22 12:00:00 UTC  ann (token 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f)\n    create source  team\n"), "{text}");
        // A wide terminal has room for it beside the others.
        let wide = table_of_width(&header, &rows, Some(160));
        assert!(wide.lines().next().is_some_and(|line| line.ends_with("Detail")), "{wide}");
    }

    #[test]
    fn without_a_terminal_each_row_is_one_line() {
        let path = format!("/var/lib/rstudio-pm/{}", "launcher/".repeat(30));
        let rows: Vec<Vec<String>> =
            (0..3).map(|n| vec![n.to_string(), path.clone(), "2026-11-20 12:00:00 UTC".to_owned()]).collect();
        let text = table_of_width(&["N", "Path", "Time"], &rows, None);
        assert_eq!(text.lines().count(), 4, "{text}");
        let expected = format!("{path}  2026-11-20 12:00:00 UTC");
        assert_eq!(text.lines().filter(|line| line.ends_with(&expected)).count(), 3, "{text}");
    }

    #[test]
    fn cells_show_their_hidden_characters_and_stay_aligned() {
        let rows =
            vec![vec!["a\u{202e}\u{9b}".to_owned(), "b".to_owned()], vec!["c".to_owned(), "d".to_owned()]];
        let text = table_of_width(&["X", "Y"], &rows, None);
        let columns: Vec<Option<usize>> =
            text.lines().map(|line| line.chars().position(|c| matches!(c, 'Y' | 'b' | 'd'))).collect();
        assert_eq!(columns, [Some(19); 3], "{text}");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, -1000].map(format_count),
            ["0", "999", "1,000", "1,234,567", "-1,000"]
        );
    }
}
