//! The tags and texts of HTML of any author, found by reading it once (HTML standard, 13.2.5).

use memchr::memchr_iter;

/// Maximum number of attributes of a tag that are read.
const MAX_ATTRIBUTES: usize = 50;

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

/// A tag or a text. Comments are omitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text, in which a `<` begins no tag.
    Text(&'a str),
    /// A start tag: the name of the element, and the names and values of its attributes, as they are written.
    Start(&'a str, Vec<(&'a str, &'a str)>),
    /// An end tag.
    End(&'a str),
}

/// The tokens of HTML. A tag or comment without an end omits the rest.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(html: &'a str) -> Tokens<'a> {
        Tokens { rest: html }
    }

    /// Takes the next bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes the rest of the content of an element, and its end tag.
    fn take_content(&mut self, name: &str) {
        let is_end = |at: &usize| {
            let after = self.rest.get(at + 2..).unwrap_or_default();
            let is_name = after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
            let next = after.as_bytes().get(name.len()).copied();
            is_name && next.is_none_or(|byte| is_space(byte) || matches!(byte, b'/' | b'>'))
        };
        let end = self.rest.match_indices("</").map(|(at, _)| at).find(is_end);
        self.take(end.unwrap_or(self.rest.len()));
        let tag = tag(self.rest.get(2..).unwrap_or_default());
        self.take(tag.map_or(self.rest.len(), |tag| 2 + tag.length));
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            let (is_end, start) = match self.rest.as_bytes() {
                [b'<', b'/', next, ..] if next.is_ascii_alphabetic() => (true, 2),
                [b'<', next, ..] if next.is_ascii_alphabetic() => (false, 1),
                [b'<', b'!' | b'?', ..] | [b'<', b'/', _, ..] => {
                    let length = comment_length(self.rest);
                    self.take(length);
                    continue;
                }
                bytes => {
                    // A `<` at the beginning is text.
                    let next = memchr_iter(b'<', bytes).find(|at| *at > 0);
                    return Some(Token::Text(self.take(next.unwrap_or(bytes.len()))));
                }
            };
            let Some(Tag { name, attributes, length }) = tag(self.rest.get(start..).unwrap_or_default())
            else {
                self.rest = "";
                return None;
            };
            self.take(start + length);
            if is_end {
                return Some(Token::End(name));
            }
            if OMITTED.iter().any(|omitted| omitted.eq_ignore_ascii_case(name)) {
                self.take_content(name);
                continue;
            }
            return Some(Token::Start(name, attributes));
        }
        None
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

/// A tag without its `<` or `</`.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
    /// The number of its bytes, with its `>`.
    length: usize,
}

/// Reads a tag; `text` begins with its name. Returns `None` if it has no end.
fn tag(text: &str) -> Option<Tag<'_>> {
    let bytes = text.as_bytes();
    let end = |start: usize, is_end: &dyn Fn(u8) -> bool| {
        let rest = bytes.get(start..).unwrap_or_default();
        start + rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len())
    };
    let slice = |start: usize, end: usize| text.get(start..end).unwrap_or_default();
    let name_end = end(0, &|byte| is_space(byte) || matches!(byte, b'/' | b'>'));
    let (name, mut at, mut attributes) = (slice(0, name_end), name_end, Vec::new());
    loop {
        at = end(at, &|byte| !is_space(byte) && byte != b'/');
        if *bytes.get(at)? == b'>' {
            return Some(Tag { name, attributes, length: at + 1 });
        }
        let key_start = at;
        // A name may begin with `=`.
        at = end(at + 1, &|byte| is_space(byte) || matches!(byte, b'/' | b'>' | b'='));
        let key = slice(key_start, at);
        at = end(at, &|byte| !is_space(byte));
        let mut value = "";
        if bytes.get(at) == Some(&b'=') {
            at = end(at + 1, &|byte| !is_space(byte));
            let first = *bytes.get(at)?;
            if matches!(first, b'"' | b'\'') {
                let close = end(at + 1, &|byte| byte == first);
                value = slice(at + 1, close);
                at = close + 1;
            } else {
                let close = end(at, &|byte| is_space(byte) || byte == b'>');
                value = slice(at, close);
                at = close;
            }
        }
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((key, value));
        }
    }
}

/// Returns the number of bytes of a comment, and of other markup that is none (HTML standard, 13.2.5.41 to 13.2.5.52).
fn comment_length(markup: &str) -> usize {
    let Some(text) = markup.strip_prefix("<!--") else {
        return markup.find('>').map_or(markup.len(), |at| at + 1);
    };
    if text.starts_with('>') {
        return 5;
    }
    if text.starts_with("->") {
        return 6;
    }
    let is_end =
        |at: &usize| text.get(..*at).is_some_and(|text| text.ends_with("--") || text.ends_with("--!"));
    let end = text.match_indices('>').map(|(at, _)| at).find(is_end);
    end.map_or(markup.len(), |at| 4 + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Token<'_> {
        Token::Text(text)
    }

    #[test]
    fn tags_end_where_a_browser_ends_them() {
        for (html, expected) in [
            ("b>x", Some((2, vec![]))),
            (
                "a href='x>y' b=c/d e/f>z",
                Some((23, vec![("href", "x>y"), ("b", "c/d"), ("e", ""), ("f", "")])),
            ),
            ("p a>", Some((4, vec![("a", "")]))),
            ("b =\"x>y", Some((6, vec![("=\"x", "")]))),
            ("img a=\">", None),
            ("img a = >", Some((9, vec![("a", "")]))),
            ("b", None),
            ("b a=", None),
            ("b a='x'", None),
            ("é a=é>", Some((8, vec![("a", "é")]))),
        ] {
            let found = tag(html).map(|tag| (tag.length, tag.attributes));
            assert_eq!(found, expected, "{html}");
        }
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
            ("a < b <", vec![text("a "), text("< b "), text("<")]),
            ("<script>a</b></scripts></Script >b", vec![text("b")]),
            ("a<style>b", vec![text("a")]),
            ("<title>a</title b='>", vec![]),
            ("<plaintext></plaintext>a", vec![text("a")]),
            ("<B a>c</B>", vec![Token::Start("B", vec![("a", "")]), text("c"), Token::End("B")]),
        ] {
            assert_eq!(Tokens::of(html).collect::<Vec<_>>(), expected, "{html}");
        }
    }
}
