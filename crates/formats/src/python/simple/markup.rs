//! Texts in the HTML of simple pages.

use base::model::html::{Token, Tokens};

/// Returns the text up to the end tag with this name, in lower case, without white space around it.
pub(super) fn text_until(tokens: &mut Tokens<'_>, end: &str) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Text(piece) => text.push_str(&piece),
            Token::End(name) if name == end => break,
            Token::Start(_) | Token::End(_) | Token::Comment(_) => {}
        }
    }
    text.trim().to_owned()
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

    #[test]
    fn a_text_ends_at_its_end_tag() {
        let mut tokens = Tokens::of_page("a &amp; <b>b</b>\n</A>rest");
        assert_eq!(text_until(&mut tokens, "a"), "a & b");
        assert_eq!(tokens.next(), Some(Token::Text("rest".to_owned())));
    }

    proptest! {
        #[test]
        fn escaped_texts_are_decoded_to_themselves(text in "\\PC{0,40}") {
            let mut out = String::new();
            escape(&text, &mut out);
            let is_text = |token: &Token| matches!(token, Token::Text(_));
            prop_assert!(Tokens::of_page(&out).all(|token| is_text(&token)));
            prop_assert_eq!(text_until(&mut Tokens::of_page(&format!("|{out}|")), ""), format!("|{text}|"));
            let tag_text = format!("<a x=\"{out}\" y>");
            let Some(Token::Start(tag)) = Tokens::of_page(&tag_text).next() else { panic!("{tag_text}") };
            prop_assert_eq!(tag.attribute("x"), Some(text.as_str()));
        }
    }
}
