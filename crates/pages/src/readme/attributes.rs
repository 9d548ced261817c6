//! The attributes of elements of READMEs.

/// Maximum length of the value of an attribute, in bytes; longer ones are omitted.
pub(super) const MAX_VALUE: usize = 2_000;
/// Maximum number of columns and rows of a cell: browsers need seconds for many wide cells.
const MAX_SPAN: usize = 100;
/// Maximum number of characters of a host that are not plain. The parser of addresses needs time proportional to the square
/// of the number of characters that are not ASCII.
const MAX_UNUSUAL: usize = 100;

const ATTRIBUTES: [&str; 12] =
    ["alt", "colspan", "dir", "height", "href", "id", "lang", "rowspan", "src", "start", "title", "width"];

/// Writes the attributes of a start tag that READMEs may have.
pub(super) fn push_attributes(html: &mut String, attributes: &[(String, String)]) {
    for key in ATTRIBUTES {
        let Some(value) = value(attributes, key) else { continue };
        let is_written = match key {
            "colspan" | "rowspan" => value.parse().is_ok_and(|span: usize| (1..=MAX_SPAN).contains(&span)),
            "href" => value.len() <= MAX_VALUE && is_short_host(value),
            _ => value.len() <= MAX_VALUE,
        };
        if !is_written {
            continue;
        }
        html.push(' ');
        html.push_str(key);
        html.push_str("=\"");
        for c in value.chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '"' => html.push_str("&quot;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                c => html.push(c),
            }
        }
        html.push('"');
    }
}

/// Returns the value of an attribute; for the id of an anchor also its name.
fn value<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let find = |key: &str| attributes.iter().find(|(found, _)| found == key);
    // Of equal attributes, the first one counts.
    let found = find(key).or_else(|| if key == "id" { find("name") } else { None });
    found.map(|(_, value)| value.as_str())
}

/// Returns true for an address whose host is plain, or has few other characters.
fn is_short_host(address: &str) -> bool {
    let unusual = address.chars().filter(|c| !c.is_ascii() || matches!(c, '%' | '&')).count();
    if unusual <= MAX_UNUSUAL || address.starts_with(['#', '.']) {
        return true;
    }
    let lower = address.get(..8).unwrap_or_default().to_ascii_lowercase();
    let start = ["https://", "http://"].into_iter().find(|start| lower.starts_with(start));
    let rest = start.and_then(|start| address.get(start.len()..)).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.len() < rest.len()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:@_".contains(&byte))
}
