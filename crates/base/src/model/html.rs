//! The tokens of HTML (HTML standard, 13.2.5): start tags with attributes, end tags, texts and comments. Any text is HTML;
//! nothing is repaired. A tag or comment without an end omits the rest.

use std::mem;

use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, StringReader, Tokenizer};

/// Maximum number of attributes of a tag that are read: the author of the HTML would else decide about the memory.
pub const MAX_ATTRIBUTES: usize = 1000;

/// A token, with its character references decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// `<name …>`
    Start(Tag),
    /// `</name>`, the name in lower case.
    End(String),
    Text(String),
    /// The content of `<!-- … -->`, and of other markup that is none.
    Comment(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// The name in lower case.
    pub name: String,
    /// Names in lower case, and values.
    pub attributes: Vec<(String, String)>,
    /// Whether it is written `<name …/>`.
    pub is_self_closing: bool,
}

impl Tag {
    /// Returns the value of an attribute (name in lower case), or the empty text. The first one counts, as in browsers.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
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
                *self = Collector { tag: Tag { name: text(name), ..Tag::default() }, attributes: 0 };
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
            CallbackEvent::CloseStartTag { self_closing } => {
                self.tag.is_self_closing = self_closing;
                return Some(Token::Start(mem::take(&mut self.tag)));
            }
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
#[derive(Debug)]
pub struct Tokens<'a> {
    tokenizer: Tokenizer<StringReader<'a>, CallbackEmitter<Collector, Token>>,
    is_page: bool,
}

impl<'a> Tokens<'a> {
    /// The content of `script` and `style` is text, as for installers, which read pages with Python's `html.parser`: a tag
    /// that ends in `/>` has no content, and `title`, `iframe` and the like have tags (browsers: text).
    pub fn of_page(html: &'a str) -> Tokens<'a> {
        Tokens::new(html, true)
    }

    /// The content of every element has tags; see [`Tokens::skip_content`].
    pub fn of_fragment(html: &'a str) -> Tokens<'a> {
        Tokens::new(html, false)
    }

    fn new(html: &'a str, is_page: bool) -> Tokens<'a> {
        let emitter = CallbackEmitter::new(Collector::default());
        Tokens { tokenizer: Tokenizer::new_with_emitter(html, emitter), is_page }
    }

    /// Skips the content of the element whose start tag is the last token, as text, and its end tag.
    pub fn skip_content(&mut self, element: &str) {
        self.tokenizer.set_state(State::RawText);
        self.find(|token| matches!(token, Token::End(name) if name == element));
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let token = self.tokenizer.next()?.unwrap_or_else(|never| match never {});
        if let Token::Start(tag) = &token
            && self.is_page
            && !tag.is_self_closing
            && matches!(tag.name.as_str(), "script" | "style")
        {
            self.tokenizer.set_state(State::RawText);
        }
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first_tag(document: &str) -> Tag {
        let tag = Tokens::of_page(document).find_map(|token| match token {
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
        Tokens::of_page(document).map(text).collect()
    }

    #[test]
    fn attributes_are_read_in_every_notation() {
        let tag = first_tag("<A HREF='x>y' data-a = \"1 &gt; 2\" B c=d/e data-a=\"second\"/>");
        assert_eq!(tag.name, "a");
        let value = |name| tag.attribute(name);
        assert_eq!(value("href"), Some("x>y"));
        assert_eq!(value("data-a"), Some("1 > 2"));
        assert_eq!((value("b"), value("c"), value("d")), (Some(""), Some("d/e"), None));
        assert_eq!(first_tag("<a href=x>").attribute("href"), Some("x"));
    }

    #[test]
    fn attributes_beyond_the_limit_are_not_kept() {
        let many = "b=c ".repeat(MAX_ATTRIBUTES - 1);
        let tag = first_tag(&format!("<a {many} href=x data-a=y>"));
        assert_eq!((tag.attribute("href"), tag.attribute("data-a")), (Some("x"), None));
        assert_eq!(tag.attributes.len(), MAX_ATTRIBUTES);
    }

    #[test]
    fn comments_texts_and_broken_markup_are_tokens() {
        let tokens: Vec<Token> = Tokens::of_page("<!DOCTYPE x>1 < 2<!-- <a> --></A ><").collect();
        let text = |text: &str| Token::Text(text.to_owned());
        let expected =
            [text("1 < 2"), Token::Comment(" <a> ".to_owned()), Token::End("a".to_owned()), text("<")];
        assert_eq!(tokens, expected);
        assert_eq!(Tokens::of_page("<!-- open").count(), 1);
    }

    /// The links that `html.parser` of Python finds.
    #[test]
    fn only_scripts_and_styles_have_no_tags() {
        let links = |document: &str| -> Vec<String> {
            let link = |token| match token {
                Token::Start(tag) if tag.name == "a" => tag.attribute("href").map(str::to_owned),
                Token::Start(_) | Token::End(_) | Token::Text(_) | Token::Comment(_) => None,
            };
            Tokens::of_page(document).filter_map(link).collect()
        };
        for name in ["script", "STYLE"] {
            let end = name.to_lowercase();
            assert_eq!(links(&format!("<{name}>'<a href=x>'</{end} ><a href=y>z</a>")), ["y"]);
            assert_eq!(links(&format!("<{name} a=b />'<a href=x>'</{end}><a href=y>z</a>")), ["x", "y"]);
        }
        for name in ["title", "textarea", "iframe", "noscript", "xmp", "plaintext", "svg"] {
            assert_eq!(
                links(&format!("<{name}><a href=x></{name}><{name}/><a href=y>")),
                ["x", "y"],
                "{name}"
            );
        }
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
        fn no_document_panics(text in "(<|>|/|a|=|\"|'|&|#|;|!|-| |é|\\PC){0,40}") {
            for token in Tokens::of_page(&text) {
                if let Token::Start(tag) = token {
                    let _ = tag.attribute("a");
                }
            }
        }
    }
}
