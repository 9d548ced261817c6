//! Pages of sign-in. Their policy permits forms only to this server and the provider.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::origin::origin_of;
use crate::http::net::body::Body;
use crate::http::response;
use pages::assets;
use pages::frame::{Frame, Root};

/// Returns a page; `prefix` is the path of `Server.Address`, `target` where a form redirects to at the provider.
pub(super) fn page(
    status: StatusCode,
    title: &str,
    prefix: &str,
    body: &Markup,
    target: Option<&str>,
) -> Response<Body> {
    let frame = Frame::new(Root::of_prefix(prefix), title);
    let html = frame.render(&html! { h1 { (title) } (body) });
    let size = html.len();
    let mut response = Response::new(Body::full(html));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let mut policy = assets::policy();
    if let Some(target) = target {
        policy = policy.replace("form-action 'self'", &format!("form-action 'self' {}", origin_of(target)));
    }
    protect(&mut response);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, response::header_value(policy));
    response
}

/// Returns a page that describes a problem, with a link to begin again. `paragraphs` are plain text.
pub(super) fn problem(
    status: StatusCode,
    title: &str,
    paragraphs: &[String],
    prefix: &str,
) -> Response<Body> {
    let body = html! {
        @for text in paragraphs {
            p { (text) }
        }
        p { a href={ (prefix) "/__login__" } { "Sign in again" } }
    };
    page(status, title, prefix, &body, None)
}

/// Adds headers to a response whose address contains secrets: it is not stored, and other sites do not get
/// the address. With `no-referrer`, forms would send `Origin: null`.
pub(super) fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
}
