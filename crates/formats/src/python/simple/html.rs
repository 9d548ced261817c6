//! Project pages in HTML: anchors, `base`, `meta` and the comment with the serial. Everything else is skipped.

use std::borrow::Cow;

use super::page::{RawFile, RawPage};
use base::model::html::{Tag, Token, Tokens};
use base::model::project_page::MetadataFile;

/// Parses a page of at most `max_files` links; `None` if it has more.
pub(super) fn parse(document: &str, max_files: usize) -> Option<RawPage<'static>> {
    let mut page = RawPage::default();
    for token in Tokens::of_page(document) {
        match token {
            Token::Start(tag) if tag.name == "a" => page.files.extend(file(&tag)),
            Token::Start(tag) if tag.name == "base" && page.base.is_none() => page.base = owned(&tag, "href"),
            Token::Start(tag) if tag.name == "meta" => meta(&tag, &mut page),
            Token::Comment(text) => {
                let serial = text.trim().strip_prefix("SERIAL ");
                page.last_serial = serial.map(str::to_owned).or(page.last_serial);
            }
            // All known servers write this title.
            Token::Text(text) if text.trim_start().starts_with("Links for") => page.is_project_page = true,
            Token::Start(_) | Token::End(_) | Token::Text(_) => {}
        }
        if page.files.len() > max_files {
            return None;
        }
    }
    Some(page)
}

fn owned(tag: &Tag, attribute: &str) -> Option<String> {
    tag.attribute(attribute).map(str::to_owned)
}

fn meta(tag: &Tag, page: &mut RawPage<'_>) {
    let content = owned(tag, "content");
    match tag.attribute("name") {
        Some("pypi:repository-version") => {
            page.is_project_page = true;
            page.api_version = content;
        }
        Some("pypi:project-status") => page.status = content,
        Some("pypi:project-status-reason") => page.status_reason = content,
        _ => {}
    }
}

fn file(tag: &Tag) -> Option<RawFile<'static>> {
    let metadata = tag.attribute("data-core-metadata").or_else(|| tag.attribute("data-dist-info-metadata"));
    let owned = |attribute| owned(tag, attribute).map(Cow::Owned);
    Some(RawFile {
        name: None,
        url: owned("href")?,
        hashes: Vec::new(),
        requires_python: owned("data-requires-python"),
        core_metadata: match metadata.map(str::trim) {
            None | Some("false") => MetadataFile::None,
            Some(value) => value
                .strip_prefix("sha256=")
                .and_then(|hex| hex.parse().ok())
                .map_or(MetadataFile::Unverified, MetadataFile::Sha256),
        },
        gpg_sig: tag.attribute("data-gpg-sig").and_then(|value| value.parse().ok()),
        yanked: owned("data-yanked"),
        size: None,
        upload_time: owned("data-upload-time"),
        provenance: owned("data-provenance"),
    })
}

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
