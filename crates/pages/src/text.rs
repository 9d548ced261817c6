//! Text in pages: numbers, days, and untrusted text.

use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use base::model::text::count_of;
use base::model::time::Day;
use base::model::visible::is_control;

/// The characters to encode in a segment of a path or a value of a query: all but the unreserved ones of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Minimum length of a word of a search that is marked in titles, in characters.
const MIN_MARKED_WORD: usize = 2;

/// Maximum length of an address, in bytes.
const MAX_LINK: usize = 2048;

pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Groups the digits of a number with narrow no-break spaces.
pub fn number(number: impl TryInto<i64>) -> String {
    let digits = number.try_into().unwrap_or(i64::MAX).to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Formats a size in bytes with a unit that is a power of 1000.
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        0..1_000 => count_of(bytes, "byte", "bytes"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

pub fn count(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

pub fn day(day: Day) -> Markup {
    let text = day.to_string();
    html! { time datetime=(text) { (text) } }
}

/// Renders an RFC 3339 time up to the seconds: `2026-11-20 09:14:03`.
pub fn time(text: &str) -> Markup {
    let seconds: String = text.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect();
    // HTML permits at most three digits of a fraction.
    let datetime = match text.get(..19) {
        Some(seconds) if text.ends_with('Z') => format!("{seconds}Z"),
        Some(_) | None => text.to_owned(),
    };
    html! { time datetime=(datetime) { (seconds) } }
}

/// Returns the address if a page may link to it: `http`, `https` or `mailto`, without spaces and controls.
pub fn external(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once(':')?;
    let is_web = ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let is_known = is_web && rest.starts_with("//") || scheme.eq_ignore_ascii_case("mailto");
    let is_plain = address.len() <= MAX_LINK && !address.chars().any(|c| c.is_control() || c.is_whitespace());
    (is_known && is_plain && rest.len() > 2).then_some(address)
}

/// Renders a link to another site; only the text if pages may not link to the address.
pub fn external_link(address: &str, text: &str) -> Markup {
    match external(address) {
        Some(address) => html! { a href=(address) rel="nofollow noopener noreferrer" { (visible(text)) } },
        None => html! { (visible(text)) },
    }
}

/// Replaces control characters except line feeds and tabs, and those that change text direction: `⟨U+202E⟩`.
pub fn visible(text: &str) -> String {
    base::model::visible::visible(text, is_control)
}

/// Renders a text in which the words are marked that begin with a word of a search.
pub fn marked(text: &str, query: &str) -> Markup {
    let lower = query.to_lowercase();
    let is_sign = |character: char| !character.is_alphanumeric();
    let searched: Vec<&str> =
        lower.split(is_sign).filter(|word| word.chars().count() >= MIN_MARKED_WORD).collect();
    let is_marked = |part: &str| {
        let part = part.to_lowercase();
        searched.iter().any(|word| part.starts_with(word))
    };
    html! { @for part in text.split_inclusive(is_sign) {
        @let word = part.trim_end_matches(is_sign);
        @if is_marked(word) { mark { (visible(word)) } (visible(&part[word.len()..])) } @else { (visible(part)) }
    } }
}

/// Renders the proposals for a search without results; nothing if there are none.
pub fn proposals(links: impl ExactSizeIterator<Item = Markup>) -> Markup {
    html! { @if links.len() > 0 {
        p { "Did you mean " @for (position, link) in links.enumerate() { @if position > 0 { ", " } (link) } "?" }
    } }
}

/// Renders the hint that a search may not have found everything.
pub fn incomplete_search() -> Markup {
    html! { p.muted { "The server is still reading the descriptions of packages; until then, it may find only names." } }
}

/// Renders the text of a DESCRIPTION file: `<https://…>`, `<doi:…>`, `<arXiv:…>` and names of packages in
/// quotes become links, as on CRAN's pages.
pub fn description(text: &str, page: impl Fn(&str) -> Option<String>) -> Markup {
    let mut parts: Vec<Markup> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((inside, after)) = after.split_once('>') else { break };
        parts.push(with_packages(before, &page));
        parts.push(reference(inside));
        rest = after;
    }
    parts.push(with_packages(rest, &page));
    html! { @for part in &parts { (part) } }
}

/// Renders a text with links to the packages that it names in quotes; see [`description`].
pub fn with_packages(text: &str, page: impl Fn(&str) -> Option<String>) -> Markup {
    html! { @for (before, name) in quoted(text) {
        (visible(before))
        @if let Some(name) = name {
            @if let Some(address) = page(name) { a href=(address) { (visible(name)) } } @else { (visible(name)) }
        }
    } }
}

/// Returns the texts in quotes that have the form of names of R packages.
pub fn quoted_names(text: &str) -> impl Iterator<Item = &str> {
    quoted(text).into_iter().filter_map(|(_, name)| name)
}

fn is_name(text: &str) -> bool {
    (2..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// Splits a text at the names in quotes: each part, and the name that follows it. Quotes belong to the parts.
fn quoted(text: &str) -> Vec<(&str, Option<&str>)> {
    let mut parts = Vec::new();
    let (mut start, mut quote) = (0, text.find('\''));
    while let Some(at) = quote {
        let inside = at + 1;
        let next = text[inside..].find('\'').map(|length| inside + length);
        match next.map(|end| &text[inside..end]).filter(|name| is_name(name)) {
            Some(name) => {
                parts.push((&text[start..inside], Some(name)));
                start = inside + name.len();
                // The closing quote opens nothing.
                quote = text[start + 1..].find('\'').map(|length| start + 1 + length);
            }
            None => quote = next,
        }
    }
    parts.push((&text[start..], None));
    parts
}

/// Renders the text between angle brackets, as a link if it is a known reference.
fn reference(inside: &str) -> Markup {
    let lower = inside.to_ascii_lowercase();
    let after = |prefix: &str| {
        let found = lower.starts_with(prefix).then(|| inside.get(prefix.len()..)).flatten();
        found.map(str::trim).filter(|id| !id.is_empty())
    };
    let address = match (after("doi:"), after("arxiv:")) {
        (Some(doi), _) => format!("https://doi.org/{}", path(doi)),
        (None, Some(id)) => format!("https://arxiv.org/abs/{}", path(id)),
        (None, None) => inside.to_owned(),
    };
    html! { "<" (external_link(&address, inside)) ">" }
}

/// Encodes an identifier that may contain slashes.
fn path(id: &str) -> String {
    id.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Renders a list of addresses as in the field `URL`, separated by commas or spaces, as links.
pub fn addresses(field: &str) -> Markup {
    let separators = |c: char| c == ',' || c.is_whitespace();
    let addresses: Vec<&str> = field.split(separators).filter(|part| !part.is_empty()).take(20).collect();
    html! { @for (at, address) in addresses.iter().enumerate() {
        @if at > 0 { ", " }
        (external_link(address, address))
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_grouped() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1000, "1\u{202f}000"), (-1_234_567, "-1\u{202f}234\u{202f}567")]
        {
            assert_eq!(number(value), text);
        }
        let sizes = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (2, "2 bytes"),
            (999, "999 bytes"),
            (1_500, "1.5 kB"),
            (18_400_000, "18.4 MB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX).split_once(' ').map(|(_, unit)| unit), Some("GB"));
    }

    #[test]
    fn times_have_a_form_that_html_permits() {
        let element = time("2026-11-20T09:14:03.123456Z").into_string();
        assert_eq!(element, "<time datetime=\"2026-11-20T09:14:03Z\">2026-11-20 09:14:03</time>");
    }

    #[test]
    fn only_addresses_that_open_a_page_or_a_letter_are_links() {
        for good in ["https://a.example/x?y#z", "HTTP://a.example", "mailto:a@b.example"] {
            assert_eq!(external(good), Some(good));
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "https:x",
            "java\nscript:x",
            "//a.example",
            "x",
            "https://a b",
        ] {
            assert_eq!(external(bad), None, "{bad}");
        }
    }

    #[test]
    fn descriptions_are_escaped_and_their_references_are_links() {
        let description = |text: &str| description(text, |_| None);
        let html =
            description("A <b>&\"x\" <doi:10.1/a b> <https://a.example> <javascript:alert(1)>").into_string();
        assert!(html.contains("&lt;b&gt;&amp;&quot;x&quot;"), "{html}");
        assert!(html.contains("href=\"https://doi.org/10.1/a%20b\""), "{html}");
        assert!(html.contains("href=\"https://a.example\""), "{html}");
        assert_eq!(html.matches("<a ").count(), 2, "{html}");
        assert_eq!(description("a < b").into_string(), "a &lt; b");
    }

    #[test]
    fn names_of_listed_packages_in_quotes_are_links() {
        let page = |name: &str| (name == "ggplot2").then(|| format!("../{name}/"));
        let link = "'<a href=\"../ggplot2/\">ggplot2</a>'";
        for (text, expected) in [
            ("The user's 'ggplot2' and 'other'", format!("The user's {link} and 'other'")),
            ("'ggplot2''ggplot2' <x 'ggplot2'>", format!("{link}{link} &lt;x 'ggplot2'&gt;")),
            ("ggplot2 'ggplot2", "ggplot2 'ggplot2".to_owned()),
            ("'<b>' ' 'ggplot2'é'", format!("'&lt;b&gt;' ' {link}é'")),
            ("", String::new()),
        ] {
            assert_eq!(description(text, page).into_string(), expected);
        }
        assert_eq!(quoted_names("'a1' x 'b.c' 'd e' 'f' '").collect::<Vec<_>>(), ["a1", "b.c"]);
    }

    #[test]
    fn characters_that_cannot_be_seen_are_named() {
        assert_eq!(visible("a\u{202e}b\u{0}c\r\n"), "a⟨U+202E⟩b⟨U+0000⟩c\n");
    }

    #[test]
    fn a_segment_has_no_separator() {
        assert_eq!(segment("data.table"), "data.table");
        assert_eq!(segment("a/b?c#d\"é"), "a%2Fb%3Fc%23d%22%C3%A9");
    }
}
