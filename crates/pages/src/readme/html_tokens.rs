//! The tags and texts of HTML of any author, found by reading it once (HTML standard, 13.2.5).

use std::mem;

use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, StringReader, Tokenizer};

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

/// A tag or a text, with its character references decoded. Comments are omitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Text.
    Text(String),
    /// A start tag: the name of the element, and the names and values of its attributes. Names are in lower case.
    Start(String, Vec<(String, String)>),
    /// An end tag.
    End(String),
}

/// Makes tokens of the events of the tokenizer.
#[derive(Debug, Default)]
struct Collector {
    /// The start tag that is being read.
    name: String,
    attributes: Vec<(String, String)>,
    /// The number of its attributes.
    count: usize,
}

impl Callback<Token, ()> for Collector {
    fn handle_event(&mut self, event: CallbackEvent<'_>, _: Span<()>) -> Option<Token> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            CallbackEvent::OpenStartTag { name } => {
                *self = Collector { name: text(name), ..Collector::default() };
            }
            CallbackEvent::AttributeName { name } => {
                self.count += 1;
                if self.count <= MAX_ATTRIBUTES {
                    self.attributes.push((text(name), String::new()));
                }
            }
            CallbackEvent::AttributeValue { value: found } if self.count <= MAX_ATTRIBUTES => {
                if let Some((_, value)) = self.attributes.last_mut() {
                    *value = text(found);
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                return Some(Token::Start(mem::take(&mut self.name), mem::take(&mut self.attributes)));
            }
            CallbackEvent::EndTag { name } => return Some(Token::End(text(name))),
            CallbackEvent::String { value } => return Some(Token::Text(text(value))),
            CallbackEvent::AttributeValue { .. }
            | CallbackEvent::Comment { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
        None
    }
}

/// The tokens of HTML. A tag or comment without an end omits the rest.
pub(super) struct Tokens<'a> {
    tokenizer: Tokenizer<StringReader<'a>, CallbackEmitter<Collector, Token>>,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(html: &'a str) -> Tokens<'a> {
        let emitter = CallbackEmitter::new(Collector::default());
        Tokens { tokenizer: Tokenizer::new_with_emitter(html, emitter) }
    }

    fn read(&mut self) -> Option<Token> {
        self.tokenizer.next().map(|token| token.unwrap_or_else(|never| match never {}))
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let token = self.read()?;
            let Token::Start(name, _) = &token else { return Some(token) };
            let Some(omitted) = OMITTED.iter().find(|omitted| *omitted == name) else { return Some(token) };
            // Only its own end tag ends the text that follows.
            self.tokenizer.set_state(State::RawText);
            while self.read()? != Token::End((*omitted).to_owned()) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Token {
        Token::Text(text.to_owned())
    }

    fn start(name: &str, attributes: &[(&str, &str)]) -> Token {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Token::Start(name.to_owned(), attributes.collect())
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
            assert_eq!(Tokens::of(html).collect::<Vec<_>>(), expected, "{html}");
        }
        let many = format!("<b{}>", " a=b".repeat(MAX_ATTRIBUTES + 1));
        assert_eq!(Tokens::of(&many).next(), Some(start("b", &[("a", "b"); MAX_ATTRIBUTES])));
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
            assert_eq!(Tokens::of(html).collect::<Vec<_>>(), expected, "{html}");
        }
    }
}
