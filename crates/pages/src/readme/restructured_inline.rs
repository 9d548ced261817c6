//! Inline markup of reStructuredText as HTML: emphasis, literals, links, roles, substitutions.

use std::cell::Cell;
use std::collections::HashMap;

use maud::html;

use crate::text::external;

/// Maximum length of the text between two markers of inline markup, in bytes.
const MAX_SPAN: usize = 2000;
/// Maximum length of the name of a role, in bytes.
const MAX_ROLE: usize = 40;
/// In bytes, without backquotes. The limit bounds the search, which is repeated at each word.
const MAX_NAME: usize = 100;

/// The names that a document defines, with their addresses and texts.
#[derive(Default)]
pub(super) struct DefinedNames {
    /// Addresses of `.. _name: address`, by the name in lower case.
    pub(super) targets: HashMap<String, String>,
    /// Texts of `.. |name| image::` and `replace::`.
    pub(super) substitutions: HashMap<String, String>,
    /// Number of bytes that [`inline`] may still return in all calls; 0 if a text was longer and is incomplete.
    pub(super) left: Cell<usize>,
}

/// Converts a text; everything that is not markup is escaped.
pub(super) fn inline(text: &str, names: &DefinedNames) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    // The character before `rest`: a marker in the middle of a word is not markup.
    let mut before = None;
    let most = names.left.get();
    while let Some(first) = rest.chars().next().filter(|_| out.len() < most) {
        let is_start = before.is_none_or(|c: char| !c.is_alphanumeric());
        let found = match first {
            '`' | '*' | '|' | ':' if is_start => markup(rest, names),
            'h' if is_start => address(rest).or_else(|| reference(rest, names)),
            '\\' => backslash_escape(rest),
            // The name of a reference begins with a letter or digit.
            c if is_start && c.is_alphanumeric() => reference(rest, names),
            _ => None,
        };
        let length = match found.filter(|(_, length)| *length > 0) {
            Some((html, length)) => {
                out.push_str(&html);
                length
            }
            None => {
                match first {
                    '<' => out.push_str("&lt;"),
                    '>' => out.push_str("&gt;"),
                    '&' => out.push_str("&amp;"),
                    '"' => out.push_str("&quot;"),
                    c => out.push(c),
                }
                first.len_utf8()
            }
        };
        let (read, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        before = read.chars().next_back();
        rest = after;
    }
    names.left.set(most.saturating_sub(out.len()));
    out
}

pub(super) fn escape(text: &str) -> String {
    html! { (text) }.into_string()
}

/// Returns the beginning of a text, so that the search for an end marker is bounded.
fn search_range(text: &str) -> &str {
    beginning(text, MAX_SPAN)
}

fn beginning(text: &str, most: usize) -> &str {
    let mut limit = most.min(text.len());
    while !text.is_char_boundary(limit) {
        limit -= 1;
    }
    text.get(..limit).unwrap_or(text)
}

/// Returns the text between `start` and the next `end`, and the number of bytes up to and including `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<(&'a str, usize)> {
    let inside = text.strip_prefix(start)?;
    if inside.starts_with(char::is_whitespace) {
        return None;
    }
    let range = search_range(inside);
    let at = range.find(end).filter(|at| *at > 0)?;
    Some((range.get(..at)?, start.len() + at + end.len()))
}

/// Converts markup that begins with a marker; returns the HTML and the number of bytes that it replaces.
fn markup(rest: &str, names: &DefinedNames) -> Option<(String, usize)> {
    if let Some((literal, length)) = between(rest, "``", "``") {
        return Some((format!("<code>{}</code>", escape(literal)), length));
    }
    if let Some((strong, length)) = between(rest, "**", "**") {
        return Some((format!("<strong>{}</strong>", escape(strong)), length));
    }
    if let Some((emphasis, length)) = between(rest, "*", "*").filter(|(text, _)| !text.ends_with(' ')) {
        return Some((format!("<em>{}</em>", escape(emphasis)), length));
    }
    if let Some((name, length)) = between(rest, "|", "|") {
        let text = names.substitutions.get(name)?;
        let underscores = underscores(rest, length);
        return Some((link(text, names.targets.get(&key(name)).map(String::as_str)), length + underscores));
    }
    if rest.starts_with(':') {
        return role(rest);
    }
    let (text, length) = between(rest, "`", "`")?;
    let marks = underscores(rest, length);
    // `text <address>`_
    if let Some((label, target)) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        let label = if label.trim().is_empty() { target } else { label.trim_end() };
        return Some((link(label, Some(target.trim())), length + marks));
    }
    match marks {
        0 => Some((format!("<code>{}</code>", escape(text)), length)),
        marks => Some((link(text, names.targets.get(&key(text)).map(String::as_str)), length + marks)),
    }
}

/// Returns the number of underscores at an offset, at most two: a reference ends with one or two.
fn underscores(rest: &str, offset: usize) -> usize {
    let suffix = rest.get(offset..).unwrap_or_default();
    suffix.len() - suffix.trim_start_matches('_').len().max(suffix.len().saturating_sub(2))
}

/// Converts ``:role:`text` `` to the text as code; returns the HTML and the number of bytes that it replaces.
fn role(rest: &str) -> Option<(String, usize)> {
    // The name is searched in a few bytes, because a text may have many colons.
    let (name, _) = beginning(rest, MAX_ROLE + 3).strip_prefix(':')?.split_once(":`")?;
    let after = search_range(rest).get(1 + name.len() + 2..)?;
    if name.len() > MAX_ROLE || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+:".contains(c)) {
        return None;
    }
    let text = after.get(..after.find('`')?)?;
    let label = text.split_once(" <").map_or(text, |(label, _)| label).trim_start_matches('~');
    Some((format!("<code>{}</code>", escape(label)), 1 + name.len() + 2 + text.len() + 1))
}

/// Converts the reference `name_` to a link, if the name has an address.
fn reference(rest: &str, names: &DefinedNames) -> Option<(String, usize)> {
    let rest = beginning(rest, MAX_NAME);
    let end = rest.find(|c: char| !c.is_alphanumeric() && !"_-.+".contains(c)).unwrap_or(rest.len());
    let word = rest.get(..end)?.trim_end_matches(['.', '-', '+']);
    let name = word.strip_suffix("__").or_else(|| word.strip_suffix('_'))?;
    let target = names.targets.get(&key(name))?;
    Some((link(name, Some(target)), word.len()))
}

/// Converts an address without markup to a link.
fn address(rest: &str) -> Option<(String, usize)> {
    if !rest.starts_with("http://") && !rest.starts_with("https://") {
        return None;
    }
    let rest = search_range(rest);
    let end = rest.find(|c: char| c.is_whitespace() || "<>\"`|".contains(c)).unwrap_or(rest.len());
    let address = rest.get(..end)?.trim_end_matches(['.', ',', ';', ':', ')', '!', '?', '*', '\'']);
    (address.starts_with("http://") || address.starts_with("https://"))
        .then(|| (link(address, Some(address)), address.len()))
}

/// Converts a backslash and the next character: writes the character as text, or nothing if it is a space.
fn backslash_escape(rest: &str) -> Option<(String, usize)> {
    let next = rest.chars().nth(1)?;
    let text = if next.is_whitespace() { String::new() } else { escape(next.encode_utf8(&mut [0; 4])) };
    Some((text, 1 + next.len_utf8()))
}

/// Returns the normalized name of a target, by which names are compared.
pub(super) fn key(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Returns a link, or only its text if there is no address or pages may not link to it.
fn link(text: &str, address: Option<&str>) -> String {
    match address.and_then(external) {
        Some(address) => html! { a href=(address) { (text) } }.into_string(),
        None => escape(text),
    }
}
