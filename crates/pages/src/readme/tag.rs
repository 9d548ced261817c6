//! Tags and texts of clean HTML, which has `<` and `>` only as brackets of tags, and quotes around all attributes.

use std::collections::BTreeSet;

/// Maximum width and height of an image, in pixels of CSS.
const MAX_PIXELS: u32 = 2_000;

/// A part of clean HTML.
#[derive(Clone, Copy)]
pub(super) enum HtmlPart<'a> {
    /// Escaped text.
    Text(&'a str),
    /// A tag without its brackets.
    Tag(&'a str),
}

/// Splits clean HTML, in which `<` and `>` occur only as brackets of tags.
pub(super) fn parts(html: &str) -> Vec<HtmlPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        let Some((tag, after)) = after.split_once('>') else { break };
        parts.push(HtmlPart::Text(text));
        parts.push(HtmlPart::Tag(tag));
        rest = after;
    }
    parts.push(HtmlPart::Text(rest));
    parts
}

/// Returns the escaped value of an attribute of a tag of clean HTML.
pub(super) fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag.split_once(' ')?.1;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if key.trim_start() == name {
            return Some(value);
        }
        rest = after;
    }
}

/// Returns the level of the heading that a tag begins or ends; `None` for other tags.
pub(super) fn heading(tag: &str) -> Option<usize> {
    let name = tag.strip_prefix('/').unwrap_or(tag).split(' ').next()?;
    let level = name.strip_prefix('h')?.parse().ok()?;
    (1..=6).contains(&level).then_some(level)
}

/// Returns whether a tag begins an element with this name.
pub(super) fn is_named(tag: &str, name: &str) -> bool {
    tag.split(' ').next() == Some(name)
}

/// Returns the width or the height of an image in pixels; `None` for another unit, and for a size that is not possible.
pub(super) fn pixels(size: &str) -> Option<u32> {
    let size = size.trim();
    let number = size.strip_suffix("px").unwrap_or(size).trim_end();
    number.parse().ok().filter(|pixels| (1..=MAX_PIXELS).contains(pixels))
}

pub(super) fn figure<'a>(tag: &'a str, figures: &BTreeSet<String>) -> Option<&'a str> {
    attribute(tag, "src").filter(|address| figures.contains(*address))
}

/// Returns whether a link has neither text nor a figure; `after` are the parts after its start tag.
pub(super) fn is_empty_link(after: &[HtmlPart<'_>], figures: &BTreeSet<String>) -> bool {
    for part in after {
        match part {
            HtmlPart::Text(text) if text.trim().is_empty() => {}
            HtmlPart::Tag(tag) if is_named(tag, "img") => {
                let has_text = attribute(tag, "alt").is_some_and(|alt| !alt.trim().is_empty());
                if has_text || figure(tag, figures).is_some() {
                    return false;
                }
            }
            HtmlPart::Tag("/a") => return true,
            HtmlPart::Text(_) | HtmlPart::Tag(_) => return false,
        }
    }
    false
}

/// Returns whether a link has text, its own or of an image, and whether it has an image; `after` follows its start tag.
pub(super) fn link_content(after: &[HtmlPart<'_>]) -> (bool, bool) {
    let (mut has_text, mut has_image) = (false, false);
    for part in after {
        match part {
            HtmlPart::Text(text) => has_text |= !is_blank(text),
            HtmlPart::Tag("/a") => break,
            HtmlPart::Tag(tag) if is_named(tag, "img") => {
                has_image = true;
                has_text |= attribute(tag, "alt").is_some_and(|alt| !alt.trim().is_empty());
            }
            HtmlPart::Tag(_) => {}
        }
    }
    (has_text, has_image)
}

/// Returns whether a header of a table has no text; `after` are the parts after its start tag. The search
/// ends at a table in the header, so that nested tables are not searched repeatedly.
pub(super) fn is_empty_header(after: &[HtmlPart<'_>]) -> bool {
    for part in after {
        let is_text = match part {
            HtmlPart::Text(text) => !is_blank(text),
            HtmlPart::Tag("/th") => return true,
            HtmlPart::Tag(tag) if is_named(tag, "table") => true,
            HtmlPart::Tag(tag) => {
                is_named(tag, "img") && attribute(tag, "alt").is_some_and(|alt| !is_blank(alt))
            }
        };
        if is_text {
            return false;
        }
    }
    true
}

/// Returns whether an escaped text has no visible character.
pub(super) fn is_blank(text: &str) -> bool {
    text.split("&nbsp;").all(|part| part.trim().is_empty())
}

/// Returns the escaped name of a link that has no text: its address in short.
pub(super) fn link_name(address: &str) -> &str {
    let starts = ["https://", "http://", "mailto:", "#readme-"];
    let short = starts.iter().find_map(|start| address.strip_prefix(start)).unwrap_or(address);
    let short = short.trim_matches('/');
    if short.is_empty() { "link" } else { short }
}
