//! A small converter of reStructuredText to HTML: it accepts every text, converts the markup that READMEs use
//! and leaves the rest unchanged, but stops when the result is much longer.

use super::restructured_inline::{DefinedNames, escape, inline, key};

/// Maximum nesting of lists, quotes and directives; deeper text is left unchanged.
const MAX_DEPTH: usize = 8;
/// Maximum length of a substituted text or address, in bytes: a text may refer to it many times by a short name.
const MAX_SUBSTITUTION: usize = 500;
/// Maximum number of lines of a simple table.
const MAX_TABLE: usize = 1000;
/// Maximum number of lines that are searched for the ends of simple tables.
const MAX_SEARCHED: usize = 1_000_000;
/// The characters that underline titles.
const ADORNMENTS: &str = "=-`:.'\"~^_*+#<>!$%&(),/;?@[\\]{|}";

/// Number of bytes of the result for each byte of the text, at most.
const MAX_GROWTH: usize = 4;
/// Number of bytes that the result of a short text may have.
const MIN_RESULT: usize = 64 << 10;

/// Converts a text to HTML; `None` beyond four times the size of the text and 64 KiB, because names of a few
/// letters may stand for long texts and addresses, and for very many tables.
pub(super) fn to_html(text: &str) -> Option<String> {
    let limit = text.len().saturating_mul(MAX_GROWTH).saturating_add(MIN_RESULT);
    let expanded: Vec<String> = text.lines().map(|line| line.replace('\t', "        ")).collect();
    let lines: Vec<&str> = expanded.iter().map(|line| line.trim_end()).collect();
    let names = names(&lines);
    names.left.set(limit);
    let mut writer = RestructuredWriter { names, styles: Vec::new(), out: String::new(), limit, searched: 0 };
    writer.blocks(&lines, 0);
    (!writer.is_full()).then_some(writer.out)
}

/// Collects targets and substitutions, because they may be defined after their use.
fn names(lines: &[&str]) -> DefinedNames {
    let mut names = DefinedNames::default();
    for (at, line) in lines.iter().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix(".. ") else { continue };
        if let Some((name, address)) = rest.strip_prefix('_').and_then(|rest| rest.split_once(": ")) {
            names.targets.insert(key(name.trim_matches('`')), address.trim().to_owned());
        } else if let Some((name, rest)) = rest.strip_prefix('|').and_then(|rest| rest.split_once("| ")) {
            let body = lines.get(at + 1..).unwrap_or_default();
            let text = match rest.split_once("::") {
                Some(("image", _)) => option(body, "alt").unwrap_or_default(),
                Some(("replace", text)) => text.trim().to_owned(),
                _ => continue,
            };
            if let Some(target) = option(body, "target") {
                names.targets.insert(key(name), target);
            }
            names.substitutions.insert(name.to_owned(), text);
        }
    }
    names.targets.retain(|_, address| address.len() <= MAX_SUBSTITUTION);
    names.substitutions.retain(|_, text| text.len() <= MAX_SUBSTITUTION);
    names
}

/// Returns the value of an option, `:name: value`, at the beginning of the body of a directive.
fn option(body: &[&str], name: &str) -> Option<String> {
    let options = body.iter().map(|line| line.trim_start()).take_while(|line| line.starts_with(':'));
    let mut options = options.filter_map(|line| line.strip_prefix(':')?.split_once(':'));
    options.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Returns the number of lines at the beginning that are blank or indented by `least` columns, without trailing blanks.
fn indented(lines: &[&str], least: usize) -> usize {
    let end =
        lines.iter().position(|line| !line.is_empty() && indentation(line) < least).unwrap_or(lines.len());
    let part = lines.get(..end).unwrap_or_default();
    part.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1)
}

/// Removes the common indentation of all lines.
fn outdented<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    outdented_by(lines, usize::MAX)
}

/// Removes the common indentation of all lines, at most `most` columns.
fn outdented_by<'a>(lines: &[&'a str], most: usize) -> Vec<&'a str> {
    let common = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| indentation(line))
        .min()
        .unwrap_or(0)
        .min(most);
    lines.iter().map(|line| line.get(common..).unwrap_or_default()).collect()
}

/// Returns the character of a line that consists only of one adornment character; `None` for other lines.
fn adornment(line: &str) -> Option<char> {
    let first = line.chars().next().filter(|c| ADORNMENTS.contains(*c))?;
    (line.len() >= 2 && line.chars().all(|c| c == first)).then_some(first)
}

/// Returns the width of the marker of a list item, and whether the list is numbered; `None` if the line is not an item.
fn item(line: &str) -> Option<(usize, bool)> {
    let is_bullet = |line: &str| ["*", "+", "-", "•"].contains(&line);
    if is_bullet(line) {
        return Some((line.len() + 1, false));
    }
    let (mark, _) = line.split_once(' ')?;
    if is_bullet(mark) {
        return Some((mark.len() + 1, false));
    }
    let number = mark.strip_suffix(['.', ')'])?;
    let number = number.strip_prefix('(').unwrap_or(number);
    let is_number =
        number == "#" || (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some((mark.len() + 1, true))
}

/// Returns the name and the value of a field, `:name: value`.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix(':')?.split_once(':')?;
    let is_field = !name.is_empty() && !name.starts_with(' ') && !name.contains('`');
    (is_field && (value.is_empty() || value.starts_with(' '))).then(|| (name, value.trim()))
}

/// Returns whether a line begins a grid table, or a simple table with columns of `=`.
fn is_table(line: &str) -> bool {
    let is_grid = line.starts_with("+-") && line.chars().all(|c| "+-=".contains(c));
    is_grid || line.starts_with("==") && line.contains(' ') && line.chars().all(|c| "= ".contains(c))
}

struct RestructuredWriter {
    names: DefinedNames,
    /// The styles of titles in order of appearance: the adornment, and whether it is also above the title.
    styles: Vec<(char, bool)>,
    out: String,
    /// Maximum size of `out`, in bytes.
    limit: usize,
    /// Number of lines that were searched for the ends of tables.
    searched: usize,
}

impl RestructuredWriter {
    /// Returns whether the text needs more than the limits, so that the result is not used.
    fn is_full(&self) -> bool {
        self.names.left.get() == 0 || self.out.len() > self.limit || self.searched > MAX_SEARCHED
    }

    fn blocks(&mut self, lines: &[&str], depth: usize) {
        if depth > MAX_DEPTH {
            self.literal(lines);
            return;
        }
        let mut at = 0;
        while let Some(rest) = lines.get(at..).filter(|rest| !rest.is_empty() && !self.is_full()) {
            // Advances by at least one line.
            at += self.block(rest, depth).max(1);
        }
    }

    /// Writes the first block; returns the number of its lines.
    fn block(&mut self, lines: &[&str], depth: usize) -> usize {
        let line = lines.first().copied().unwrap_or_default();
        let next = lines.get(1).copied().unwrap_or_default();
        if line.is_empty() {
            return 1;
        }
        if indentation(line) > 0 {
            return self.nested("blockquote", lines, indented(lines, 1), depth);
        }
        if let Some(length) = self.title(lines) {
            return length;
        }
        if line.starts_with(".. ") || line == ".." {
            let length = 1 + indented(lines.get(1..).unwrap_or_default(), 1);
            self.explicit(lines.get(..length).unwrap_or_default(), depth);
            return length;
        }
        if is_table(line) {
            return self.table(lines);
        }
        if line.starts_with(">>> ") {
            let length = paragraph(lines);
            self.literal(lines.get(..length).unwrap_or_default());
            return length;
        }
        if line.starts_with("| ") {
            let length = lines.iter().take_while(|line| line.starts_with('|')).count();
            let texts = lines
                .iter()
                .take(length)
                .map(|line| inline(line.trim_start_matches('|').trim(), &self.names));
            let text = texts.collect::<Vec<_>>().join("<br>");
            self.out.push_str(&format!("<p>{text}</p>\n"));
            return length;
        }
        if let Some((_, is_numbered)) = item(line) {
            return self.list(lines, is_numbered, depth);
        }
        if field(line).is_some() {
            return self.fields(lines, depth);
        }
        if !next.is_empty() && indentation(next) > 0 && !line.ends_with("::") {
            let length = 1 + indented(lines.get(1..).unwrap_or_default(), 1);
            self.out.push_str(&format!("<dl><dt>{}</dt>", inline(line, &self.names)));
            self.nested("dd", lines.get(1..).unwrap_or_default(), length - 1, depth);
            self.out.push_str("</dl>\n");
            return length;
        }
        self.paragraph(lines)
    }

    /// Writes the first `length` lines, without their common indentation, in an element; returns `length`.
    fn nested(&mut self, element: &str, lines: &[&str], length: usize, depth: usize) -> usize {
        let inside = outdented(lines.get(..length).unwrap_or_default());
        self.out.push_str(&format!("<{element}>"));
        self.blocks(&inside, depth + 1);
        self.out.push_str(&format!("</{element}>\n"));
        length
    }

    /// Writes lines as a literal block.
    fn literal(&mut self, lines: &[&str]) {
        let text = outdented(lines).join("\n");
        let text = text.trim_matches('\n');
        if !text.is_empty() {
            self.out.push_str(&format!("<pre>{}</pre>\n", escape(text)));
        }
    }

    /// Writes a title, or a transition, a line between paragraphs. Returns the number of its lines, if any.
    fn title(&mut self, lines: &[&str]) -> Option<usize> {
        let first = lines.first().copied()?;
        let second = lines.get(1).copied().unwrap_or_default();
        if let Some(over) = adornment(first) {
            let is_over = lines.get(2).and_then(|line| adornment(line)) == Some(over);
            if is_over && !second.is_empty() && adornment(second).is_none() {
                self.heading(second.trim(), (over, true));
                return Some(3);
            }
            if first.len() >= 4 && second.is_empty() {
                self.out.push_str("<hr>\n");
                return Some(1);
            }
            return None;
        }
        // Like docutils, accepts an underline that is shorter than the title if it has at least four characters.
        let under = adornment(second)?;
        let is_title = second.len() >= first.chars().count() || second.len() >= 4;
        (is_title && item(first).is_none()).then(|| {
            self.heading(first, (under, false));
            2
        })
    }

    fn heading(&mut self, title: &str, style: (char, bool)) {
        let at = self.styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.styles.push(style);
            self.styles.len() - 1
        });
        let level = (at + 1).min(6);
        self.out.push_str(&format!("<h{level}>{}</h{level}>\n", inline(title, &self.names)));
    }

    /// Writes a directive; omits comments, targets and substitutions.
    fn explicit(&mut self, lines: &[&str], depth: usize) {
        let first = lines.first().copied().unwrap_or_default().trim_start_matches("..").trim();
        let body = lines.get(1..).unwrap_or_default();
        let Some((name, argument)) = first.split_once("::").filter(|(name, _)| !name.contains([' ', '_']))
        else {
            return;
        };
        let options = body.iter().take_while(|line| line.trim_start().starts_with(':')).count();
        let content = body.get(options..).unwrap_or_default();
        let argument = argument.trim();
        match name.to_ascii_lowercase().as_str() {
            "image" | "figure" => {
                let text = option(body, "alt").unwrap_or_default();
                if !text.is_empty() {
                    self.out.push_str(&format!("<p>{}</p>\n", escape(&text)));
                }
                self.blocks(&outdented(content), depth + 1);
            }
            "code-block" | "code" | "sourcecode" | "parsed-literal" | "highlight" | "literalinclude" => {
                self.literal(content);
            }
            // These directives have no effect on the page.
            "contents" | "sectnum" | "meta" => {}
            kind @ ("note" | "warning" | "tip" | "important" | "caution" | "attention" | "danger"
            | "error" | "hint" | "seealso" | "versionadded" | "versionchanged" | "deprecated"
            | "admonition" | "topic") => {
                let title = match kind {
                    "versionadded" => "Added in version",
                    "versionchanged" => "Changed in version",
                    "seealso" => "See also",
                    kind => kind,
                };
                let mut letters = title.chars();
                let title: String =
                    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect();
                self.out.push_str(&format!("<blockquote><p><strong>{}</strong>", escape(&title)));
                if !argument.is_empty() {
                    self.out.push_str(&format!(" {}", inline(argument, &self.names)));
                }
                self.out.push_str("</p>\n");
                self.blocks(&outdented(content), depth + 1);
                self.out.push_str("</blockquote>\n");
            }
            _ => self.literal(lines),
        }
    }

    fn table(&mut self, lines: &[&str]) -> usize {
        let is_grid = lines.first().is_some_and(|line| line.starts_with('+'));
        let length = if is_grid {
            lines.iter().take_while(|line| line.starts_with(['+', '|'])).count()
        } else {
            self.searched += lines.len().min(MAX_TABLE);
            // A border and a blank line end the table.
            let end = lines.iter().enumerate().take(MAX_TABLE).skip(1).position(|(at, line)| {
                is_table(line) && lines.get(at + 1).is_none_or(|next| next.is_empty())
            });
            end.map_or_else(|| paragraph(lines), |end| end + 2)
        };
        self.literal(lines.get(..length).unwrap_or_default());
        length
    }

    fn list(&mut self, lines: &[&str], is_numbered: bool, depth: usize) -> usize {
        let element = if is_numbered { "ol" } else { "ul" };
        self.out.push_str(&format!("<{element}>\n"));
        let mut at = 0;
        loop {
            let rest = lines.get(at..).unwrap_or_default();
            let blank = rest.iter().take_while(|line| line.is_empty()).count();
            let rest = rest.get(blank..).unwrap_or_default();
            let Some((first, (width, _))) = rest
                .first()
                .and_then(|line| Some((*line, item(line)?)))
                .filter(|(_, (_, other))| *other == is_numbered)
            else {
                break;
            };
            let length = 1 + indented(rest.get(1..).unwrap_or_default(), 1);
            let mut inside = vec![first.get(width..).unwrap_or_default().trim_start()];
            inside.extend(outdented_by(rest.get(1..length).unwrap_or_default(), width));
            self.out.push_str("<li>");
            self.blocks(&inside, depth + 1);
            self.out.push_str("</li>\n");
            at += blank + length;
        }
        self.out.push_str(&format!("</{element}>\n"));
        at
    }

    fn fields(&mut self, lines: &[&str], depth: usize) -> usize {
        self.out.push_str("<dl>");
        let mut at = 0;
        while let Some((name, value)) = lines.get(at).and_then(|line| field(line)) {
            let after = lines.get(at + 1..).unwrap_or_default();
            let length = indented(after, 1);
            let mut inside = vec![value];
            inside.extend(outdented(after.get(..length).unwrap_or_default()));
            self.out.push_str(&format!("<dt>{}</dt><dd>", inline(name, &self.names)));
            self.blocks(&inside, depth + 1);
            self.out.push_str("</dd>");
            at += 1 + length;
        }
        self.out.push_str("</dl>\n");
        at
    }

    fn paragraph(&mut self, lines: &[&str]) -> usize {
        let mut length = paragraph(lines);
        let text = lines.get(..length).unwrap_or_default().join("\n");
        let Some(before) = text.strip_suffix("::") else {
            self.out.push_str(&format!("<p>{}</p>\n", inline(&text, &self.names)));
            return length;
        };
        // `text::` precedes a literal block and is written with one colon; `::` alone is omitted.
        if !before.trim().is_empty() {
            let colon = if before.ends_with(' ') { "" } else { ":" };
            self.out.push_str(&format!("<p>{}{colon}</p>\n", inline(before.trim_end(), &self.names)));
        }
        let after = lines.get(length..).unwrap_or_default();
        let literal = indented(after, 1);
        self.literal(after.get(..literal).unwrap_or_default());
        length += literal;
        length
    }
}

/// Returns the number of lines of a paragraph, which ends before a blank line.
fn paragraph(lines: &[&str]) -> usize {
    lines.iter().take_while(|line| !line.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_a_much_longer_result_are_not_converted() {
        let target = format!(".. _a: http://{}\n\n", "&".repeat(480));
        let image = format!(".. |a| image:: x\n   :alt: {}\n   :target: http://b\n\n", "\"".repeat(490));
        for (name, text) in [
            ("a target in one paragraph", format!("{target}{}", "a_ ".repeat(80_000))),
            ("a target in many paragraphs", format!("{target}{}", "a_\n\n".repeat(50_000))),
            ("a substitution in one paragraph", format!("{image}{}", "|a| ".repeat(29_900))),
            ("a substitution in many paragraphs", format!("{image}{}", "|a|\n\n".repeat(5_000))),
            ("a substitution in a list", format!("{image}{}", "* |a|\n".repeat(9_000))),
            ("tables without end", "== ==\nx\n\n".repeat(19_900)),
        ] {
            assert!(to_html(&text).is_none(), "{name}");
        }
    }

    #[test]
    fn ordinary_texts_are_converted() {
        let table = format!("==== ====\n{}==== ====\n\n", "a    b\n".repeat(900)).repeat(30);
        let target = format!(".. _a: https://a.example/{}\n\n", "b".repeat(400));
        for (name, text) in [
            ("lines", "a line of text\n".repeat(17_000)),
            ("colons", format!("a {}", ":".repeat(254_000))),
            ("tables", table),
            ("one target", format!("{target}{}", "a_ ".repeat(100))),
            ("changes", "1.2\n---\n\n* Fixed `#1 <https://a.example/1>`_ of :func:`b`.\n\n".repeat(4_000)),
        ] {
            let html = to_html(&text).unwrap_or_default();
            assert!(!html.is_empty() && html.len() <= MAX_GROWTH * text.len() + MIN_RESULT, "{name}");
        }
        let short = to_html(".. _a: http://b\n\na_ :func:`c` :a:b\n").unwrap_or_default();
        assert!(short.contains("<a href=\"http://b\">a</a> <code>c</code> :a:b"), "{short}");
    }
}
