//! Markdown as HTML, with a limit of the work of the parser.
//!
//! SECURITY: the parser needs time that grows faster than the size of some texts. It counts its steps, and is stopped
//! after too many; what it does within one step is limited by [`is_bounded`], which reads a text once.
//!
//! The parser is comrak, although pulldown-cmark (0.13) needs five crates less: that one makes no links of
//! addresses without brackets, which READMEs have everywhere, and cannot be stopped.

use std::cell::Cell;
use std::fmt;

use comrak::{Arena, Options, format_html, try_parse_document};

use super::nesting::{MAX_HTML, MAX_TAGS};

/// Maximum number of quotes and lists that may begin on one line.
const MAX_MARKERS: usize = 100;
/// Lines multiplied by the depth of quotes, lists and footnotes: each line is compared with all that are open.
const MAX_NESTED_LINES: usize = 2_000_000;
/// Bytes that are read because of addresses without brackets, each up to the next space, although it may end earlier.
const MAX_ADDRESS_BYTES: usize = 4_000_000;
/// Maximum number of `[^`, with which footnotes and references to them begin.
const MAX_FOOTNOTES: usize = 5_000;
/// Maximum number of cells of tables: the parser adds those that are missing in short rows.
const MAX_CELLS: usize = 10_000;
/// A step is a line, a part of the text of a line, a cell of a table, or a visit of one of these.
const MAX_STEPS: usize = 250_000;
/// Number of steps after which the parser asks whether it shall stop.
const INTERVAL: usize = 256;

/// Converts Markdown to HTML with the raw HTML of the text; `None` if that would need too much time or memory. May
/// panic by an assertion of the parser, which must not end the server: see [`super::convert_with`].
pub fn to_html(text: &str) -> Option<String> {
    if !is_bounded(text) {
        return None;
    }
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.alerts = true;
    options.extension.footnotes = true;
    options.render.r#unsafe = true;
    let steps = Cell::new(0_usize);
    let is_too_long = || {
        steps.set(steps.get() + INTERVAL);
        steps.get() > MAX_STEPS
    };
    let arena = Arena::new();
    let root = try_parse_document(&arena, text, &options, &is_too_long).ok()?;
    let mut output = Output::default();
    format_html(root, &options, &mut output).ok()?;
    Some(output.html)
}

/// HTML up to the number of bytes and tags that is converted further.
#[derive(Default)]
struct Output {
    html: String,
    tags: usize,
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.tags += text.bytes().filter(|byte| *byte == b'<').count();
        if self.tags > MAX_TAGS || self.html.len() + text.len() > MAX_HTML {
            return Err(fmt::Error);
        }
        self.html.push_str(text);
        Ok(())
    }
}

/// Returns false if the parser would need much time for a single step.
fn is_bounded(text: &str) -> bool {
    if text.matches("[^").count() > MAX_FOOTNOTES {
        return false;
    }
    let (mut lines, mut depth, mut address_bytes) = (0_usize, 0_usize, 0_usize);
    // The columns of the table that a line may continue.
    let (mut columns, mut cells) = (0_usize, 0_usize);
    for line in text.split('\n') {
        if markers(line) > MAX_MARKERS {
            return false;
        }
        lines += 1;
        depth = depth.max(open_blocks(line));
        columns = if is_blank(line) { 0 } else { columns.max(table_columns(line)) };
        cells += columns;
        for word in line.split_ascii_whitespace() {
            let starts = word.matches("://").count() + word.matches("www.").count();
            address_bytes = address_bytes.saturating_add(starts.saturating_mul(word.len()));
        }
    }
    lines.saturating_mul(depth) <= MAX_NESTED_LINES
        && address_bytes <= MAX_ADDRESS_BYTES
        && cells <= MAX_CELLS
}

/// Returns whether a line ends a table.
fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| b" \t>".contains(&byte))
}

/// Returns the column count of a table header `|---|---|`; 0 for other lines, and one column, which no row lacks.
fn table_columns(line: &str) -> usize {
    let is_delimiter =
        line.contains('-') && line.bytes().all(|byte| b"|-: \t>*+.)0123456789".contains(&byte));
    // Quotes, lists and footnotes may begin before.
    let is_footnote = line.contains("[^") && line.contains("]:");
    let bars = line.bytes().filter(|byte| *byte == b'|').count();
    if (is_delimiter || is_footnote) && bars > 0 { bars + 1 } else { 0 }
}

/// Returns the beginning of a line that consists of spaces and the characters of markers of quotes and lists.
fn marker_range(line: &str) -> &str {
    let end = line.find(|c| !" \t>*+-.)0123456789".contains(c)).unwrap_or(line.len());
    line.get(..end).unwrap_or(line)
}

/// Returns the maximum number of quotes and lists that begin on a line.
fn markers(line: &str) -> usize {
    let start = marker_range(line);
    let lists = ["* ", "+ ", "- ", ". ", ") ", "*\t", "+\t", "-\t", ".\t", ")\t"];
    start.matches('>').count() + lists.iter().map(|marker| start.matches(marker).count()).sum::<usize>()
}

/// Returns the maximum number of quotes, lists and footnotes open after a line on which one of them begins; 0 for other
/// lines. Such a line has a `>` for each quote around it, and two columns of space for each list and footnote.
fn open_blocks(line: &str) -> usize {
    // Quotes and lists may begin after footnotes.
    let is_footnote = line.contains("[^") && line.contains("]:");
    let range = if is_footnote { line } else { marker_range(line) };
    if range.trim().is_empty() {
        return 0;
    }
    let columns: usize = range
        .bytes()
        .map(|byte| match byte {
            b' ' => 1,
            b'\t' => 4,
            _ => 0,
        })
        .sum();
    let footnotes = if is_footnote { line.matches("]:").count() } else { 0 };
    columns / 2 + range.matches('>').count() + markers(line) + footnotes + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_that_of_quotes_lists_and_footnotes() {
        for (line, depth) in [
            ("text - a", 0),
            ("        code", 0),
            ("", 0),
            ("- a", 2),
            ("    - a", 4),
            ("\t\t-", 5),
            ("[^1]: [^2]: a", 4),
        ] {
            assert_eq!(open_blocks(line), depth, "{line:?}");
        }
        assert!(open_blocks("> > - a") >= 3);
        assert!(open_blocks("[^1]: - > a") >= 3);
    }

    #[test]
    fn hostile_texts_are_not_converted() {
        let fill = |part: &str| part.repeat(255_000 / part.len());
        let deep = |depth: usize| -> String {
            (0..depth).step_by(100).map(|at| format!("{}{}a\n", "  ".repeat(at), "- ".repeat(100))).collect()
        };
        let table =
            |rows: usize| format!("|{}\n|{}\n{}\n", "a|".repeat(500), "-|".repeat(500), "b\n".repeat(rows));
        for (name, text) in [
            ("cells of rows that are short", table(1_000)),
            ("cells of several tables", table(250).repeat(4)),
            ("addresses that end before a space", fill("http://a<")),
            ("addresses without a scheme", fill("www.a<(")),
            ("blank lines in lists", format!("{}{}", deep(1_000), "\n".repeat(39_000))),
            ("blank lines in deep lists", format!("{}{}", deep(3_500), "\n".repeat(20_000))),
            ("many parts in lists", format!("{}{}a{}", deep(1_900), " ".repeat(4_000), "!".repeat(150_000))),
            ("ampersands", format!("a{}", "&".repeat(254_000))),
            ("emphasis", fill("*a* ")),
            ("footnotes", format!("[^a]: x\n\n{}", "[^a]".repeat(39_000))),
            ("exclamation marks", format!("a{}", "!".repeat(254_000))),
        ] {
            assert!(to_html(&text).is_none(), "{name}");
        }
    }

    #[test]
    fn ordinary_texts_are_converted() {
        let sentence = "The function returns a data frame, e.g. `f(x)`, whose columns are those of *x*. ";
        let lines = "A line of text, which has a few words.\n".repeat(6_500);
        let table = format!(
            "|{}\n|{}\n{}",
            " a |".repeat(10),
            "---|".repeat(10),
            "| 1 | 2.5 | x | y | z | a | b | c | d | e |\n".repeat(200)
        );
        let list = "* one\n    * two, which is <https://a.example/b>\n        * three\n\n          more\n"
            .repeat(400);
        let code = format!("```r\n{}```\n", "x <- c(\"a\", \"b\") # see https://a.example\n".repeat(5_000));
        let badges =
            "[![CRAN](https://www.a.example/badges/version/a)](https://cran.example/package=a)".repeat(20);
        for (name, text) in [
            ("paragraphs", format!("{}\n\n", sentence.repeat(4)).repeat(550)),
            ("lines", lines),
            ("table", table),
            ("lists", list),
            ("code", code),
            ("badges", badges),
            ("blank lines", format!("- a\n  - b\n    - c\n{}", "\n".repeat(39_000))),
        ] {
            assert!(text.len() < 256 << 10, "{name}");
            assert!(to_html(&text).is_some(), "{name}");
        }
    }
}
