//! A strict reader of HTML as this server writes it: every element is closed, every attribute is quoted.

use std::collections::BTreeSet;

use crate::support::http::Answer;

const VOID: [&str; 6] = ["meta", "link", "input", "br", "hr", "img"];
/// Elements that end a paragraph, so that they cannot be in one.
const BLOCKS: [&str; 14] =
    ["p", "div", "ul", "ol", "dl", "pre", "table", "section", "form", "figure", "details", "h1", "h2", "h3"];

/// The start tag of an element.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    /// Whether it is inside a picture.
    is_in_picture: bool,
}

impl Tag {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a page; panics with the place of the first mistake.
pub(super) fn read(html: &str) -> Vec<Tag> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let (mut tags, mut open): (Vec<Tag>, Vec<String>) = (Vec::new(), Vec::new());
    while let Some((text, behind)) = rest.split_once('<') {
        assert_text(text);
        let (inside, after) = behind.split_once('>').unwrap_or_else(|| panic!("no end of a tag: {behind}"));
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "before {after}");
            continue;
        }
        let tag = Tag { is_in_picture: open.iter().any(|name| name == "svg"), ..tag(inside) };
        if BLOCKS.contains(&tag.name.as_str()) {
            assert!(!open.iter().any(|name| name == "p"), "<{}> in a paragraph before {after}", tag.name);
        }
        if !VOID.contains(&tag.name.as_str()) {
            open.push(tag.name.clone());
        }
        tags.push(tag);
    }
    assert_text(rest);
    assert!(open.is_empty(), "not closed: {open:?}");
    tags
}

fn assert_text(text: &str) {
    assert!(!text.contains('>'), "a bare > in {text}");
    for behind in text.split('&').skip(1) {
        let is_known =
            ["amp;", "lt;", "gt;", "quot;", "nbsp;"].iter().any(|entity| behind.starts_with(entity));
        assert!(is_known, "a bare & in {text}");
    }
}

fn tag(inside: &str) -> Tag {
    let (name, mut rest) = inside.split_at(inside.find(' ').unwrap_or(inside.len()));
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    assert!(is_name(name), "<{inside}>");
    let mut attributes: Vec<(String, String)> = Vec::new();
    while let Some(attribute) = rest.strip_prefix(' ') {
        let end = attribute.find([' ', '=']).unwrap_or(attribute.len());
        let (name, behind) = attribute.split_at(end);
        assert!(is_name(name), "<{inside}>");
        let value = match behind.strip_prefix("=\"") {
            None => {
                assert!(!behind.starts_with('='), "an attribute without quotes: <{inside}>");
                rest = behind;
                ""
            }
            Some(quoted) => {
                let (value, behind) = quoted.split_once('"').expect("a closing quote");
                rest = behind;
                value
            }
        };
        assert_text(value);
        assert!(!attributes.iter().any(|(other, _)| other == name), "{name} twice: <{inside}>");
        attributes.push((name.to_owned(), unescape(value)));
    }
    assert!(rest.is_empty(), "<{inside}>");
    Tag { name: name.to_owned(), attributes, is_in_picture: false }
}

/// Returns the text that escaped text stands for.
pub(super) fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Reads a page of the server and checks what every page promises.
pub(super) fn page(answer: &Answer, path: &str) -> Vec<Tag> {
    let html = answer.text();
    let tags = read(&html);
    let count = |name: &str| tags.iter().filter(|tag| tag.name == name && !tag.is_in_picture).count();
    for name in ["html", "title", "h1", "main", "header", "footer"] {
        assert_eq!(count(name), 1, "{path}: {name}");
    }
    assert_eq!((count("style"), count("iframe")), (0, 0), "{path}");
    // The pictures of this server, and no others.
    assert!(count("svg") <= 1, "{path}");
    for tag in &tags {
        let is_picture =
            tag.get("class").is_some_and(|name| ["year", "timeline", "downloads", "hours"].contains(&name));
        assert!(tag.name != "svg" || is_picture, "{path}: {tag:?}");
        let is_shape = ["title", "desc", "g", "a", "path", "rect", "text"].contains(&tag.name.as_str());
        assert!(!tag.is_in_picture || is_shape, "{path}: {tag:?}");
    }
    for image in tags.iter().filter(|tag| tag.name == "img") {
        // Only figures of an archive.
        let is_figure = |address: &str| address.starts_with("../") && address.contains("/files/");
        assert!(image.get("src").is_some_and(is_figure) && image.get("alt").is_some(), "{path}: {image:?}");
    }
    let mut ids = BTreeSet::new();
    for tag in &tags {
        for (name, value) in &tag.attributes {
            assert!(name != "style" && !name.starts_with("on"), "{path}: {tag:?}");
            assert!(name != "id" || ids.insert(value.clone()), "{path}: the id {value} twice");
        }
        if tag.name == "script" {
            assert!(tag.get("src").is_some() && tag.get("integrity").is_some(), "{path}: {tag:?}");
        }
        if ["input", "select"].contains(&tag.name.as_str()) {
            assert!(tag.get("name").is_some(), "{path}: {tag:?}");
        }
    }
    for tag in &tags {
        let target = tag.get("aria-labelledby").or_else(|| tag.get("href")?.strip_prefix('#'));
        assert!(target.is_none_or(|id| ids.contains(id)), "{path}: {tag:?}");
    }
    tags
}
