//! The tokens of the HTML of simple pages, as browsers and installers find them: start tags with attributes, end tags,
//! texts and comments. Any text is HTML; nothing is repaired. The content of `script`, `style` and the like is text.

use std::mem;

use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Span, StringReader, Tokenizer};

/// Maximum number of attributes of a tag that are read: an index would else decide about the memory.
const MAX_ATTRIBUTES: usize = 50;

/// A token, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `<name …>`
    Start(Tag),
    /// `</name>`
    End(String),
    /// Text between tags.
    Text(String),
    /// The content of `<!-- … -->`, and of other markup that is none.
    Comment(String),
}

/// A start tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// The name in lower case.
    name: String,
    /// Names in lower case, and values.
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// Returns true if the tag has this name, in lower case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Returns the value of an attribute, whose name is in lower case; empty for an attribute without a value. The first
    /// occurrence counts, as in browsers.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// Makes tokens of the events of the tokenizer.
#[derive(Debug, Default)]
struct Collector {
    /// The start tag that is being read, and the number of its attributes.
    tag: Tag,
    attributes: usize,
}

impl Callback<Token, ()> for Collector {
    fn handle_event(&mut self, event: CallbackEvent<'_>, _: Span<()>) -> Option<Token> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            CallbackEvent::OpenStartTag { name } => {
                *self = Collector { tag: Tag { name: text(name), attributes: Vec::new() }, attributes: 0 };
            }
            CallbackEvent::AttributeName { name } => {
                self.attributes += 1;
                if self.attributes <= MAX_ATTRIBUTES {
                    self.tag.attributes.push((text(name), String::new()));
                }
            }
            CallbackEvent::AttributeValue { value: found } if self.attributes <= MAX_ATTRIBUTES => {
                if let Some((_, value)) = self.tag.attributes.last_mut() {
                    *value = text(found);
                }
            }
            CallbackEvent::CloseStartTag { .. } => return Some(Token::Start(mem::take(&mut self.tag))),
            CallbackEvent::EndTag { name } => return Some(Token::End(text(name))),
            CallbackEvent::String { value } => return Some(Token::Text(text(value))),
            CallbackEvent::Comment { value } => return Some(Token::Comment(text(value))),
            CallbackEvent::AttributeValue { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
        None
    }
}

/// The tokens of a document.
pub(super) struct Tokens<'a> {
    tokenizer: Tokenizer<StringReader<'a>, CallbackEmitter<Collector, Token>>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(document: &'a str) -> Tokens<'a> {
        let mut emitter = CallbackEmitter::new(Collector::default());
        emitter.naively_switch_states(true);
        Tokens { tokenizer: Tokenizer::new_with_emitter(document, emitter) }
    }

    /// Returns the text up to the end tag with this name, without white space around it.
    pub(super) fn text_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        for token in self.by_ref() {
            match token {
                Token::Text(piece) => text.push_str(&piece),
                Token::End(name) if name == end => break,
                Token::Start(_) | Token::End(_) | Token::Comment(_) => {}
            }
        }
        text.trim().to_owned()
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.tokenizer.next().map(|token| token.unwrap_or_else(|never| match never {}))
    }
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

    fn first_tag(document: &str) -> Tag {
        let tag = Tokens::new(document).find_map(|token| match token {
            Token::Start(tag) => Some(tag),
            Token::End(_) | Token::Text(_) | Token::Comment(_) => None,
        });
        tag.expect("a start tag")
    }

    /// Returns the text of a document without tags.
    fn decoded(document: &str) -> String {
        let text = |token| match token {
            Token::Text(text) => text,
            token => panic!("{token:?}"),
        };
        Tokens::new(document).map(text).collect()
    }

    #[test]
    fn attributes_are_read_in_every_notation() {
        let tag = first_tag("<A HREF='x>y' data-a = \"1 &gt; 2\" B c=d/e data-a=\"second\"/>");
        assert!(tag.is("a"));
        let value = |name: &str| tag.attribute(name);
        assert_eq!(value("href").as_deref(), Some("x>y"));
        assert_eq!(value("data-a").as_deref(), Some("1 > 2"));
        assert_eq!((value("b").as_deref(), value("c").as_deref(), value("d")), (Some(""), Some("d/e"), None));
        assert_eq!(first_tag("<a href=x>").attribute("href").as_deref(), Some("x"));
    }

    #[test]
    fn attributes_beyond_the_limit_are_not_kept() {
        let many = "b=c ".repeat(MAX_ATTRIBUTES - 1);
        let tag = first_tag(&format!("<a {many} href=x data-a=y>"));
        assert_eq!((tag.attribute("href").as_deref(), tag.attribute("data-a")), (Some("x"), None));
        assert_eq!(tag.attributes.len(), MAX_ATTRIBUTES);
    }

    #[test]
    fn comments_texts_and_broken_markup_are_tokens() {
        let tokens: Vec<Token> = Tokens::new("<!DOCTYPE x>1 < 2<!-- <a> --></A ><").collect();
        let text = |text: &str| Token::Text(text.to_owned());
        let expected =
            [text("1 < 2"), Token::Comment(" <a> ".to_owned()), Token::End("a".to_owned()), text("<")];
        assert_eq!(tokens, expected);
        let mut tokens = Tokens::new("a &amp; <b>b</b>\n</A>rest");
        assert_eq!(tokens.text_until("a"), "a & b");
        assert_eq!(tokens.next(), Some(text("rest")));
        assert_eq!(Tokens::new("<!-- open").count(), 1);
        let mut tokens = Tokens::new("<script>'<a href=x>'</script><a href=y>z</a>");
        assert_eq!(
            tokens.find(|token| matches!(token, Token::Start(tag) if tag.is("a"))),
            Some(Token::Start(first_tag("<a href=y>")))
        );
    }

    #[test]
    fn character_references_are_decoded() {
        assert_eq!(
            decoded("don&#39;t &quot;x&quot; &amp;lt; &#x41;&#X42;&nbsp;&eacute;"),
            "don't \"x\" &lt; AB\u{a0}é"
        );
        for unchanged in ["&", "&;", "&#;", "&#x;", "&unknown;", "&#-1;", "& amp;"] {
            assert_eq!(decoded(unchanged), unchanged);
        }
        for no_character in ["&#0;", "&#55296;", "&#x110000;"] {
            assert_eq!(decoded(no_character), "\u{fffd}", "{no_character}");
        }
    }

    proptest! {
        #[test]
        fn escaped_texts_are_decoded_to_themselves(text in "\\PC{0,40}") {
            let mut out = String::new();
            escape(&text, &mut out);
            prop_assert_eq!(decoded(&out), text.clone());
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
