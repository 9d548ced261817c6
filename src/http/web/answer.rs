//! Responses with pages: the headers of all pages, compression, conditional requests.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::conditional::{self, Precondition, Validators, accepts_gzip};
use crate::http::repo::document;
use crate::http::response::{self, ErrorFormat, header_value};
use base::model::digest::Sha256;
use pages::assets;
use pages::frame::{Root, error_page};

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const IMAGE_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
/// Minimum size of a page that is compressed, in bytes.
const MIN_COMPRESSED_SIZE: usize = 1024;
/// The level of compression: about a millisecond for 100 kB.
const LEVEL: i32 = 6;

/// Returns the response with a page. Its `ETag` is the digest of its text. `depends_on_browser` states
/// whether browsers get different pages at the same address.
pub(in crate::http) fn page(
    head: &RequestHead<'_>,
    html: String,
    depends_on_browser: bool,
) -> Response<Body> {
    let content = |bytes| with_content(&head.parts.headers, StatusCode::OK, bytes);
    let mut response = with_etag(head, html.into_bytes(), content);
    if response.status() != StatusCode::OK {
        set_page_headers(response.headers_mut());
    }
    if depends_on_browser {
        let vary = HeaderValue::from_static("Accept-Encoding, User-Agent, Sec-CH-UA-Platform");
        response.headers_mut().insert(header::VARY, vary);
    }
    response
}

/// Returns `content` with the digest of the bytes as `ETag`; or 304 or 412, by the request's conditions.
pub(in crate::http) fn with_etag(
    head: &RequestHead<'_>,
    bytes: Vec<u8>,
    content: impl FnOnce(Vec<u8>) -> Response<Body>,
) -> Response<Body> {
    let etag = document::content_etag(Sha256::of(&bytes), true);
    let current = Validators { etag: Some(etag.as_bytes()), previous_etag: None, modified: None };
    let empty = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    let mut response = match conditional::precondition(&head.parts.headers, current) {
        Precondition::Proceed => content(bytes),
        Precondition::NotModified => empty(StatusCode::NOT_MODIFIED),
        Precondition::Failed => empty(StatusCode::PRECONDITION_FAILED),
    };
    response.headers_mut().insert(header::ETAG, etag);
    response
}

/// Returns the error page of a failure, with the headers of every format.
pub(in crate::http) fn failure_page(head: &RequestHead<'_>, failure: &Failure) -> Response<Body> {
    let plain = response::failure(failure, ErrorFormat::Text);
    let reason = failure.status.canonical_reason().unwrap_or_default();
    let root = Root::of_path(head.path);
    let html = error_page(root, failure.status.as_u16(), reason, &failure.phrase, failure.similar());
    let mut response = with_content(&head.parts.headers, failure.status, html.into_bytes());
    for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE, header::ALLOW] {
        for value in plain.headers().get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    if failure.challenge.is_some() {
        response::restrict_to_client(&mut response);
    }
    response
}

/// Returns a page for one client, which is neither cached nor compressed.
pub(super) fn private_page(status: StatusCode, html: String) -> Response<Body> {
    with_content(&HeaderMap::new(), status, html.into_bytes())
}

/// Returns the response with an image of a package. SECURITY: a browser that opens it executes nothing of it.
pub(super) fn image(head: &RequestHead<'_>, media_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = with_etag(head, bytes, |bytes| {
        let size = bytes.len();
        let mut response = Response::new(Body::full(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        response
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, IMAGE_POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn with_content(request: &HeaderMap, status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let compressed = if bytes.len() >= MIN_COMPRESSED_SIZE && accepts_gzip(request) {
        assets::gzip(&bytes, LEVEL)
    } else {
        None
    };
    let is_compressed = compressed.is_some();
    let bytes = compressed.unwrap_or(bytes);
    let size = bytes.len();
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    set_page_headers(headers);
    response
}

/// Sets the headers that all pages have, regardless of `Server.ContentTypeSniffing`.
fn set_page_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, header_value(assets::policy()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `no-referrer` makes browsers send `Origin: null` with forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}
