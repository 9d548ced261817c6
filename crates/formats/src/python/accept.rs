//! Chooses the format of a simple page by the `Accept` header or the query parameter `format` (PEP 691).

use base::model::project_page::PageFormat;

/// The media types of a simple page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SimpleFormat {
    /// `application/vnd.pypi.simple.v1+json`
    Json,
    /// `application/vnd.pypi.simple.v1+html`
    Html,
    /// `text/html`: the same document as `Html`.
    TextHtml,
}

/// The `Accept` header of requests to other servers.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

const NAMES: [(&str, SimpleFormat); 5] = [
    ("application/vnd.pypi.simple.v1+json", SimpleFormat::Json),
    ("application/vnd.pypi.simple.v1+html", SimpleFormat::Html),
    ("text/html", SimpleFormat::TextHtml),
    ("application/vnd.pypi.simple.latest+json", SimpleFormat::Json),
    ("application/vnd.pypi.simple.latest+html", SimpleFormat::Html),
];

impl SimpleFormat {
    /// Every format; earlier ones are preferred.
    pub const ALL: [SimpleFormat; 3] = [SimpleFormat::Json, SimpleFormat::Html, SimpleFormat::TextHtml];

    pub fn media_type(self) -> &'static str {
        match self {
            SimpleFormat::Json => "application/vnd.pypi.simple.v1+json",
            SimpleFormat::Html => "application/vnd.pypi.simple.v1+html",
            SimpleFormat::TextHtml => "text/html",
        }
    }

    /// Returns the format as that of any language.
    pub fn page_format(self) -> PageFormat {
        let (media_type, extension, etag_suffix) = match self {
            SimpleFormat::Json => (self.media_type(), "json", ""),
            SimpleFormat::Html => (self.media_type(), "html", "-v1"),
            SimpleFormat::TextHtml => ("text/html; charset=utf-8", "html", ""),
        };
        PageFormat { media_type, extension, etag_suffix }
    }

    /// Returns the format with this value of [`SimpleFormat::page_format`].
    pub fn of(format: PageFormat) -> SimpleFormat {
        let found = SimpleFormat::ALL.into_iter().find(|simple| simple.page_format() == format);
        found.unwrap_or(SimpleFormat::TextHtml)
    }

    /// Returns the format of a media type, with or without parameters. `latest` means version 1. `application/json`
    /// counts as JSON, because mirrors without content negotiation send it.
    pub fn of_media_type(text: &str) -> Option<SimpleFormat> {
        let media_type = text.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            return Some(SimpleFormat::Json);
        }
        SimpleFormat::from_name(media_type)
    }

    /// Returns the format of a media type without parameters. Allocates nothing: each request compares several.
    fn from_name(media_type: &str) -> Option<SimpleFormat> {
        let entry = NAMES.iter().find(|(name, _)| media_type.eq_ignore_ascii_case(name));
        entry.map(|(_, format)| *format)
    }
}

/// Returns the format of a response: the query parameter `format` if it is a known media type, or else that of the
/// `Accept` fields; `text/html`, as on PyPI, if they name none of a simple page.
pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>, format: Option<&str>) -> SimpleFormat {
    if let Some(format) = format.and_then(SimpleFormat::from_name) {
        return format;
    }
    let mut qualities = [(0, 0); 3];
    for range in accept.into_iter().flat_map(|value| value.split(',')).take(64) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let named = SimpleFormat::from_name(media_type);
        let kind_of_all = media_type.strip_suffix("/*");
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(1000, thousandths);
        for (entry, format) in qualities.iter_mut().zip(SimpleFormat::ALL) {
            let kind = format.media_type().split('/').next().unwrap_or_default();
            let specificity = if named == Some(format) {
                3
            } else if kind_of_all.is_some_and(|all| all.eq_ignore_ascii_case(kind)) {
                2
            } else if media_type == "*/*" {
                1
            } else {
                continue;
            };
            // The most specific range decides; of several equally specific ones, the highest quality.
            if (specificity, quality) > *entry {
                *entry = (specificity, quality);
            }
        }
    }
    let is_named = qualities.iter().any(|(specificity, quality)| *specificity == 3 && *quality > 0);
    let mut best = SimpleFormat::TextHtml;
    let mut best_rank = (0, false);
    if is_named {
        for ((specificity, quality), format) in qualities.into_iter().zip(SimpleFormat::ALL) {
            let rank = (quality, specificity == 3);
            if quality > 0 && rank > best_rank {
                (best, best_rank) = (format, rank);
            }
        }
    }
    best
}

/// Parses a quality value, in thousandths; returns 0 for a malformed one.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if is_valid => {
            let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
            digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1: &str = "application/vnd.pypi.simple.v1+json";

    #[test]
    fn each_client_gets_its_format() {
        use SimpleFormat::{Html, Json, TextHtml};
        let pip = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, format) in [
            (None, TextHtml),
            (Some(""), TextHtml),
            (Some("*/*"), TextHtml),
            (Some("text/html"), TextHtml),
            (Some(browser), TextHtml),
            (Some(pip), Json),
            (Some(ACCEPT), Json),
            (Some("application/vnd.pypi.simple.v1+json, */*;q=0.1"), Json),
            (Some("application/vnd.pypi.simple.latest+json"), Json),
            (Some("Application/Vnd.PyPI.Simple.V1+HTML"), Html),
            (
                Some("text/html, application/vnd.pypi.simple.v1+html, application/vnd.pypi.simple.v1+json"),
                Json,
            ),
            (Some("application/vnd.pypi.simple.v1+json;q=0.1, text/html;q=0.2"), TextHtml),
            (Some("application/vnd.pypi.simple.v1+json;q=0, */*"), TextHtml),
            (Some("application/vnd.pypi.simple.v2+json"), TextHtml),
            (Some("application/json"), TextHtml),
            (Some("application/*"), TextHtml),
            (Some("application/vnd.pypi.simple.v1+html;q=0.5, application/*;q=0.5"), Html),
            (Some("application/vnd.pypi.simple.v1+json;q=2"), TextHtml),
            (Some("application/vnd.pypi.simple.v1+json;q=0.09, text/html;q=0.1"), TextHtml),
            (Some("application/vnd.pypi.simple.v1+json;q=0.2, text/html;q=0.19"), Json),
        ] {
            assert_eq!(negotiate(accept, None), format, "{accept:?}");
        }
    }

    #[test]
    fn the_query_parameter_prevails_if_it_is_known() {
        assert_eq!(negotiate(Some("text/html"), Some(V1)), SimpleFormat::Json);
        assert_eq!(negotiate(Some(V1), Some("text/html")), SimpleFormat::TextHtml);
        assert_eq!(negotiate(Some(V1), Some("pdf")), SimpleFormat::Json);
    }

    #[test]
    fn media_types_of_responses_are_recognized() {
        let format_of = SimpleFormat::of_media_type;
        assert_eq!(format_of("text/html; charset=utf-8"), Some(SimpleFormat::TextHtml));
        assert_eq!(format_of("application/json"), Some(SimpleFormat::Json));
        assert_eq!(format_of("application/vnd.pypi.simple.v1+json"), Some(SimpleFormat::Json));
        assert_eq!(
            (format_of("text/plain"), format_of(""), format_of("application/vnd.pypi.simple.v2+json")),
            (None, None, None)
        );
    }

    proptest! {
        #[test]
        fn a_named_format_is_never_refused(quality in 1_u32..=1000, text in "[a-z/*;=.q0-9, ]{0,40}") {
            let accept = format!("{V1};q={}.{:03}", quality / 1000, quality % 1000);
            prop_assert_eq!(negotiate(Some(&*accept), None), SimpleFormat::Json);
            let _ = negotiate(Some(&*text), Some(&text));
            // Several fields are one list (RFC 9110, 5.3).
            let fields = text.split(',');
            prop_assert_eq!(negotiate(fields, None), negotiate(Some(&*text), None));
        }
    }
}
