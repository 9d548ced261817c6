//! Strict decoding of the request target into path segments and query parameters. No I/O.

use std::borrow::Cow;

use http::Method;

use crate::http::error::Failure;
use api::query::{ParameterValue, Parameters};
use base::model::snapshot::Snapshot;

/// Splits a raw path into decoded segments. A trailing slash results in an empty last segment.
///
/// A GET or HEAD may have empty segments (`//`), which are skipped: pkgcache, remotes and BiocManager produce
/// them from an address with a trailing slash, and proxies from a prefix with one.
///
/// SECURITY: no later code decodes or normalizes again. Rejected with 400: anything but visible ASCII in the
/// raw path, broken or overlong percent-encoding, encoded `/`, `\`, `%` or control characters (NUL, CR, LF),
/// `\`, `.` and `..` segments in any spelling, and empty segments in a request that may change something;
/// with 414, a path longer than `limit` bytes.
pub fn segments<'a>(method: &Method, path: &'a str, limit: usize) -> Result<Vec<Cow<'a, str>>, Failure> {
    if path.len() > limit {
        return Err(Failure::target_too_long(limit));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Failure::bad_request("the request target must be a path that begins with '/'"));
    };
    let count = rest.split('/').count();
    let mut segments = Vec::with_capacity(count);
    for (i, raw) in rest.split('/').enumerate() {
        let segment = decode(raw, false)?;
        if segment.contains(['/', '\\', '%']) {
            return Err(Failure::bad_request("the path contains an encoded separator"));
        }
        if segment == "." || segment == ".." {
            return Err(Failure::bad_request("the path contains a relative segment"));
        }
        if segment.is_empty() && i + 1 < count {
            if matches!(*method, Method::GET | Method::HEAD) {
                continue;
            }
            return Err(Failure::bad_request("the path contains an empty segment ('//')"));
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;

/// The parameters of a query, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a raw query (`application/x-www-form-urlencoded`), with any parameters. Fails with 400 for
    /// broken encoding or control characters, 414 beyond `limit` bytes.
    pub fn parse(raw: Option<&str>, limit: usize) -> Result<Query, Failure> {
        let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Ok(Query::default()) };
        if raw.len() > limit {
            return Err(Failure::target_too_long(limit));
        }
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?.into_owned(), decode(value, true)?.into_owned()))
        });
        pairs.collect::<Result<_, Failure>>().map(Query)
    }

    /// Reads the parameters of an operation; 400 for an invalid value.
    pub fn read<T: Parameters>(&self) -> Result<T, Failure> {
        T::read(&|name| self.values(name).collect()).map_err(Failure::bad_request)
    }

    fn parameter<T: ParameterValue>(&self, name: &str) -> Result<T, Failure> {
        let values: Vec<&str> = self.values(name).collect();
        api::query::read(name, &values).map_err(Failure::bad_request)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns all values of a parameter that is repeated, or a comma-separated list; empty values are skipped.
    pub fn all(&self, name: &str) -> impl Iterator<Item = String> {
        self.parameter::<Vec<String>>(name).unwrap_or_default().into_iter()
    }

    /// Returns a snapshot: `latest`, a day, or the number of a transaction. `None` if absent or empty; 400 for others.
    pub fn snapshot(&self, name: &str) -> Result<Option<Snapshot>, Failure> {
        self.parameter(name)
    }

    /// Returns the parameter `page` of a list, at least 1; 400 for a text that is not a number.
    pub fn page(&self) -> Result<usize, Failure> {
        let page: Option<usize> = self.parameter("page")?;
        Ok(page.unwrap_or(1).clamp(1, MAX_PAGE))
    }
}

fn decode(raw: &str, is_form: bool) -> Result<Cow<'_, str>, Failure> {
    let invalid = || Failure::bad_request("the request target is not properly percent-encoded");
    if !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::bad_request(
            "the request target contains a character that must be percent-encoded",
        ));
    }
    let decoded = if raw.contains('%') || (is_form && raw.contains('+')) {
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            rest = match first {
                b'%' => {
                    let (digits, after) = tail.split_at_checked(2).ok_or_else(invalid)?;
                    let mut byte = [0];
                    hex::decode_to_slice(digits, &mut byte).map_err(|_| invalid())?;
                    bytes.push(byte[0]);
                    after
                }
                b'+' if is_form => {
                    bytes.push(b' ');
                    tail
                }
                other => {
                    bytes.push(*other);
                    tail
                }
            };
        }
        Cow::Owned(String::from_utf8(bytes).map_err(|_| invalid())?)
    } else {
        Cow::Borrowed(raw)
    };
    if decoded.chars().any(char::is_control) {
        return Err(Failure::bad_request("the request target contains an encoded control character"));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::query::Order;

    #[test]
    fn segments_are_decoded() {
        let segments_of =
            |path| segments(&Method::GET, path, 4096).map(|s| s.join("|")).map_err(|e| e.status.as_u16());
        assert_eq!(segments_of("/"), Ok(String::new()));
        assert_eq!(segments_of("/cran/2022-08-01+Y3I/src"), Ok("cran|2022-08-01+Y3I|src".to_owned()));
        assert_eq!(
            segments_of("/cran/2022-08-01%2BY3I/%63ontrib/"),
            Ok("cran|2022-08-01+Y3I|contrib|".to_owned())
        );
        assert_eq!(segments_of("/%C3%A9"), Ok("é".to_owned()));
    }

    #[test]
    fn empty_segments_are_ignored_in_get_and_head_and_refused_otherwise() {
        let segments_of = |method: &Method, path| {
            segments(method, path, 4096).map(|s| s.join("|")).map_err(|e| e.status.as_u16())
        };
        for (path, expected) in
            [("//", ""), ("///", ""), ("//a", "a"), ("/a//b", "a|b"), ("/a///b//", "a|b|"), ("/a/", "a|")]
        {
            assert_eq!(segments_of(&Method::GET, path), Ok(expected.to_owned()), "{path}");
            assert_eq!(segments_of(&Method::HEAD, path), Ok(expected.to_owned()), "{path}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(segments_of(&method, "/a//b"), Err(400), "{method}");
            assert_eq!(segments_of(&method, "/a/b/"), Ok("a|b|".to_owned()), "{method}");
        }
    }

    #[test]
    fn every_hostile_spelling_is_refused() {
        for path in [
            "",
            "*",
            "cran",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/x",
            "/.%2e",
            "/%2E",
            "/a%2fb",
            "/a%2Fb",
            "/%5c",
            "/a\\b",
            "/%00",
            "/a%0d%0ab",
            "/a%0a",
            "/%7f",
            "/%252e%252e",
            "/%c0%ae%c0%ae",
            "/%e0%80%af",
            "/%ff",
            "/%",
            "/%2",
            "/%zz",
            "/%u002e",
            "/a b",
            "/é",
            "/a\u{1}b",
            "/a%c2%85b",
            "/a//../b",
            "//..",
            "//%2e%2e//b",
        ] {
            let failure = segments(&Method::GET, path, 4096).expect_err(path);
            assert_eq!(failure.status.as_u16(), 400, "{path}");
        }
        assert_eq!(
            segments(&Method::GET, &format!("/{}", "a".repeat(5000)), 4096)
                .expect_err("long")
                .status
                .as_u16(),
            414
        );
    }

    #[test]
    fn queries_are_decoded_like_forms() {
        let query = Query::parse(Some("a=1&b=x%20y+z&c&=d&a=2"), 4096).expect("well-formed");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        let page = |query: &str| Query::parse(Some(query), 4096).expect("well-formed").page();
        assert_eq!(["", "page=0", "page=3", "page=99999999"].map(page), [Ok(1), Ok(1), Ok(3), Ok(MAX_PAGE)]);
        assert!(page("page=x").is_err());
        let query =
            Query::parse(Some("p=a,b&p=c&p=&x=,&all=true&not=False&_order=DESC"), 4096).expect("well-formed");
        assert_eq!(query.all("p").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(query.all("x").count(), 0);
        assert_eq!(
            ["all", "not", "absent"].map(|name| query.parameter(name)),
            [Ok(true), Ok(false), Ok(false)]
        );
        assert_eq!(query.parameter("_order"), Ok(Some(Order::Descending)));
        let query = Query::parse(Some("_order=up"), 4096).expect("well-formed");
        assert!(query.parameter::<Option<Order>>("_order").is_err());
        for bad in ["a=%0d%0aX", "%00", "a=%f", "a=é"] {
            assert!(Query::parse(Some(bad), 4096).is_err(), "{bad}");
        }
    }
}
