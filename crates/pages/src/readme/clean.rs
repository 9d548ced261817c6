//! Removes elements and attributes from HTML that are not in a list, and adapts it to a page: headings are below those
//! of the page and skip no level, ids have a prefix, relative links lead only to existing pages, texts replace images.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ammonia::{Builder, UrlRelative, UrlRelativeEvaluate};
use percent_encoding::percent_decode_str;

use super::nesting::{ELEMENTS, MAX_HTML, VOID, well_nested};
use super::restructured_inline::escape;
use super::tag::{
    HtmlPart, attribute, figure, heading, is_empty_header, is_empty_link, is_named, link_content, link_name,
    parts, pixels,
};
use crate::text::visible;

/// The prefix of all ids, so that a README cannot use ids of the page.
const ID_PREFIX: &str = "readme-";

/// Maximum number of headings with the same text that have an id.
const MAX_EQUAL: usize = 100;

/// The beginnings of addresses of pages and figures until [`CleanHtml`] gets the actual ones. SECURITY: no
/// text can have such an address, because its scheme is not permitted.
const PAGE: &str = "readme-page:";
const FIGURE: &str = "readme-figure:";

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Links {
    pub description: Option<String>,
    pub news: String,
    pub license: Option<String>,
    /// The addresses of the figures of the archive, by path. Other images are replaced by their text.
    pub figures: BTreeMap<String, String>,
}

impl Links {
    /// Returns the same pages and figures with addresses that depend neither on the package nor on the snapshot.
    pub fn placeholders(&self) -> Links {
        let page = |name: &str| format!("{PAGE}{name}");
        let figures = self.figures.keys().enumerate();
        Links {
            description: self.description.is_some().then(|| page("description")),
            news: if self.news.is_empty() { String::new() } else { page("news") },
            license: self.license.is_some().then(|| page("license")),
            figures: figures.map(|(at, path)| (path.clone(), format!("{FIGURE}{at}"))).collect(),
        }
    }

    /// Returns the address for one of [`placeholders`](Links::placeholders); `None` for another address.
    fn address(&self, placeholder: &str) -> Option<&str> {
        if let Some(at) = placeholder.strip_prefix(FIGURE) {
            return self.figures.values().nth(at.parse().ok()?).map(String::as_str);
        }
        match placeholder.strip_prefix(PAGE)? {
            "description" => self.description.as_deref(),
            "news" => Some(&self.news),
            "license" => self.license.as_deref(),
            _ => None,
        }
    }
}

/// Clean HTML that lacks the addresses of pages and figures of the package.
#[derive(Clone, Debug, Default)]
pub(super) struct CleanHtml {
    pub(super) html: String,
    /// The offsets in `html` at which addresses are missing, in ascending order.
    pub(super) missing: Vec<(usize, MissingAddress)>,
}

#[derive(Clone, Debug)]
pub(super) struct MissingAddress {
    placeholder: String,
    /// Whether the address is the name of its link, in short.
    is_name: bool,
}

impl MissingAddress {
    /// Returns the text for HTML; `links` has the addresses.
    pub(super) fn text(&self, links: &Links) -> String {
        let address = escape(links.address(&self.placeholder).unwrap_or_default());
        if self.is_name { link_name(&address).to_owned() } else { address }
    }
}

impl CleanHtml {
    /// Writes the address of a link or image, which is escaped, or its short form as the name of the link.
    fn push_address(&mut self, address: &str, is_name: bool) {
        if address.starts_with(PAGE) || address.starts_with(FIGURE) {
            self.missing.push((self.html.len(), MissingAddress { placeholder: address.to_owned(), is_name }));
        } else {
            self.html.push_str(if is_name { link_name(address) } else { address });
        }
    }
}

/// Returns clean HTML with closed tags; `None` if it would be too long or too deep. `links` has
/// [placeholders](Links::placeholders).
pub(super) fn clean(html: &str, links: &Links) -> Option<CleanHtml> {
    let html = well_nested(html)?;
    let mut builder = Builder::empty();
    builder
        .tags(ELEMENTS.into_iter().collect())
        .clean_content_tags(HashSet::from(["script", "style", "template", "noscript", "textarea", "title"]))
        .generic_attributes(HashSet::from(["title", "id", "dir", "lang"]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href"])),
            ("img", HashSet::from(["alt", "height", "src", "width"])),
            ("ol", HashSet::from(["start"])),
            ("td", HashSet::from(["colspan", "rowspan"])),
            ("th", HashSet::from(["colspan", "rowspan"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Custom(Box::new(Relative(links.clone()))))
        .link_rel(Some("nofollow noopener noreferrer"))
        .strip_comments(true)
        .id_prefix(Some(ID_PREFIX));
    // Character references may be those of invisible characters.
    Some(adapt(&visible(&builder.clean(&html).to_string()), links))
        .filter(|clean| clean.html.len() <= MAX_HTML)
}

/// Converts the relative addresses of a README.
struct Relative(Links);

impl<'a> UrlRelativeEvaluate<'a> for Relative {
    fn evaluate<'url>(&self, address: &'url str) -> Option<Cow<'url, str>> {
        target(address, &self.0).map(Cow::Owned)
    }
}

/// Returns the target of a relative link: an id of the README, or a page of the package.
fn target(address: &str, links: &Links) -> Option<String> {
    if let Some(fragment) = address.strip_prefix('#') {
        return Some(format!("#{ID_PREFIX}{}", fragment.strip_prefix(ID_PREFIX).unwrap_or(fragment)));
    }
    let path = address.strip_prefix("./").unwrap_or(address);
    if let Some(figure) = links.figures.get(path).or_else(|| figure_of_address(path, links)) {
        return Some(figure.clone());
    }
    let name = path.to_ascii_lowercase();
    match name.as_str() {
        "description" => links.description.clone(),
        "license" | "license.md" | "license.txt" | "licence" | "licence.md" | "copying" => {
            links.license.clone()
        }
        "news" | "news.md" | "changelog.md" | "changelog" | "changes.rst" | "changelog.rst" => {
            Some(links.news.clone()).filter(|address| !address.is_empty())
        }
        _ => None,
    }
}

/// Returns the address of the figure with the path of a percent-encoded address, which may have a query and a fragment.
fn figure_of_address<'a>(address: &str, links: &'a Links) -> Option<&'a String> {
    let path = address.split(['?', '#']).next()?;
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    links.figures.get(&*decoded)
}

/// Adapts clean HTML to a page.
fn adapt(html: &str, links: &Links) -> CleanHtml {
    let parts = parts(html);
    // SECURITY: only addresses from the list, as they are written in an attribute, and no other that looks like them.
    let figures: BTreeSet<String> =
        links.figures.values().map(|address| address.replace('&', "&amp;")).collect();
    let (own_ids, headings) = ids(&parts);
    let known: BTreeSet<&str> =
        own_ids.iter().copied().chain(headings.iter().flatten().map(String::as_str)).collect();
    let mut used_ids: BTreeSet<&str> = BTreeSet::new();
    let mut headings = headings.iter();
    let mut levels = HeadingLevels::default();
    // For each header of a table that is open, whether it is empty.
    let mut headers: Vec<bool> = Vec::new();
    let mut out = CleanHtml { html: String::with_capacity(html.len()), missing: Vec::new() };
    let mut open = OpenElements::default();
    // In a heading, whether the next text was in another block than the previous one.
    let mut is_apart = false;
    for (at, part) in parts.iter().enumerate() {
        let tag = match part {
            HtmlPart::Text(text) => {
                let is_next = !text.is_empty() && std::mem::take(&mut is_apart);
                let has_space =
                    text.starts_with(char::is_whitespace) || out.html.ends_with(char::is_whitespace);
                if is_next && !has_space {
                    out.html.push(' ');
                }
                out.html.push_str(text);
                continue;
            }
            HtmlPart::Tag(tag) => *tag,
        };
        let after = parts.get(at + 1..).unwrap_or_default();
        let form = open.read(tag);
        if let Some(level) = heading(tag) {
            is_apart = false;
            if tag.starts_with('/') {
                out.html.push_str(&format!("</h{}>", levels.end()));
            } else {
                let level = levels.begin(level);
                match headings.next().and_then(Option::as_deref) {
                    Some(id) => out.html.push_str(&format!("<h{level} id=\"{id}\">")),
                    None => out.html.push_str(&format!("<h{level}>")),
                }
            }
        } else if form == TagForm::Omitted {
            is_apart |= tag != "/a" && open.is_in_heading();
            // Links may lead to the id.
            if let Some(id) = attribute(tag, "id").filter(|id| used_ids.insert(*id)) {
                out.html.push_str(&format!("<span id=\"{id}\"></span>"));
            }
        } else if is_named(tag, "img") {
            let text = attribute(tag, "alt").unwrap_or_default();
            match figure(tag, &figures) {
                Some(address) => {
                    out.html.push_str("<img src=\"");
                    out.push_address(address, false);
                    out.html.push_str(&format!("\" alt=\"{text}\""));
                    for name in ["width", "height"] {
                        let size = attribute(tag, name).and_then(pixels);
                        out.html.extend(size.map(|size| format!(" {name}=\"{size}\"")));
                    }
                    out.html.push('>');
                }
                None => out.html.push_str(text),
            }
        } else if is_named(tag, "a")
            && attribute(tag, "id").is_none()
            && (is_without_effect(tag, &known) || is_empty_link(after, &figures))
        {
            open.omit();
        } else if tag == "/th" {
            let is_empty = headers.pop().unwrap_or_default();
            out.html.push_str(if is_empty { "</td>" } else { "</th>" });
        } else {
            let id = attribute(tag, "id").filter(|id| used_ids.insert(*id));
            match tag.strip_prefix("th").filter(|_| is_named(tag, "th")) {
                Some(attributes) => {
                    let is_empty = is_empty_header(after);
                    headers.push(is_empty);
                    let name = if is_empty { "td" } else { "th" };
                    push_tag(&mut out, &format!("{name}{attributes}"), id, after, &known);
                }
                None => push_tag(&mut out, tag, id, after, &known),
            }
        }
    }
    out
}

/// Returns the address of a link; `None` for an id that is not `known`, and for an address such as
/// `https:/a.example`, which a browser would resolve relative to the page.
fn link_target<'a>(tag: &'a str, known: &BTreeSet<&str>) -> Option<&'a str> {
    let address = attribute(tag, "href")?;
    let is_valid = match address.strip_prefix('#') {
        Some(fragment) => known.contains(fragment),
        None => ["http://", "https://", "mailto:", PAGE, FIGURE].iter().any(|start| {
            let beginning = address.trim_start().get(..start.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
        }),
    };
    is_valid.then_some(address)
}

/// Returns whether a link without an id differs in nothing from its text.
fn is_without_effect(tag: &str, known: &BTreeSet<&str>) -> bool {
    link_target(tag, known).is_none() && attribute(tag, "title").is_none()
}

/// Writes a tag with `id`, and with permitted attributes; `after` are the parts after it. Only a
/// [`link_target`] is an address. Links without text get a name, links of images a class, headers of tables a
/// scope, and preformatted text, which may be wider than the page, the focus of the keyboard.
fn push_tag(
    out: &mut CleanHtml,
    tag: &str,
    id: Option<&str>,
    after: &[HtmlPart<'_>],
    known: &BTreeSet<&str>,
) {
    let (name, _) = tag.split_once(' ').unwrap_or((tag, ""));
    out.html.push('<');
    out.html.push_str(name);
    let target = link_target(tag, known);
    for key in ["href", "title", "rel", "lang", "dir", "colspan", "rowspan", "start"] {
        let value = match key {
            "href" => target,
            // HTML permits it only beside an address.
            "rel" => target.and_then(|_| attribute(tag, key)),
            _ => attribute(tag, key),
        };
        let Some(value) = value else { continue };
        out.html.push_str(&format!(" {key}=\""));
        if key == "href" {
            out.push_address(value, false);
        } else {
            out.html.push_str(value);
        }
        out.html.push('"');
        if key == "href" {
            let (has_text, has_image) = link_content(after);
            if !has_text {
                out.html.push_str(" aria-label=\"");
                out.push_address(value, true);
                out.html.push('"');
            }
            if has_image {
                out.html.push_str(" class=\"badge\"");
            }
        }
    }
    match name {
        "pre" => out.html.push_str(" tabindex=\"0\""),
        // Tables of Markdown have headers of columns only.
        "th" => out.html.push_str(" scope=\"col\""),
        _ => {}
    }
    if let Some(id) = id {
        out.html.push_str(&format!(" id=\"{id}\""));
    }
    out.html.push('>');
}

/// Returns the ids in the text outside headings, and a unique id for each heading, in order.
fn ids<'a>(parts: &[HtmlPart<'a>]) -> (BTreeSet<&'a str>, Vec<Option<String>>) {
    let tags = parts.iter().filter_map(|part| match part {
        HtmlPart::Tag(tag) if heading(tag).is_none() && !is_named(tag, "img") => Some(*tag),
        HtmlPart::Tag(_) | HtmlPart::Text(_) => None,
    });
    let own: BTreeSet<&str> = tags.filter_map(|tag| attribute(tag, "id")).collect();
    let mut taken: HashSet<String> = own.iter().map(|id| (*id).to_owned()).collect();
    let mut headings = Vec::new();
    let mut next_numbers: HashMap<String, usize> = HashMap::new();
    for (at, part) in parts.iter().enumerate() {
        let HtmlPart::Tag(tag) = part else { continue };
        if heading(tag).is_none() || tag.starts_with('/') {
            continue;
        }
        let slug = match attribute(tag, "id") {
            Some(id) => id.to_owned(),
            None => slug(parts.get(at + 1..).unwrap_or_default()),
        };
        // The numbers before the one that the last equal heading has are taken.
        let next = next_numbers.entry(slug.clone()).or_default();
        let id = loop {
            let number = *next;
            if number >= MAX_EQUAL {
                break None;
            }
            *next += 1;
            let id = if number == 0 { slug.clone() } else { format!("{slug}-{number}") };
            if id.len() > ID_PREFIX.len() && !taken.contains(&id) {
                break Some(id);
            }
        };
        taken.extend(id.clone());
        headings.push(id);
    }
    (own, headings)
}

/// Returns the id of a heading, as GitHub forms it; `after` are the parts after its start tag.
fn slug(after: &[HtmlPart<'_>]) -> String {
    let mut slug = ID_PREFIX.to_owned();
    for part in after {
        match part {
            HtmlPart::Tag(tag) if heading(tag).is_some() => break,
            HtmlPart::Tag(_) => {}
            HtmlPart::Text(text) => {
                let text =
                    text.replace("&nbsp;", " ").replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                let letters = text.chars().filter_map(|c| match c {
                    ' ' | '-' => Some('-'),
                    '_' => Some('_'),
                    c if c.is_alphanumeric() => Some(c),
                    _ => None,
                });
                slug.extend(letters.flat_map(char::to_lowercase));
            }
        }
        if slug.len() > 200 {
            break;
        }
    }
    slug
}

/// The level of the heading above a README.
const ABOVE: usize = 2;
/// The lowest level of HTML.
const LOWEST: usize = 6;

/// Numbers headings by position: the first directly below the page's, every other at most one level below the previous.
#[derive(Default)]
struct HeadingLevels {
    /// The levels in the text of the current heading and of those above it, in ascending order.
    above: Vec<usize>,
    /// The levels on the page of the elements that are open.
    open: Vec<usize>,
}

impl HeadingLevels {
    /// Returns the level on the page of a heading that begins; `level` is its level in the text.
    fn begin(&mut self, level: usize) -> usize {
        while self.above.last().is_some_and(|above| *above >= level) {
            self.above.pop();
        }
        self.above.push(level);
        let level = (ABOVE + self.above.len()).min(LOWEST);
        self.open.push(level);
        level
    }

    /// Returns the level on the page of the heading that ends.
    fn end(&mut self) -> usize {
        self.open.pop().unwrap_or(LOWEST)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagForm {
    Same,
    /// Not at all; only the content of the element is written.
    Omitted,
}

#[derive(Default)]
pub(super) struct OpenElements<'a> {
    /// Names, and how the tags are written, from the outside in.
    open: Vec<(&'a str, TagForm)>,
    /// The number of headings among them.
    headings: usize,
}

impl<'a> OpenElements<'a> {
    /// Reads the next tag, and returns how it is written. Paragraphs are not permitted in headings.
    pub(super) fn read(&mut self, tag: &'a str) -> TagForm {
        if tag.starts_with('/') {
            let Some((name, form)) = self.open.pop() else { return TagForm::Same };
            if heading(name).is_some() {
                self.headings = self.headings.saturating_sub(1);
            }
            return form;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        if VOID.contains(&name) {
            return TagForm::Same;
        }
        let form = match name {
            "p" | "div" if self.is_in_heading() => TagForm::Omitted,
            _ => TagForm::Same,
        };
        if heading(name).is_some() {
            self.headings += 1;
        }
        self.open.push((name, form));
        form
    }

    pub(super) fn is_in_heading(&self) -> bool {
        self.headings > 0
    }

    /// Omits the end tag of the element that the last tag began.
    pub(super) fn omit(&mut self) {
        if let Some((_, form)) = self.open.last_mut() {
            *form = TagForm::Omitted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &[usize]) -> Vec<usize> {
        let mut levels = HeadingLevels::default();
        let level = |level: &usize| {
            let begin = levels.begin(*level);
            assert_eq!(levels.end(), begin);
            begin
        };
        text.iter().map(level).collect()
    }

    #[test]
    fn no_level_is_skipped_and_equal_levels_stay_equal() {
        for (text, page) in [
            (vec![1, 2, 3, 2, 1], vec![3, 4, 5, 4, 3]),
            (vec![2, 3, 2, 3, 2], vec![3, 4, 3, 4, 3]),
            (vec![1, 3, 3, 4, 2, 3], vec![3, 4, 4, 5, 4, 5]),
            (vec![6, 1, 6], vec![3, 3, 4]),
            (vec![1, 2, 3, 4, 5, 6], vec![3, 4, 5, 6, 6, 6]),
        ] {
            assert_eq!(levels(&text), page, "{text:?}");
        }
    }

    #[test]
    fn a_heading_in_a_heading_ends_first() {
        let mut levels = HeadingLevels::default();
        assert_eq!((levels.begin(1), levels.begin(2)), (3, 4));
        assert_eq!((levels.end(), levels.end()), (4, 3));
    }

    #[test]
    fn headings_have_no_paragraphs() {
        use TagForm::{Omitted, Same};
        for (tags, expected) in [
            ("p /p", vec![Same, Same]),
            ("h3 p br /p /h3 p /p", vec![Same, Omitted, Same, Omitted, Same, Same, Same]),
            ("h3 h4 /h4 div /div /h3", vec![Same, Same, Same, Omitted, Omitted, Same]),
            ("p /p /p p /p", vec![Same; 5]),
        ] {
            let mut open = OpenElements::default();
            let forms = tags.split(' ').map(|tag| open.read(tag));
            assert_eq!(forms.collect::<Vec<_>>(), expected, "{tags}");
        }
    }
}
