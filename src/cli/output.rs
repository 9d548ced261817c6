//! Printing: sentences and aligned tables for people, one JSON value for programs.

use std::io::Write;

use serde::Serialize;

use super::args::Format;
use super::error::CliError;

/// Where results go.
pub struct Output {
    format: Format,
}

impl Output {
    /// To standard output in `format`.
    #[must_use]
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// True when people read it.
    #[must_use]
    pub fn human(&self) -> bool {
        self.format == Format::Human
    }

    /// Prints `text` for people, `value` for programs.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let mut stdout = anstream::stdout().lock();
        let line = match self.format {
            Format::Human => text(),
            Format::Json => {
                serde_json::to_string_pretty(value).map_err(|e| CliError::Output(std::io::Error::other(e)))?
            }
        };
        writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush()).map_err(CliError::Output)
    }
}

/// An aligned table without borders: the header in bold on a terminal.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    let bold = |name: &&str| comfy_table::Cell::new(name).add_attribute(comfy_table::Attribute::Bold);
    table.set_header(header.iter().map(bold));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `1,234`.
#[must_use]
pub fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|three| std::str::from_utf8(three).unwrap_or("")).collect();
    format!("{}{}", if n < 0 { "-" } else { "" }, grouped.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567, -1000].map(count), ["0", "999", "1,000", "1,234,567", "-1,000"]);
    }
}
