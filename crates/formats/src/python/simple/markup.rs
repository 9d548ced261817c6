//! A tokenizer for the HTML of simple pages: start tags with attributes, texts and comments. It accepts any text;
//! doctypes and processing instructions are skipped.
//!
//! No crate is suitable: browser parsers repair markup in ways that installers do not, and small ones do not decode
//! character references.

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `<name …>`
    Start(Tag<'a>),
    /// `</name>`
    End(&'a str),
    /// Text between tags, not decoded.
    Text(&'a str),
    /// The content of `<!-- … -->`.
    Comment(&'a str),
}

/// A start tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// The name as written.
    pub(super) name: &'a str,
    attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// Returns true if the tag has this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns the decoded value of an attribute; empty for an attribute without a value. The first occurrence counts,
    /// as in browsers.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = Attributes { rest: self.attributes };
        attributes.find(|(attribute, _)| attribute.eq_ignore_ascii_case(name)).map(|(_, value)| decode(value))
    }
}

/// The attributes of a tag: names and undecoded values.
struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let is_blank = |c: char| c.is_ascii_whitespace() || c == '/';
        self.rest = self.rest.trim_start_matches(is_blank);
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find(|c: char| is_blank(c) || c == '=').unwrap_or(self.rest.len());
        // A name may begin with `=`, as in browsers.
        let end = if end == 0 { 1 } else { end };
        let (name, rest) = self.rest.split_at(end);
        let Some(value) = rest.trim_ascii_start().strip_prefix('=') else {
            self.rest = rest;
            return Some((name, ""));
        };
        let value = value.trim_ascii_start();
        let (value, rest) = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            None => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        self.rest = rest;
        Some((name, value))
    }
}

/// The tokens of a document.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(document: &'a str) -> Tokens<'a> {
        Tokens { rest: document }
    }

    /// Returns the decoded text up to the end tag with this name, without white space around it.
    pub(super) fn text_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        for token in self.by_ref() {
            match token {
                Token::Text(piece) => text.push_str(piece),
                Token::End(name) if name.eq_ignore_ascii_case(end) => break,
                Token::Start(_) | Token::End(_) | Token::Comment(_) => {}
            }
        }
        decode(text.trim())
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            let Some(markup) = self.rest.strip_prefix('<') else {
                let (text, rest) = self.rest.split_at(self.rest.find('<').unwrap_or(self.rest.len()));
                self.rest = rest;
                return Some(Token::Text(text));
            };
            if let Some(comment) = markup.strip_prefix("!--") {
                let (comment, rest) = comment.split_once("-->").unwrap_or((comment, ""));
                self.rest = rest;
                return Some(Token::Comment(comment));
            }
            let is_closing = markup.starts_with('/');
            let name_start = usize::from(is_closing);
            let is_tag = markup[name_start..].starts_with(|c: char| c.is_ascii_alphabetic());
            if !is_tag && !markup.starts_with(['!', '?', '/']) {
                // A single `<` is text.
                self.rest = markup;
                return Some(Token::Text("<"));
            }
            let (tag, rest) = markup.split_at(tag_end(markup));
            self.rest = rest.strip_prefix('>').unwrap_or(rest);
            if !is_tag {
                continue;
            }
            let tag = &tag[name_start..];
            let name_end = tag.find(|c: char| c.is_ascii_whitespace() || c == '/').unwrap_or(tag.len());
            let (name, attributes) = tag.split_at(name_end);
            return Some(if is_closing { Token::End(name) } else { Token::Start(Tag { name, attributes }) });
        }
        None
    }
}

/// Returns the position of the `>` that ends a tag: the first one outside quoted values.
fn tag_end(markup: &str) -> usize {
    let mut quote = None;
    let mut previous = b' ';
    for (at, byte) in markup.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') if previous == b'=' => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            previous = byte;
        }
    }
    markup.len()
}

/// Decodes character references: numeric ones and `amp lt gt quot apos nbsp`. Others are unchanged.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.and_then(|end| Some((reference(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok()?,
            None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        },
        None => {
            return match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                "nbsp" => Some('\u{a0}'),
                _ => None,
            };
        }
    };
    char::from_u32(number).filter(|c| *c != '\0')
}

/// Appends a text to `out`, escaped for content and quoted attribute values.
pub(super) fn escape(text: &str, out: &mut String) {
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let reference = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        out.push_str(reference);
        start = at + 1;
    }
    out.push_str(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first_tag(document: &str) -> Tag<'_> {
        let tag = Tokens::new(document).find_map(|token| match token {
            Token::Start(tag) => Some(tag),
            Token::End(_) | Token::Text(_) | Token::Comment(_) => None,
        });
        tag.expect("a start tag")
    }

    #[test]
    fn attributes_are_read_in_every_notation() {
        let tag = first_tag("<A HREF='x>y' data-a = \"1 &gt; 2\" b c=d/e data-a=\"second\"/>");
        assert!(tag.is("a"));
        let value = |name: &str| tag.attribute(name);
        assert_eq!(value("href").as_deref(), Some("x>y"));
        assert_eq!(value("data-a").as_deref(), Some("1 > 2"));
        assert_eq!((value("B").as_deref(), value("c").as_deref(), value("d")), (Some(""), Some("d/e"), None));
        assert_eq!(first_tag("<a href=x>").attribute("href").as_deref(), Some("x"));
    }

    #[test]
    fn comments_texts_and_broken_markup_are_tokens() {
        let tokens: Vec<Token<'_>> = Tokens::new("<!DOCTYPE x>1 < 2<!-- <a> --></a ><").collect();
        let expected = [
            Token::Text("1 "),
            Token::Text("<"),
            Token::Text(" 2"),
            Token::Comment(" <a> "),
            Token::End("a"),
            Token::Text("<"),
        ];
        assert_eq!(tokens, expected);
        let mut tokens = Tokens::new("a &amp; <b>b</b>\n</a>rest");
        assert_eq!(tokens.text_until("A"), "a & b");
        assert_eq!(tokens.next(), Some(Token::Text("rest")));
        assert_eq!(Tokens::new("<!-- open").count(), 1);
    }

    #[test]
    fn character_references_are_decoded() {
        assert_eq!(
            decode("don&#39;t &quot;x&quot; &amp;lt; &#x41;&#X42;&nbsp;"),
            "don't \"x\" &lt; AB\u{a0}"
        );
        for unchanged in
            ["&", "&;", "&#;", "&#x;", "&unknown;", "&#0;", "&#55296;", "&#x110000;", "&#-1;", "& amp;"]
        {
            assert_eq!(decode(unchanged), unchanged);
        }
    }

    proptest! {
        #[test]
        fn escaped_texts_are_decoded_to_themselves(text in "\\PC{0,40}") {
            let mut out = String::new();
            escape(&text, &mut out);
            prop_assert_eq!(decode(&out), text.clone());
            let tag_text = format!("<a x=\"{out}\" y>");
            prop_assert_eq!(first_tag(&tag_text).attribute("x"), Some(text));
        }

        #[test]
        fn no_document_panics(text in "(<|>|/|a|=|\"|'|&|#|;|!|-| |é|\\PC){0,40}") {
            for token in Tokens::new(&text) {
                if let Token::Start(tag) = token {
                    let _ = tag.attribute("a");
                }
            }
        }
    }
}
