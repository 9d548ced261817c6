//! Pages of sign-in: without scripts, and with forms only to this server and the provider.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use maud::{DOCTYPE, PreEscaped, html};

use super::origin::origin_of;
use crate::http::body::Body;
use crate::http::response;

/// Returns a page; `body` is HTML, `issuer` the provider to which a form may redirect.
pub(super) fn page(status: StatusCode, title: &str, body: &str, issuer: Option<&str>) -> Response<Body> {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
            }
            body { h1 { (title) } (PreEscaped(body)) }
        }
    };
    let html = html.into_string();
    let size = html.len();
    let mut response = Response::new(Body::full(html));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let provider = issuer.map(|issuer| format!(" {}", origin_of(issuer))).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'{provider}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    protect(&mut response);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, response::header_value(policy));
    response
}

/// Returns plain text as HTML.
pub(super) fn escape(text: &str) -> String {
    html! { (text) }.into_string()
}

/// Returns a page with a problem and a link that begins again. `paragraphs` are plain text.
pub(super) fn problem(
    status: StatusCode,
    title: &str,
    paragraphs: &[String],
    prefix: &str,
) -> Response<Body> {
    let mut body: String = paragraphs.iter().map(|text| format!("<p>{}</p>", escape(text))).collect();
    body.push_str(&format!("<p><a href=\"{}/__login__\">Sign in again</a></p>", escape(prefix)));
    page(status, title, &body, None)
}

/// Adds the fields of responses with secrets in their address: they are not stored and not named to other sites.
/// `no-referrer` would make forms send `Origin: null`.
pub(super) fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
}
