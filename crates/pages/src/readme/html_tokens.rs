//! The tags and texts of the HTML of any author. Comments, and elements of another syntax, are omitted.

use base::model::html::{Token, Tokens};

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
pub(super) fn tokens(html: &str) -> impl Iterator<Item = Token> {
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

#[cfg(test)]
mod tests {
    use base::model::html::{MAX_ATTRIBUTES, Tag};

    use super::*;

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
