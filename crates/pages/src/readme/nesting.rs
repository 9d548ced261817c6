//! Writes HTML of any author as HTML of known elements that are properly nested, as HTML permits them.
//!
//! SECURITY: a parser repairs other HTML, with time and memory that grow much faster than its size: formatting elements
//! are repeated in all following blocks, and texts between the cells of a table are moved before it. It may also end
//! elements around the text. Of [`well_nested`] HTML, it makes the elements that are written there.

use super::tag::is_blank;
use base::model::html::{Token, Tokens};

/// Maximum length of HTML, in bytes.
pub(super) const MAX_HTML: usize = 1 << 20;
/// Maximum number of tags of a README.
pub(super) const MAX_TAGS: usize = 10_000;
/// Maximum number of `&`, each of which begins a separate text of a parser.
const MAX_ENTITIES: usize = 30_000;
/// Maximum number of elements around another.
const MAX_DEPTH: usize = 150;
/// Length after which a comment divides a text, in bytes: the serializer searches the rest of a text after
/// each character that it writes as a reference, or that begins as a no-break space.
const TEXT_BYTES: usize = 4 << 10;
/// The elements of a README.
pub(super) const ELEMENTS: [&str; 47] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "caption",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "span",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
    "var",
];

/// Elements without an end tag.
pub(super) const VOID: [&str; 3] = ["br", "hr", "img"];
/// Elements that are parts of lines.
const INLINE: [&str; 17] = [
    "a", "abbr", "b", "code", "del", "em", "i", "ins", "kbd", "q", "s", "samp", "span", "strong", "sub",
    "sup", "var",
];
const SECTIONS: [&str; 3] = ["thead", "tbody", "tfoot"];
const CELLS: [&str; 2] = ["td", "th"];
/// Elements that no end tag of an element around them ends, except those of tables and their parts.
const SCOPES: [&str; 3] = ["caption", "td", "th"];
/// Blocks that are written as `div`, so that their texts are apart.
const BLOCKS: [&str; 19] = [
    "address",
    "article",
    "aside",
    "body",
    "center",
    "dir",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hgroup",
    "legend",
    "main",
    "menu",
    "nav",
    "option",
    "search",
];
const HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];
/// Returns HTML of [`ELEMENTS`] that are properly nested; `None` if it would be too long or too deep.
pub(super) fn well_nested(html: &str) -> Option<String> {
    if html.len() > MAX_HTML {
        return None;
    }
    let (mut writer, mut tags) = (NestingWriter::default(), 0_usize);
    for token in tokens(html) {
        tags += usize::from(!matches!(token, Token::Text(_)));
        match token {
            Token::Text(text) => writer.text(&text),
            Token::Start(tag) => writer.start(&tag.name, &tag.attributes),
            Token::End(name) => writer.end(&name),
            Token::Comment(_) => {}
        }
        if tags > MAX_TAGS || writer.open.len() > MAX_DEPTH || writer.html.len() > MAX_HTML {
            return None;
        }
    }
    writer.close_to(0);
    let entities = writer.html.bytes().filter(|byte| *byte == b'&').count();
    (entities <= MAX_ENTITIES).then_some(writer.html)
}

struct Element {
    /// The name by which end tags find it.
    name: &'static str,
    /// The name that is written, which differs for an element that is not permitted at its place.
    tag: &'static str,
    /// Whether it is a part of lines.
    is_inline: bool,
    /// Whether its end tag was read inside a block that is still open.
    is_ended: bool,
    /// Whether it may be omitted if it is empty.
    is_optional: bool,
    /// Whether it is a list of items that are outside of a list. It ends before other content.
    is_added: bool,
    /// The offsets of its start tag and of its content.
    start: usize,
    content: usize,
}

impl Element {
    fn new(name: &'static str, tag: &'static str, start: usize, content: usize) -> Element {
        let is_inline = INLINE.contains(&tag);
        Element { name, tag, is_inline, is_ended: false, is_optional: false, is_added: false, start, content }
    }
}

#[derive(Default)]
struct NestingWriter {
    html: String,
    /// The offset after the last tag or comment.
    text_start: usize,
    open: Vec<Element>,
}

impl NestingWriter {
    fn text(&mut self, text: &str) {
        // A parser takes a no-break space for content.
        if !text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            self.permit_content();
        }
        for c in text.chars() {
            let divides = c.is_ascii_whitespace() || matches!(c, '&' | '<' | '>' | '\u{80}'..='\u{bf}');
            if divides && self.html.len() - self.text_start >= TEXT_BYTES {
                self.html.push_str("<!---->");
                self.text_start = self.html.len();
            }
            match c {
                '&' => self.html.push_str("&amp;"),
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '\u{a0}' => self.html.push_str("&nbsp;"),
                c => self.html.push(c),
            }
        }
    }

    fn start(&mut self, name: &str, attributes: &[(String, String)]) {
        let Some(name) = known(name) else { return };
        match name {
            "br" | "img" => self.permit_content(),
            "li" => return self.start_item(name, &["li"], &["ol", "ul"], attributes),
            "dd" | "dt" => return self.start_item(name, &["dd", "dt"], &["dl"], attributes),
            "tbody" | "td" | "tfoot" | "th" | "thead" | "tr" => return self.start_part(name, attributes),
            "caption" if self.parent() == "table" && self.is_empty() => {}
            "caption" => return self.start("div", attributes),
            "a" => {
                let is_link = attributes.iter().any(|(key, _)| key == "href");
                if is_link && !self.end_link() {
                    // In a link, a further link is only its content.
                    return;
                }
                self.permit_content();
                // An anchor is often without an end tag.
                return self.push(name, if is_link { "a" } else { "span" }, attributes);
            }
            "p" if self.is_in_list() => {
                // Of a list, only items are permitted.
                self.push(name, "li", attributes);
                if let Some(element) = self.open.last_mut() {
                    element.is_optional = attributes.is_empty();
                }
                return;
            }
            name if INLINE.contains(&name) => self.permit_content(),
            name => {
                self.end_nearest(&["p"], &[]);
                if !["p", "div"].contains(&name) {
                    self.end_nearest(&HEADINGS, &["p", "div"]);
                }
                if !(["ol", "ul"].contains(&name) && self.continue_item()) {
                    self.permit_content();
                }
            }
        }
        if VOID.contains(&name) {
            self.write_tag(name, attributes);
        } else {
            self.push(name, name, attributes);
        }
    }

    /// Starts an item of one of `lists`, after the end of the one that is open. In other elements it gets a list.
    fn start_item(
        &mut self,
        name: &'static str,
        items: &[&str],
        lists: &[&'static str],
        attributes: &[(String, String)],
    ) {
        if !self.end_nearest(items, &["p", "div"]) {
            self.end_nearest(&["p"], &[]);
        }
        if !lists.contains(&self.parent()) {
            self.end_nearest(&HEADINGS, &["p", "div"]);
            self.permit_content();
            let list = lists.last().copied().unwrap_or_default();
            self.push(list, list, &[]);
            if let Some(element) = self.open.last_mut() {
                element.is_added = true;
            }
        }
        self.push(name, name, attributes);
    }

    /// Returns true in a list, outside of its items.
    fn is_in_list(&self) -> bool {
        self.open.last().is_some_and(|element| ["ol", "ul"].contains(&element.tag) && !element.is_added)
    }

    /// Continues the last item of a list, which has just ended, for a list that follows it. Returns false if there is none.
    fn continue_item(&mut self) -> bool {
        let Some(end) = self.html.trim_end().strip_suffix("</li>").map(str::len) else { return false };
        if !self.is_in_list() {
            return false;
        }
        self.html.truncate(end);
        self.text_start = end;
        self.open.push(Element::new("li", "li", end, end));
        true
    }

    fn is_empty(&self) -> bool {
        let content = self.open.last().and_then(|element| self.html.get(element.content..));
        content.is_some_and(is_blank)
    }

    /// Starts a part of the innermost table. There is none in other elements.
    fn start_part(&mut self, name: &'static str, attributes: &[(String, String)]) {
        let Some(table) = self.open.iter().rposition(|element| element.tag == "table") else { return };
        if SECTIONS.contains(&name) {
            self.close_to(table + 1);
            return self.push(name, name, attributes);
        }
        let is_at = |open: &[Element], at: usize, names: &[&str]| {
            open.get(at).is_some_and(|element| names.contains(&element.tag))
        };
        if !is_at(&self.open, table + 1, &SECTIONS) {
            self.close_to(table + 1);
            self.push("tbody", "tbody", &[]);
        }
        if name == "tr" || !is_at(&self.open, table + 2, &["tr"]) {
            self.close_to(table + 2);
            self.push("tr", "tr", if name == "tr" { attributes } else { &[] });
        }
        if name != "tr" {
            self.close_to(table + 3);
            self.push(name, name, attributes);
        }
    }

    /// Ends the open link. Returns false if that would end a block, too.
    fn end_link(&mut self) -> bool {
        let Some(link) = self.open.iter().rposition(|element| element.tag == "a") else { return true };
        let is_inner = self.open.iter().skip(link).all(|element| element.is_inline);
        if is_inner {
            self.close_to(link);
        }
        is_inner
    }

    fn end(&mut self, name: &str) {
        let Some(name) = known(name) else { return };
        if name == "br" {
            return self.start(name, &[]);
        }
        if INLINE.contains(&name) {
            return self.end_inline(name);
        }
        let names: &[&str] = match name {
            name if HEADINGS.contains(&name) => &HEADINGS,
            name => &[name],
        };
        let is_part = name == "tr" || CELLS.contains(&name) || SECTIONS.contains(&name);
        let barriers: &[&str] = match name {
            "table" => &[],
            _ if is_part || name == "caption" => &["table"],
            "li" => &["caption", "td", "th", "ol", "ul"],
            "dd" | "dt" => &["caption", "td", "th", "dl"],
            _ => &SCOPES,
        };
        let reached = self
            .open
            .iter()
            .rposition(|element| names.contains(&element.name) || barriers.contains(&element.tag));
        if let Some(at) = reached
            && self.open.get(at).is_some_and(|element| names.contains(&element.name))
        {
            self.close_to(at);
        }
    }

    /// Ends a part of lines; if blocks inside it are open, only after their end.
    fn end_inline(&mut self, name: &str) {
        let mut has_block = false;
        for (at, element) in self.open.iter_mut().enumerate().rev() {
            if !element.is_inline && SCOPES.contains(&element.tag) {
                return;
            }
            if element.name == name && !element.is_ended {
                if has_block {
                    element.is_ended = true;
                } else {
                    self.close_to(at);
                }
                return;
            }
            has_block |= !element.is_inline;
        }
    }

    /// Ends the nearest open element of `names`, and inside it parts of lines and `passed` elements; false if none.
    fn end_nearest(&mut self, names: &[&str], passed: &[&str]) -> bool {
        for (at, element) in self.open.iter().enumerate().rev() {
            if names.contains(&element.name) {
                self.close_to(at);
                return true;
            }
            if !element.is_inline && !passed.contains(&element.tag) {
                return false;
            }
        }
        false
    }

    /// Returns the name of the innermost open element, as it is written.
    fn parent(&self) -> &'static str {
        self.open.last().map_or("", |element| element.tag)
    }

    /// Starts an item or a cell, if text is permitted only in one of them.
    fn permit_content(&mut self) {
        if self.open.last().is_some_and(|element| element.is_added) {
            self.close_to(self.open.len() - 1);
        }
        match self.parent() {
            "ol" | "ul" => self.push("li", "li", &[]),
            "dl" => self.push("dd", "dd", &[]),
            "table" | "tbody" | "tfoot" | "thead" | "tr" => self.start_part("td", &[]),
            _ => {}
        }
    }

    fn push(&mut self, name: &'static str, tag: &'static str, attributes: &[(String, String)]) {
        let start = self.html.len();
        self.write_tag(tag, attributes);
        let content = self.html.len();
        self.open.push(Element::new(name, tag, start, content));
    }

    fn write_tag(&mut self, name: &str, attributes: &[(String, String)]) {
        self.html.push('<');
        self.html.push_str(name);
        push_attributes(&mut self.html, attributes);
        self.html.push('>');
        self.text_start = self.html.len();
    }

    /// Ends elements until `length` of them are open, and those around them whose end tags were read inside of them.
    fn close_to(&mut self, length: usize) {
        while self.open.len() > length || self.open.last().is_some_and(|element| element.is_ended) {
            let Some(Element { tag, is_optional, start, content, .. }) = self.open.pop() else { return };
            if is_optional && self.html.get(content..).is_some_and(is_blank) {
                self.html.truncate(start);
            } else {
                self.html.push_str("</");
                self.html.push_str(tag);
                self.html.push('>');
            }
            self.text_start = self.html.len();
        }
    }
}

fn known(name: &str) -> Option<&'static str> {
    let is_equal = |known: &&str| *known == name;
    ELEMENTS.into_iter().find(is_equal).or_else(|| BLOCKS.iter().any(is_equal).then_some("div"))
}

/// Elements whose content is omitted. That of most of them has another syntax.
const OMITTED: [&str; 11] = [
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "script",
    "style",
    "template",
    "textarea",
    "title",
    "xmp",
];

/// Returns the start tags, end tags and texts.
fn tokens(html: &str) -> impl Iterator<Item = Token> {
    let mut tokens = Tokens::of_fragment(html);
    std::iter::from_fn(move || {
        loop {
            match tokens.next()? {
                Token::Comment(_) => {}
                Token::Start(tag) if OMITTED.contains(&tag.name.as_str()) => tokens.skip_content(&tag.name),
                token => return Some(token),
            }
        }
    })
}

/// Maximum length of the value of an attribute, in bytes; longer ones are omitted.
pub(super) const MAX_VALUE: usize = 2_000;
/// Maximum number of columns and rows of a cell: browsers need seconds for many wide cells.
const MAX_SPAN: usize = 100;
/// Characters of a host that are not plain: parsing takes the square of the number of characters that are not ASCII.
const MAX_UNUSUAL: usize = 100;

const ATTRIBUTES: [&str; 12] =
    ["alt", "colspan", "dir", "height", "href", "id", "lang", "rowspan", "src", "start", "title", "width"];

pub(super) fn push_attributes(html: &mut String, attributes: &[(String, String)]) {
    for key in ATTRIBUTES {
        let Some(value) = value(attributes, key) else { continue };
        let is_written = match key {
            "colspan" | "rowspan" => value.parse().is_ok_and(|span: usize| (1..=MAX_SPAN).contains(&span)),
            "href" => value.len() <= MAX_VALUE && is_short_host(value),
            _ => value.len() <= MAX_VALUE,
        };
        if !is_written {
            continue;
        }
        html.push(' ');
        html.push_str(key);
        html.push_str("=\"");
        for c in value.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '"' => html.push_str("&quot;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                c => html.push(c),
            }
        }
        html.push('"');
    }
}

/// Returns the value of an attribute; for the id of an anchor also its name.
fn value<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let find = |key: &str| attributes.iter().find(|(found, _)| found == key);
    // Of equal attributes, the first one counts.
    let found = find(key).or_else(|| if key == "id" { find("name") } else { None });
    found.map(|(_, value)| value.as_str())
}

/// Returns true for an address whose host is plain, or has few other characters.
fn is_short_host(address: &str) -> bool {
    let unusual = address.chars().filter(|c| !c.is_ascii() || matches!(c, '%' | '&')).count();
    if unusual <= MAX_UNUSUAL || address.starts_with(['#', '.']) {
        return true;
    }
    let lower = address.get(..8).unwrap_or_default().to_ascii_lowercase();
    let start = ["https://", "http://"].into_iter().find(|start| lower.starts_with(start));
    let rest = start.and_then(|start| address.get(start.len()..)).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.len() < rest.len()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:@_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::MAX_VALUE;
    use super::*;
    use base::model::html::{MAX_ATTRIBUTES, Tag};
    use proptest::prelude::*;

    #[test]
    fn elements_are_nested_as_html_permits_them() {
        for (html, expected) in [
            // Formatting.
            ("<b>a<i>b</b>c</i>", "<b>a<i>b</i></b>c"),
            ("<b><p>a</b>b</p>c", "<b><p>ab</p></b>c"),
            ("<b><ul><li>a</b>b</ul>c", "<b><ul><li>ab</li></ul></b>c"),
            ("<p>a<b>b<p>c</b>d", "<p>a<b>b</b></p><p>cd</p>"),
            ("<B A=1 TITLE='x\"y' title=z>a", "<b title=\"x&quot;y\">a</b>"),
            ("a < b<x-y>c</x-y></b></p>", "a &lt; bc"),
            ("a</br>b", "a<br>b"),
            // Links.
            ("<a href=x>a<a href=y>b</a>c</a>", "<a href=\"x\">a</a><a href=\"y\">b</a>c"),
            ("<a href=x><div><a href=y>b</a>c</div>d</a>", "<a href=\"x\"><div>bc</div></a>d"),
            ("<a name=x><p><a href=y>b</a></p>", "<span id=\"x\"><p><a href=\"y\">b</a></p></span>"),
            // Blocks.
            ("<p>a<div>b</p>c</div>d", "<p>a</p><div>bc</div>d"),
            ("<p><span>a<hr>b", "<p><span>a</span></p><hr>b"),
            ("<h1>a<h2>b</h1>c", "<h1>a</h1><h2>b</h2>c"),
            ("<h1><p>a</p><ul><li>b</ul></h1>c", "<h1><p>a</p></h1><ul><li>b</li></ul>c"),
            ("<div>a</div></div></main>b", "<div>a</div>b"),
            // Lists.
            ("<ul><li>a<li><p>b<li>c</ul>d", "<ul><li>a</li><li><p>b</p></li><li>c</li></ul>d"),
            ("<ul>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>"),
            ("<ul> <p> </p><p id=b>b</p>\n</ul>", "<ul> <li id=\"b\">b</li>\n</ul>"),
            (
                "<ul><li><div><center><li>a</li></center>b</div>c</li></ul>d",
                "<ul><li><div><div></div></div></li><li>a</li><li>bc</li></ul>d",
            ),
            ("<ul><ol><li>a</ol>b</ul>", "<ul><li><ol><li>a</li></ol>b</li></ul>"),
            ("<li>a</li> <li>b</li> <h2>c</h2>", "<ul><li>a</li> <li>b</li> </ul><h2>c</h2>"),
            ("<ul><li>a</li> <ul><li>b</li></ul></ul>c", "<ul><li>a<ul><li>b</li></ul></li></ul>c"),
            (
                "<center>a</center><figure><figcaption>b</figcaption></figure>c",
                "<div>a</div><div><div>b</div></div>c",
            ),
            ("<dt>a<dd>b</dd>c", "<dl><dt>a</dt><dd>b</dd></dl>c"),
            ("<dl><dt>a<dd>b<dt>c</dl>", "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>"),
            // Tables.
            (
                "<table><tr><td>a<td>b<tr>c</table>d",
                "<table><tbody><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></tbody></table>d",
            ),
            (
                "<table>x<thead><th>a</thead><b>y</b></table>",
                "<table><tbody><tr><td>x</td></tr></tbody><thead><tr><th>a</th></tr></thead>\
                 <tbody><tr><td><b>y</b></td></tr></tbody></table>",
            ),
            (
                "<table><tr><b id=1><span><td></span></b>a</tr><tr>b</table>",
                "<table><tbody><tr><td><b id=\"1\"><span></span></b></td><td>a</td></tr>\
                 <tr><td>b</td></tr></tbody></table>",
            ),
            (
                "<table><td><table><td>a</td></table></div>b</table>c",
                "<table><tbody><tr><td><table><tbody><tr><td>a</td></tr></tbody></table>b</td></tr></tbody></table>c",
            ),
            (
                "<table> <caption><p>a</caption><tr><td>b<caption>c</table>",
                "<table> <caption><p>a</p></caption><tbody><tr><td>b<div>c</div></td></tr></tbody></table>",
            ),
            ("<td>a</td><tr>b", "ab"),
            ("<table> &nbsp;</table>", "<table><tbody><tr><td> &nbsp;</td></tr></tbody></table>"),
        ] {
            assert_eq!(well_nested(html).as_deref(), Some(expected), "{html}");
        }
    }

    #[test]
    fn long_values_and_long_hosts_are_omitted() {
        let (long, path) = ("一".repeat(99), "%E4".repeat(300));
        for (value, is_written) in [
            (format!("https://{long}.example"), true),
            (format!("https://{long}{long}.example"), false),
            (format!("HTTP:\\\\{long}{long}"), false),
            (format!("https://{}", "&#19968;".repeat(101)), false),
            (format!("https://{}/", "%E4".repeat(101)), false),
            (format!("https://a.example/{path}?{path}"), true),
            (format!("#{path}"), true),
            ("a".repeat(MAX_VALUE), true),
            ("a".repeat(MAX_VALUE + 1), false),
        ] {
            let html = well_nested(&format!("<a href=\"{value}\">x</a>")).expect("short");
            assert_eq!(html.contains("href"), is_written, "{value}");
        }
        let html = well_nested("<table><tr><td colspan=100 rowspan=101>x").expect("short");
        assert!(html.contains("<td colspan=\"100\">"), "{html}");
    }

    #[test]
    fn long_and_deep_html_is_refused() {
        for (name, html) in [
            ("blocks", "<div>".repeat(MAX_DEPTH + 1)),
            ("lists", "<ul><li>".repeat(MAX_DEPTH)),
            ("tables", "<table>x".repeat(MAX_DEPTH)),
            ("tags", "<br>".repeat(MAX_TAGS + 1)),
            ("entities", "&amp;".repeat(MAX_ENTITIES + 1)),
            ("escaped brackets", "< ".repeat(MAX_ENTITIES + 1)),
            ("quotes", format!("<p title='{}'>", "\"".repeat(1_000)).repeat(MAX_ENTITIES / 1_000 + 1)),
            ("long", "a".repeat(MAX_HTML + 1)),
        ] {
            assert!(well_nested(&html).is_none(), "{name}");
        }
        assert!(well_nested(&"<div>".repeat(MAX_DEPTH)).is_some());
    }

    /// Returns the tags of HTML without their attributes.
    fn tags(html: &str) -> Vec<&str> {
        let tags = html.split('<').skip(1);
        tags.map(|part| part.split([' ', '>']).next().unwrap_or_default()).collect()
    }

    /// Returns HTML as a parser understands it.
    fn parsed(html: &str) -> String {
        let mut builder = ammonia::Builder::empty();
        builder.tags(ELEMENTS.into_iter().collect()).link_rel(None);
        builder.clean(html).to_string()
    }

    const UNITS: [&str; 24] = [
        "x",
        " ",
        "</br></p>",
        "<a href=x>",
        "</a>",
        "<svg><b>",
        "<b title='<i>\"'>",
        "</b>",
        "<br/>",
        "<center>",
        "</center>",
        "<table>",
        "<caption>",
        "</table>",
        "<form><input>",
        "<button>",
        "<select><option>",
        "</select>",
        "<img src=x>",
        "<!--",
        "-->",
        "<col>",
        "&nbsp;",
        "< ",
    ];

    fn unit() -> impl Strategy<Value = String> {
        prop_oneof![
            2 => prop::sample::select(ELEMENTS.to_vec()).prop_map(|name| format!("<{name}>")),
            2 => prop::sample::select(ELEMENTS.to_vec()).prop_map(|name| format!("</{name}>")),
            1 => prop::sample::select(UNITS.to_vec()).prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_parser_finds_the_elements_that_are_written(units in prop::collection::vec(unit(), 0..60)) {
            let html = units.concat();
            let nested = well_nested(&html).expect("short");
            let inside = format!("<section><div>{nested}</div></section><hr>");
            let parsed = parsed(&inside);
            prop_assert_eq!(tags(&parsed), tags(&inside), "{}", html);
            prop_assert_eq!(well_nested(&nested), Some(nested.clone()), "{}", html);
        }
    }

    fn text(text: &str) -> Token {
        Token::Text(text.to_owned())
    }

    fn start(name: &str, attributes: &[(&str, &str)]) -> Token {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Token::Start(Tag { name: name.to_owned(), attributes: attributes.collect(), is_self_closing: false })
    }

    #[test]
    fn tags_end_where_a_browser_ends_them() {
        for (html, expected) in [
            ("<b>x", vec![start("b", &[]), text("x")]),
            (
                "<a href='x>y' b=c/d e/f>z",
                vec![start("a", &[("href", "x>y"), ("b", "c/d"), ("e", ""), ("f", "")]), text("z")],
            ),
            ("<p a>", vec![start("p", &[("a", "")])]),
            ("<b =\"x>y", vec![start("b", &[("=\"x", "")]), text("y")]),
            ("<img a=\">", vec![]),
            ("<img a = >", vec![start("img", &[("a", "")])]),
            ("<b", vec![]),
            ("<b a=", vec![]),
            ("<b a='x'", vec![]),
            ("<bé a=é>", vec![start("bé", &[("a", "é")])]),
            ("<b a=&lt;&eacute;&copy=1 a='&#60;'>", vec![start("b", &[("a", "<é&copy=1"), ("a", "<")])]),
        ] {
            assert_eq!(tokens(html).collect::<Vec<_>>(), expected, "{html}");
        }
        let many = format!("<b{}>", " a=b".repeat(MAX_ATTRIBUTES + 1));
        assert_eq!(tokens(&many).next(), Some(start("b", &[("a", "b"); MAX_ATTRIBUTES])));
    }

    #[test]
    fn comments_and_elements_of_another_syntax_are_omitted() {
        for (html, expected) in [
            ("a<!-- <b> -->c", vec![text("a"), text("c")]),
            ("<!-->b", vec![text("b")]),
            ("<!--->b", vec![text("b")]),
            ("<!-- a --!>b", vec![text("b")]),
            ("<!-- > b", vec![]),
            ("<!doctype html>b<?a?>c</ x>d", vec![text("b"), text("c"), text("d")]),
            ("a < b <", vec![text("a < b <")]),
            ("<script>a</b></scripts></Script >b", vec![text("b")]),
            ("<script><!--<script></script>b", vec![text("b")]),
            ("<template><b></template>c", vec![text("c")]),
            ("a<style>b", vec![text("a")]),
            ("<title>a</title b='>", vec![]),
            ("<plaintext></plaintext>a", vec![text("a")]),
            ("<B A>c</B>", vec![start("b", &[("a", "")]), text("c"), Token::End("b".to_owned())]),
        ] {
            assert_eq!(tokens(html).collect::<Vec<_>>(), expected, "{html}");
        }
    }
}
