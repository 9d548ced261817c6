//! Evaluation of conditional and range requests: RFC 9110, sections 13 and 14. Pure.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::header::{
    self, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};

#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The entity tag as sent: `"x"` or `W/"x"`; `None` while no digest of the bytes is known.
    pub etag: Option<&'a [u8]>,
    /// The tag that was sent for the same bytes before; it matches conditions as well.
    pub previous_etag: Option<&'a [u8]>,
    /// `Last-Modified`, whole seconds since the epoch.
    pub modified: Option<i64>,
}

impl Validators<'_> {
    fn matches_any(&self, same: impl Fn(&[u8]) -> bool) -> bool {
        self.etag.is_some_and(&same) || self.previous_etag.is_some_and(&same)
    }
}

/// The result of evaluating the `If-*` fields of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Handle the request without conditions.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// 200 with all bytes: no range, an invalid one, several, or an `If-Range` that does not match.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

pub fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH)
        || headers.contains_key(IF_MODIFIED_SINCE)
        || headers.contains_key(IF_MATCH)
        || headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// Evaluates the preconditions in the order of RFC 9110, 13.2.2.
pub fn precondition(headers: &HeaderMap, current: Validators<'_>) -> Precondition {
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, &IF_MATCH, |tag| current.matches_any(|own| same_strong(tag, own))) {
            return Precondition::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date(headers, &IF_UNMODIFIED_SINCE), current.modified)
        && modified > since
    {
        return Precondition::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if any_tag(headers, &IF_NONE_MATCH, |tag| current.matches_any(|own| same_weak(tag, own))) {
            return Precondition::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (date(headers, &IF_MODIFIED_SINCE), current.modified)
        && modified <= since
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// Returns the part of `size` bytes that a GET requests.
pub fn extent(headers: &HeaderMap, current: Validators<'_>, size: u64) -> Extent {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(value), None) = (ranges.next(), ranges.next()) else {
        return Extent::Whole;
    };
    if let Some(condition) = headers.get(IF_RANGE) {
        let condition = condition.as_bytes();
        let matches = if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
            current.matches_any(|own| same_strong(condition, own))
        } else {
            // The dates must be equal (13.1.5).
            current.modified.is_some() && date(headers, &IF_RANGE) == current.modified
        };
        if !matches {
            return Extent::Whole;
        }
    }
    value.to_str().ok().map_or(Extent::Whole, |text| parse_range(text, size))
}

/// Parses one range of `bytes=`; anything but exactly one well-formed range means all bytes.
fn parse_range(text: &str, size: u64) -> Extent {
    let whole = Extent::Whole;
    let Some((unit, spec)) = text.split_once('=') else { return whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return whole };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => whole,
        (Some(first), end) if end.is_some() || last.is_empty() => {
            if first >= size {
                return Extent::Unsatisfiable;
            }
            let end = end.map_or(size, |last| last.saturating_add(1).min(size));
            Extent::Part(first..end)
        }
        (None, Some(suffix)) if first.is_empty() => {
            if suffix == 0 || size == 0 {
                return Extent::Unsatisfiable;
            }
            Extent::Part(size.saturating_sub(suffix)..size)
        }
        _ => whole,
    }
}

/// Parses digits; a number that exceeds 64 bits becomes `u64::MAX`.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn strip_weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn same_weak(a: &[u8], b: &[u8]) -> bool {
    strip_weak(a) == strip_weak(b)
}

fn same_strong(a: &[u8], b: &[u8]) -> bool {
    a == b && !a.starts_with(b"W/")
}

/// Returns whether `*` or one of the listed tags satisfies `same`. A malformed list ends at the error.
fn any_tag(headers: &HeaderMap, name: &HeaderName, same: impl Fn(&[u8]) -> bool) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        while !rest.is_empty() {
            let weak = usize::from(rest.starts_with(b"W/")) * 2;
            if rest.get(weak) != Some(&b'"') {
                // Some clients send the tag without its quotes.
                let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
                let item = rest[..end].trim_ascii();
                if !item.is_empty() && same(&[b"\"", item, b"\""].concat()) {
                    return true;
                }
                rest = rest.get(end + 1..).unwrap_or_default().trim_ascii_start();
                continue;
            }
            let Some(close) = rest[weak + 1..].iter().position(|b| *b == b'"') else {
                return false;
            };
            let end = weak + 1 + close + 1;
            if same(&rest[..end]) {
                return true;
            }
            rest = rest[end..].trim_ascii_start();
            rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        }
        false
    })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Formats a time as an HTTP date (`Fri, 20 Nov 2026 08:00:00 GMT`); `None` before 1970 or after 9999.
pub fn http_date(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|s| *s < 253_402_300_800)?;
    Some(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// Returns whether the client accepts gzip (RFC 9110, 12.5.3). The wildcard `*` does not count.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = fields.flat_map(|field| field.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.to_ascii_lowercase().strip_prefix("q=")?.parse::<f32>().ok());
        is_gzip && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    const STRONG: &[u8] = b"\"abc\"";
    const WEAK: &[u8] = b"W/\"abc\"";
    /// 1994-11-06 08:49:37.
    const MODIFIED: i64 = 784_111_777;
    const MODIFIED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().expect("a header value"));
        }
        map
    }

    #[test]
    fn preconditions_follow_rfc_9110() {
        use Precondition::{Failed, NotModified, Proceed};
        let cases: &[(Fields, &[u8], Precondition)] = &[
            (&[], STRONG, Proceed),
            (&[("if-none-match", "\"abc\"")], STRONG, NotModified),
            (&[("if-none-match", "W/\"abc\"")], STRONG, NotModified),
            (&[("if-none-match", "\"abc\"")], WEAK, NotModified),
            (&[("if-none-match", "abc")], STRONG, NotModified),
            (&[("if-none-match", "\"x\", W/\"y\" ,\"abc\"")], STRONG, NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], STRONG, NotModified),
            (&[("if-none-match", "*")], STRONG, NotModified),
            (&[("if-none-match", "\"x,y\"")], STRONG, Proceed),
            (&[("if-none-match", "\"abc")], STRONG, Proceed),
            (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], STRONG, Proceed),
            (&[("if-modified-since", MODIFIED_TEXT)], STRONG, NotModified),
            (&[("if-modified-since", LATER)], STRONG, NotModified),
            (&[("if-modified-since", EARLIER)], STRONG, Proceed),
            (&[("if-modified-since", "yesterday")], STRONG, Proceed),
            (&[("if-match", "\"abc\"")], STRONG, Proceed),
            (&[("if-match", "*")], STRONG, Proceed),
            (&[("if-match", "\"abc\"")], WEAK, Failed),
            (&[("if-match", "W/\"abc\"")], WEAK, Failed),
            (&[("if-match", "\"x\"")], STRONG, Failed),
            (&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], STRONG, NotModified),
            (&[("if-unmodified-since", EARLIER)], STRONG, Failed),
            (&[("if-unmodified-since", MODIFIED_TEXT)], STRONG, Proceed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", EARLIER)], STRONG, Proceed),
        ];
        for (fields, etag, expected) in cases {
            let current = Validators { etag: Some(etag), previous_etag: None, modified: Some(MODIFIED) };
            assert_eq!(precondition(&headers(fields), current), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_previous_tag_still_matches_and_a_missing_tag_matches_only_an_asterisk() {
        use Precondition::{Failed, NotModified, Proceed};
        let renamed = Validators { etag: Some(b"\"new\""), previous_etag: Some(STRONG), modified: None };
        let untagged = Validators { etag: None, previous_etag: None, modified: Some(MODIFIED) };
        let cases: &[(Fields, Precondition, Precondition)] = &[
            (&[("if-none-match", "\"abc\"")], NotModified, Proceed),
            (&[("if-none-match", "\"new\"")], NotModified, Proceed),
            (&[("if-none-match", "\"x\"")], Proceed, Proceed),
            (&[("if-none-match", "*")], NotModified, NotModified),
            (&[("if-match", "\"abc\"")], Proceed, Failed),
            (&[("if-match", "*")], Proceed, Proceed),
            (&[("if-modified-since", MODIFIED_TEXT)], Proceed, NotModified),
        ];
        for (fields, with_previous, without) in cases {
            assert_eq!(precondition(&headers(fields), renamed), *with_previous, "{fields:?}");
            assert_eq!(precondition(&headers(fields), untagged), *without, "{fields:?}");
        }
        let resumed = headers(&[("range", "bytes=0-0"), ("if-range", "\"abc\"")]);
        assert_eq!(extent(&resumed, renamed, 9), Extent::Part(0..1));
        assert_eq!(extent(&resumed, untagged, 9), Extent::Whole);
    }

    #[test]
    fn one_range_is_served_and_anything_else_gets_the_whole_file() {
        use Extent::{Part, Unsatisfiable, Whole};
        let cases: &[(&str, Extent)] = &[
            ("bytes=0-9", Part(0..10)),
            ("bytes=0-0", Part(0..1)),
            ("Bytes = 5-", Part(5..100)),
            ("bytes=-7", Part(93..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=90-1000", Part(90..100)),
            ("bytes=99-99999999999999999999999", Part(99..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=0-1,5-6", Whole),
            ("bytes=9-5", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1-b", Whole),
            ("bytes=1--", Whole),
            ("bytes=1-junk-", Whole),
            ("bytes=5-7-", Whole),
            ("bytes=+1-2", Whole),
            ("lines=1-2", Whole),
            ("junk", Whole),
        ];
        let current = Validators { etag: Some(STRONG), previous_etag: None, modified: None };
        for (text, expected) in cases {
            assert_eq!(extent(&headers(&[("range", text)]), current, 100), *expected, "{text}");
        }
        assert_eq!(extent(&headers(&[("range", "bytes=-1")]), current, 0), Unsatisfiable);
        assert_eq!(extent(&headers(&[]), current, 100), Whole);
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        let part = Extent::Part(0..1);
        let cases: &[(&str, &[u8], Extent)] = &[
            ("\"abc\"", STRONG, part.clone()),
            ("\"x\"", STRONG, Extent::Whole),
            ("W/\"abc\"", WEAK, Extent::Whole),
            (MODIFIED_TEXT, STRONG, part),
            (LATER, STRONG, Extent::Whole),
            ("nonsense", STRONG, Extent::Whole),
        ];
        for (value, etag, expected) in cases {
            let map = headers(&[("range", "bytes=0-0"), ("if-range", value)]);
            let current = Validators { etag: Some(etag), previous_etag: None, modified: Some(MODIFIED) };
            assert_eq!(extent(&map, current, 9), *expected, "{value}");
        }
    }

    #[test]
    fn dates_are_written_as_http_does() {
        assert_eq!(http_date(MODIFIED).as_deref(), Some(MODIFIED_TEXT));
        assert_eq!(http_date(-1), None);
        assert_eq!(http_date(i64::MAX), None);
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_accept_it() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            accepts_gzip(&headers)
        };
        for yes in ["gzip", "br, GZIP;q=0.5", "deflate, gzip ; q=1"] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "br", "*", "gzip;q=0", "gzip; Q=0.000", "x-gzipped"] {
            assert!(!accepts(no), "{no}");
        }
    }
}
