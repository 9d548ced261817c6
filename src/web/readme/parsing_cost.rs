//! A limit of the work of the HTML parser, decided by reading the HTML once.

/// Maximum length of the HTML of a converter, in bytes.
pub(super) const MAX_HTML: usize = 1 << 20;
/// Maximum number of tags of a README.
pub(super) const MAX_TAGS: usize = 10_000;
/// Maximum number of `&`, each of which begins a separate text of the parser.
const MAX_ENTITIES: usize = 30_000;
/// Maximum number of attributes of a tag: the parser compares each attribute with all previous ones.
const MAX_ATTRIBUTES: usize = 100;
/// Maximum number of elements that are open at all tags together: for a tag, the parser may search all that are open.
const MAX_OPEN: usize = 3_000_000;
/// Maximum number of tags that the parser may add: every paragraph repeats the open formatting elements (HTML
/// standard, reconstruction of the active formatting elements).
const MAX_REPEATED: usize = 50_000;
/// Maximum size of the tags that the parser may add, with their attributes, in bytes.
const MAX_REPEATED_BYTES: usize = 4 << 20;

/// Elements that are repeated.
const FORMATTING: [&str; 14] =
    ["a", "b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u", "nobr"];
/// Elements without an end tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];
/// Elements that the end tag of an element around them ends.
const IMPLIED_END: [&str; 11] =
    ["dd", "dt", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"];

/// Elements whose content has another syntax: after one of them, no end tag is read.
const OTHER_SYNTAX: [&str; 12] = [
    "iframe",
    "math",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "script",
    "style",
    "svg",
    "textarea",
    "title",
    "xmp",
];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns true if the HTML parser is fast for a text, and its result is not much longer.
///
/// SECURITY: every `<` counts as the beginning of a tag, even in a comment or in the value of an attribute,
/// so that every tag that the parser finds is counted, regardless of the text before it. An end tag counts only where
/// the parser finds it, too.
pub(super) fn is_simple(html: &str) -> bool {
    if html.len() > MAX_HTML || html.bytes().filter(|byte| *byte == b'&').count() > MAX_ENTITIES {
        return false;
    }
    let (mut tags, mut elements, mut repeated, mut repeated_bytes) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut open = OpenElements::default();
    // The end of the tag or comment before which the parser finds no other tag.
    let mut inside_until = 0_usize;
    // Limits the total length of tags: they overlap only if the value of an attribute contains `<`.
    let mut unread = html.len().saturating_mul(4);
    for (start, _) in html.match_indices('<') {
        tags += 1;
        let rest = html.get(start + 1..).unwrap_or_default();
        let (length, attributes) = extent(rest.as_bytes());
        let Some(left) = unread.checked_sub(length) else { return false };
        unread = left;
        if tags > MAX_TAGS || attributes > MAX_ATTRIBUTES {
            return false;
        }
        let tag = rest.get(..length).unwrap_or(rest);
        let is_end = tag.starts_with('/');
        let name = element_name(tag.strip_prefix('/').unwrap_or(tag));
        if start >= inside_until {
            let markup = if length > 0 { length } else { comment_length(rest) };
            let has_other_syntax = !is_end && is_one_of(name, &OTHER_SYNTAX);
            inside_until = if has_other_syntax { usize::MAX } else { start + 1 + markup };
            if is_end {
                open.end(name);
            }
        }
        elements += open.elements.len();
        repeated += open.formatting;
        repeated_bytes = repeated_bytes.saturating_add(open.formatting_bytes);
        if elements > MAX_OPEN || repeated > MAX_REPEATED || repeated_bytes > MAX_REPEATED_BYTES {
            return false;
        }
        if !is_end {
            open.begin(name, length, inside_until == usize::MAX);
        }
    }
    true
}

/// Returns the name of the element of a tag, which is empty for other text.
fn element_name(tag: &str) -> &str {
    tag.split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).next().unwrap_or_default()
}

/// Returns the number of bytes of a comment after its `<`, including its `>`; 0 for other text (HTML standard, 13.2.5.41
/// to 13.2.5.52).
fn comment_length(rest: &str) -> usize {
    if let Some(text) = rest.strip_prefix("!--") {
        if text.starts_with('>') {
            return 4;
        }
        if text.starts_with("->") {
            return 5;
        }
        let is_end =
            |at: &usize| text.get(..*at).is_some_and(|text| text.ends_with("--") || text.ends_with("--!"));
        let end = text.match_indices('>').map(|(at, _)| at).find(is_end);
        return end.map_or(rest.len(), |at| 3 + at + 1);
    }
    match rest.as_bytes() {
        [b'!' | b'?', ..] => {}
        [b'/', next, ..] if !next.is_ascii_alphabetic() => {}
        _ => return 0,
    }
    rest.find('>').map_or(rest.len(), |at| at + 1)
}

/// The elements that are open, at least as many as in the parser: an end tag is ignored if the parser may ignore it.
#[derive(Default)]
struct OpenElements<'a> {
    /// Names, and the lengths of the tags in bytes.
    elements: Vec<(&'a str, usize)>,
    formatting: usize,
    formatting_bytes: usize,
}

impl<'a> OpenElements<'a> {
    /// Opens an element. `is_other` states that its name may be one of another syntax, which has other empty elements.
    fn begin(&mut self, name: &'a str, length: usize, is_other: bool) {
        if name.is_empty() || (is_one_of(name, &VOID) && !is_other) {
            return;
        }
        for ended in ended_by(name) {
            if self.elements.last().is_some_and(|(last, _)| is_one_of(last, ended)) {
                self.pop();
            }
        }
        self.elements.push((name, length));
        if is_one_of(name, &FORMATTING) {
            self.formatting += 1;
            self.formatting_bytes += length;
        }
    }

    fn end(&mut self, name: &str) {
        // The parser may ignore the end of a formatting element behind a block.
        let is_formatting = is_one_of(name, &FORMATTING);
        for (inside, (other, _)) in self.elements.iter().rev().enumerate() {
            if other.eq_ignore_ascii_case(name) {
                for _ in 0..=inside {
                    self.pop();
                }
                return;
            }
            let is_passed = if is_formatting {
                inside == 0 && other.eq_ignore_ascii_case("p")
            } else {
                is_one_of(other, &IMPLIED_END)
            };
            if !is_passed {
                return;
            }
        }
    }

    fn pop(&mut self) {
        let Some((name, length)) = self.elements.pop() else { return };
        if is_one_of(name, &FORMATTING) {
            self.formatting -= 1;
            self.formatting_bytes -= length;
        }
    }
}

/// Returns the elements that a start tag ends if they are the last open ones, from the inside out.
fn ended_by(name: &str) -> &'static [&'static [&'static str]] {
    const CELL: &[&str] = &["td", "th"];
    const ROW: &[&str] = &["tr"];
    match name.to_ascii_lowercase().as_str() {
        "a" => &[&["a"]],
        "p" => &[&["p"]],
        "li" => &[&["p"], &["li"]],
        "dd" | "dt" => &[&["p"], &["dd", "dt"]],
        "td" | "th" => &[CELL],
        "tr" => &[CELL, ROW],
        "tbody" | "tfoot" => &[CELL, ROW, &["tbody", "thead"]],
        _ => &[],
    }
}

/// Returns the number of bytes of a tag after its `<`, including its `>`, and the number of its attributes, as the
/// parser reads them (HTML standard, 13.2.5.32 to 13.2.5.39). Stops after too many attributes.
fn extent(tag: &[u8]) -> (usize, usize) {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum State {
        ElementName,
        BeforeName,
        Name,
        AfterName,
        BeforeValue,
        Quoted(u8),
        Unquoted,
    }
    // End tags may have attributes, too.
    let name = tag.strip_prefix(b"/").unwrap_or(tag);
    let is_tag = name.first().is_some_and(u8::is_ascii_alphabetic);
    if !is_tag {
        return (0, 0);
    }
    let (mut state, mut attributes) = (State::ElementName, 0);
    for (at, byte) in tag.iter().copied().enumerate() {
        let is_space = byte.is_ascii_whitespace();
        state = match state {
            State::Quoted(quote) if byte == quote => State::BeforeName,
            State::Quoted(quote) => State::Quoted(quote),
            _ if byte == b'>' => return (at + 1, attributes),
            State::BeforeValue if is_space => State::BeforeValue,
            State::BeforeValue if byte == b'"' || byte == b'\'' => State::Quoted(byte),
            State::BeforeValue => State::Unquoted,
            State::Unquoted if !is_space => State::Unquoted,
            State::Name | State::AfterName if byte == b'=' => State::BeforeValue,
            State::Name | State::AfterName if is_space => State::AfterName,
            State::ElementName | State::Name if !is_space && byte != b'/' => state,
            _ if is_space || byte == b'/' => State::BeforeName,
            _ => {
                attributes += 1;
                State::Name
            }
        };
        if attributes > MAX_ATTRIBUTES {
            return (at + 1, attributes);
        }
    }
    (tag.len(), attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_where_the_parser_ends_them() {
        for (tag, expected) in [
            ("b>x", (2, 0)),
            ("a href='x>y' b=c/d e/f>z", (23, 4)),
            ("/p a>", (5, 2)),
            ("b =\"x>y", (6, 1)),
            ("img a=\">", (8, 1)),
            ("p a = > b", (7, 1)),
            (" b", (0, 0)),
            ("!-- b='", (0, 0)),
        ] {
            assert_eq!(extent(tag.as_bytes()), expected, "{tag}");
        }
    }

    #[test]
    fn deep_and_repeated_elements_are_refused() {
        let ids: String = (0..9_000).map(|at| format!("<b id={at}>")).collect();
        for (name, html) in [
            ("links in tables", "<a href=\"https://a.example\"><table><tr><td>".repeat(2_400)),
            ("blocks", "<div>".repeat(9_990)),
            ("blocks with paragraphs", format!("{}{}", "<div>".repeat(5_000), "<p>".repeat(4_990))),
            (
                "end tags that the parser ignores",
                format!("{}{}", "<span>".repeat(5_000), "</q>".repeat(4_990)),
            ),
            ("lists", "<ul><li>".repeat(4_990)),
            ("lists of terms", "<dl><dd>".repeat(4_990)),
            ("elements of other names", "<details><summary>".repeat(4_990)),
            ("cells", "<table><tr><th>".repeat(3_300)),
            ("repeated formatting", format!("<b><i><s><u><em><code>{}", "<p>x".repeat(9_900))),
            ("different formatting", format!("{ids}{}", "<p>x".repeat(900))),
            ("empty elements of other names", "<br-x>".repeat(9_990)),
            ("entities", "&amp;".repeat(MAX_ENTITIES + 1)),
        ] {
            assert!(!is_simple(&html), "{name}");
        }
    }

    #[test]
    fn end_tags_that_the_parser_ignores_are_ignored() {
        for unit in [
            "<b id=N title=\"</b>\">",
            "<b id=N><!--</b>-->",
            "<b id=N></b-x>",
            "<table><b id=N><td></b></table>",
            "<b id=N><li><dd><li><dd><li><dd><li><dd><li><dd></b>",
            "<svg><b id=N></b>",
        ] {
            let count = (9_000 - 4_000) / unit.matches('<').count();
            let units: String = (0..count).map(|at| unit.replace('N', &at.to_string())).collect();
            let html = format!("<p>{units}{}", "<p>x".repeat(4_000));
            assert!(!is_simple(&html), "{unit}");
        }
    }

    #[test]
    fn a_comment_ends_where_the_parser_ends_it() {
        for (text, expected) in [
            ("!-- a --> b", 9),
            ("!--> b", 4),
            ("!---> b", 5),
            ("!-- a --!> b", 10),
            ("!-- > b", 7),
            ("!doctype> b", 9),
            ("?a> b", 3),
            ("/ > b", 3),
            ("b", 0),
            (" b>", 0),
        ] {
            assert_eq!(comment_length(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_elements_are_simple() {
        let rows = format!("<tr>{}</tr>\n", "<td>1</td>".repeat(10)).repeat(400);
        for (name, html) in [
            ("table", format!("<table><thead><tr><th>a</th></tr></thead><tbody>{rows}</tbody></table>")),
            ("rows without ends", format!("<table>{}</table>", "<tr><td>1<td>2".repeat(3_000))),
            ("lists without ends", "<ul><li>a<li><p>b<p>c<li>d</ul><br>".repeat(1_200)),
            (
                "links",
                "<p><a href=\"https://a.example/b\"><strong>a</strong> <code>b</code></a></p>\n"
                    .repeat(1_200),
            ),
            ("comments", "<!-- badges: start --><p><b>a</b></p><!-- badges: end -->\n".repeat(1_000)),
            ("an element without end", format!("<b>{}", "<p>a</p>".repeat(4_900))),
        ] {
            assert!(is_simple(&html), "{name}");
        }
    }
}
