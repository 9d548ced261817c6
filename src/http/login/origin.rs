//! Checks that a change with the session of a browser comes from a page of this server: a page of another
//! site can make the browser send requests too (cross-site request forgery). Pure.

use http::header::{CONTENT_TYPE, HeaderMap, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::http::error::Failure;
use api::error::Code;

/// Checks a request with a session; 403 for a change from another site, or with a body that a form of one
/// could send. `address` is `Server.Address`.
pub(in crate::http) fn require_own(address: Option<&str>, parts: &Parts, path: &str) -> Result<(), Failure> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let refuse = |phrase: &str| Err(Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, phrase));
    if !is_own(address, &parts.headers) {
        return refuse("changes with a browser's session must come from a page of this server");
    }
    let is_form_page = accepts_form(path);
    if !is_form_page && !has_media_type(&parts.headers, "application/json") {
        return refuse(
            "changes with a browser's session need Content-Type: application/json; use a token for uploads",
        );
    }
    Ok(())
}

/// Returns whether an address accepts a form: sign-in, pages of administrators, whose forms have a token, and
/// the comparison of a lock file, which changes nothing.
fn accepts_form(path: &str) -> bool {
    path.starts_with("/__login__")
        || path.starts_with("/__ui__/admin/")
        || path.starts_with("/__logout__")
        || path.trim_end_matches('/').ends_with("/web/lockfile")
}

/// Returns whether the headers of a browser state that a page of this server sends the request; `address` is
/// a URL of this server. Browsers send `Sec-Fetch-Site` only over TLS and to loopback addresses; else
/// `Origin` is compared with scheme, host and port of `address`.
pub(in crate::http) fn is_own(address: Option<&str>, headers: &HeaderMap) -> bool {
    match (field(headers, "sec-fetch-site"), field(headers, ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_own_origin(address, origin),
        (None, None) => false,
    }
}

/// Returns whether `origin` is the origin of `address`, a URL of this server.
pub(in crate::http) fn is_own_origin(address: Option<&str>, origin: &str) -> bool {
    address.is_some_and(|address| origin.eq_ignore_ascii_case(origin_of(address)))
}

/// Returns whether the body of a request has a media type, with any parameters.
pub(in crate::http) fn has_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let field = field(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    field.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |end| &url[..start + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        require_own(Some("https://h.example/rspm"), &parts, path).is_ok()
    }

    #[test]
    fn changes_come_from_this_server_as_json() {
        let json = ("content-type", "application/json; charset=utf-8");
        let own = ("sec-fetch-site", "same-origin");
        let api = "/__api__/admin/v1/tokens";
        assert!(check(Method::GET, "/", &[]));
        assert!(check(Method::POST, api, &[json, own]));
        assert!(check(Method::POST, api, &[json, ("origin", "https://h.example")]));
        assert!(check(Method::POST, "/__logout__", &[own]));
        assert!(!check(Method::POST, api, &[json]));
        assert!(!check(Method::POST, api, &[own]));
        assert!(!check(Method::POST, api, &[own, ("content-type", "text/plain")]));
        assert!(!check(Method::POST, api, &[json, ("origin", "https://h.example.evil.example")]));
        assert!(!check(Method::POST, api, &[json, ("origin", "null")]));
        for site in ["cross-site", "same-site", "none"] {
            let fields = [json, ("sec-fetch-site", site), ("origin", "https://h.example")];
            assert!(!check(Method::DELETE, api, &fields), "{site}");
        }
    }

    #[test]
    fn a_page_of_this_server_has_its_scheme_host_and_port() {
        let own = ("origin", "https://pm.example");
        for (url, fields, expected) in [
            (Some("https://pm.example"), vec![own], true),
            (Some("https://pm.example/rspm"), vec![own], true),
            (Some("https://pm.example"), vec![("sec-fetch-site", "same-origin")], true),
            (Some("http://pm.example"), vec![own], false),
            (Some("https://pm.example:8443"), vec![own], false),
            (Some("https://pm.example"), vec![("origin", "http://pm.example")], false),
            (Some("https://pm.example"), vec![("origin", "https://other.example")], false),
            (Some("https://pm.example"), vec![("origin", "null")], false),
            (Some("https://pm.example"), vec![own, ("sec-fetch-site", "same-site")], false),
            (Some("https://pm.example"), vec![own, ("sec-fetch-site", "none")], false),
            (Some("https://pm.example"), vec![own, ("sec-fetch-site", "cross-site")], false),
            (Some("https://pm.example"), vec![], false),
            (None, vec![own], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(*name, value.parse().expect("a value"));
            }
            assert_eq!(is_own(url, &headers), expected, "{url:?} {fields:?}");
        }
    }
}
