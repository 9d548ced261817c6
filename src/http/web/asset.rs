//! Responses with content that is part of the program: `/assets/…`, `/favicon.ico`, `/robots.txt`, and the manual.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::{answer, context};
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::conditional::{self, Precondition, Validators, accepts_gzip};
use crate::http::response::{self, header_value};
use pages::assets::{self, Asset, assets};
use pages::manual::{ManualPage, contents};

/// `Cache-Control` of a file whose name contains its digest: the content never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// The rules for robots: a robot that follows links would request every day of every package.
const ROBOTS: &str = "User-agent: *\nDisallow: /\n";

pub(in crate::http) fn answer(file: &str, head: &RequestHead<'_>) -> Result<Response<Body>, Failure> {
    let (asset, is_current) = assets::find(file).ok_or_else(Failure::no_such_address)?;
    Ok(content(asset, is_current, head))
}

/// Returns the response with the icon that browsers request at a fixed address.
pub(in crate::http) fn favicon(head: &RequestHead<'_>) -> Response<Body> {
    content(&assets().favicon, false, head)
}

pub(in crate::http) fn robots() -> Response<Body> {
    response::text("text/plain; charset=utf-8", ROBOTS.as_bytes().to_vec())
}

/// Returns the description with which a browser can search on this server (OpenSearch 1.1).
pub(in crate::http) fn open_search(app: &App, head: &RequestHead<'_>) -> Response<Body> {
    let document = assets::open_search(&base_url::base_url(&app.site.load(), head));
    let content = |bytes| response::text("application/opensearchdescription+xml", bytes);
    let mut response = answer::with_etag(head, document.into_bytes(), content);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn content(asset: &'static Asset, is_current: bool, head: &RequestHead<'_>) -> Response<Body> {
    let request = &head.parts.headers;
    let compressed = asset.compressed.as_deref().filter(|_| accepts_gzip(request));
    let suffix = if compressed.is_some() { "-gzip" } else { "" };
    let etag = header_value(format!("\"{}{suffix}\"", hex::encode(&asset.digest[..16])));
    let current = Validators { etag: Some(etag.as_bytes()), previous_etag: None, modified: None };
    let (status, bytes) = match conditional::precondition(request, current) {
        Precondition::Proceed => (StatusCode::OK, compressed.unwrap_or(asset.content)),
        Precondition::NotModified => (StatusCode::NOT_MODIFIED, b"".as_slice()),
        Precondition::Failed => (StatusCode::PRECONDITION_FAILED, b"".as_slice()),
    };
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    // If the name has the digest of another version of this server, that version may answer the next request otherwise.
    headers.insert(
        header::CACHE_CONTROL,
        if is_current { IMMUTABLE } else { HeaderValue::from_static("no-cache") },
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::OK {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        if compressed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    response
}

/// Answers with the page `name` of the manual, or with the list of all its pages if `name` is empty.
pub(in crate::http) fn manual(
    app: &App,
    name: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let root = context::root(app, head);
    let html = match name {
        "" => contents(root),
        name => ManualPage::find(name)
            .ok_or_else(|| {
                Failure::not_found("the manual does not have this page; all pages are at /__docs__/")
            })?
            .render(root),
    };
    Ok(answer::page(head, html, false))
}
