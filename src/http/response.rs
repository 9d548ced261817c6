//! Construction of all responses: the headers of each kind, and the headers common to all.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::http::error::{Failure, Payload};
use crate::http::net::body::Body;
use crate::http::repo::conditional::{self, Precondition, Validators};

/// Serial of the last change of a page, or the list of projects. Mirrors refuse a page with a lower one than the list.
const X_PYPI_LAST_SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");
const X_PACKAGE_TYPE: HeaderName = HeaderName::from_static("x-package-type");
/// The reason why a package is blocked, or the warning about it.
const X_PM_REASON: HeaderName = HeaderName::from_static("x-pm-reason");
const X_PACKAGE_BINARY_TAG: HeaderName = HeaderName::from_static("x-package-binary-tag");
/// Short, because a local package may be replaced by different bytes of the same version.
const CACHE_FILE: HeaderValue = HeaderValue::from_static("max-age=3600");
/// For a file at an address that contains its digest (RFC 8246).
const CACHE_IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");
/// For an index that may still change; clients revalidate it by its `ETag` each time.
const CACHE_OPEN: HeaderValue = HeaderValue::from_static("no-cache");
/// For a closed snapshot, which never changes: one day, so that proxies drop snapshots that are withdrawn.
const CACHE_CLOSED: HeaderValue = HeaderValue::from_static("max-age=86400");
const CACHE_NEVER: HeaderValue = HeaderValue::from_static("no-cache, no-store, must-revalidate");

/// Maximum length of `X-PM-Reason` in bytes: proxies limit the headers of a response to a few kB.
const MAX_REASON: usize = 900;
/// Maximum length of the reason in a status line, in bytes.
const MAX_PHRASE: usize = 200;
const ENCODED_IN_REASONS: &AsciiSet = &CONTROLS.add(b'%');
/// Enough for all headers of one response, so that the map is allocated once.
const HEADER_CAPACITY: usize = 20;

/// Returns a header value from text made of digests, dates and plain names; empty if it is not valid.
pub(in crate::http) fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns the value of `X-PM-Reason` for any text. Other characters than ASCII, control characters and `%` are
/// percent-encoded as UTF-8, because clients do not agree on the encoding of headers (RFC 9110, section 5.5).
pub(in crate::http) fn reason_value(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        let length = encoded.len();
        encoded.extend(utf8_percent_encode(character.encode_utf8(&mut buffer), ENCODED_IN_REASONS));
        if encoded.len() > MAX_REASON {
            encoded.truncate(length);
            break;
        }
    }
    header_value(encoded)
}

/// Returns the reason phrase of the status line (RFC 9112, section 4) with the first [`MAX_PHRASE`] bytes of
/// `X-PM-Reason`: pip, uv and twine print it instead of headers and body. HTTP/2 has none.
fn reason_phrase(status: StatusCode, reason: &HeaderValue) -> Option<ReasonPhrase> {
    let name = status.canonical_reason()?;
    let reason = reason.to_str().ok()?;
    let end = reason.floor_char_boundary(MAX_PHRASE);
    ReasonPhrase::try_from(format!("{name}: {}", &reason[..end])).ok()
}

pub(in crate::http) fn last_modified(seconds: Option<i64>) -> Option<HeaderValue> {
    seconds.and_then(conditional::http_date).map(header_value)
}

fn new_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(HEADER_CAPACITY);
    response
}

/// The headers that the 200, 206 and 304 responses of a resource share.
#[derive(Clone, Debug)]
pub struct Representation {
    /// `None` while no digest of the bytes is known.
    pub etag: Option<HeaderValue>,
    /// The `ETag` sent before the current one was known, for the same bytes.
    pub previous_etag: Option<HeaderValue>,
    pub modified: Option<HeaderValue>,
    pub vary: Vary,
    pub kind: RepresentationKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vary {
    Nothing,
    UserAgent,
    /// `Accept` and `Accept-Encoding`.
    AcceptAndEncoding,
    AcceptEncoding,
}

#[derive(Clone, Debug)]
pub enum RepresentationKind {
    Document {
        media_type: HeaderValue,
        /// Whether the document at this address may still change.
        open: bool,
        /// Whether ranges are served: not for compressed forms, whose bytes may differ for the same content.
        accept_ranges: bool,
        /// Whether the bytes are the document compressed for the transfer: `Content-Encoding: gzip`.
        encoded: bool,
        /// `X-PyPI-Last-Serial`, of documents of Python repositories that may still change.
        last_serial: Option<HeaderValue>,
    },
    Package(PackageHeaders),
}

#[derive(Clone, Debug)]
pub struct PackageHeaders {
    pub media_type: HeaderValue,
    /// `X-Package-Type`, of R packages.
    pub package_type: Option<HeaderValue>,
    pub disposition: HeaderValue,
    /// `X-Package-Binary-Tag`: the platform of a binary; `None` for a source package.
    pub binary_tag: Option<HeaderValue>,
    /// `Content-Location`: the permanent address of these bytes, relative to the address of the request.
    pub permanent_address: Option<HeaderValue>,
    /// Whether the address contains the digest of the bytes.
    pub immutable: bool,
    /// `X-PM-Reason`: the rule that warns about the package. Boxed, because most packages have none.
    pub warning: Option<Box<HeaderValue>>,
}

impl Representation {
    /// Returns the validators for the conditions of a request; `modified` in seconds since the epoch.
    pub fn validators(&self, modified: Option<i64>) -> Validators<'_> {
        Validators {
            etag: self.etag.as_ref().map(HeaderValue::as_bytes),
            previous_etag: self.previous_etag.as_ref().map(HeaderValue::as_bytes),
            modified,
        }
    }

    fn set_cache_headers(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if let Some(etag) = &self.etag {
            headers.insert(header::ETAG, etag.clone());
        }
        if let Some(modified) = &self.modified {
            headers.insert(header::LAST_MODIFIED, modified.clone());
        }
        let cache = match &self.kind {
            RepresentationKind::Package(PackageHeaders { immutable: true, .. }) => CACHE_IMMUTABLE,
            RepresentationKind::Package(_) => CACHE_FILE,
            RepresentationKind::Document { open: true, .. } => CACHE_OPEN,
            RepresentationKind::Document { open: false, .. } => CACHE_CLOSED,
        };
        headers.insert(header::CACHE_CONTROL, cache);
        if let RepresentationKind::Document { last_serial: Some(serial), .. } = &self.kind {
            headers.insert(X_PYPI_LAST_SERIAL, serial.clone());
        }
        if let RepresentationKind::Package(PackageHeaders { permanent_address: Some(address), .. }) =
            &self.kind
        {
            headers.insert(header::CONTENT_LOCATION, address.clone());
        }
        if let RepresentationKind::Package(PackageHeaders { warning: Some(warning), .. }) = &self.kind {
            headers.insert(X_PM_REASON, HeaderValue::clone(warning));
        }
        // RFC 9110, 12.5.5: without `Vary`, a shared cache would serve one client's binary to another.
        match self.vary {
            Vary::Nothing => {}
            Vary::UserAgent => drop(headers.insert(header::VARY, HeaderValue::from_static("User-Agent"))),
            Vary::AcceptAndEncoding => {
                headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
            }
            Vary::AcceptEncoding => {
                headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            }
        }
    }

    fn set_content_headers(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        let ranges = match &self.kind {
            RepresentationKind::Document { media_type: media, accept_ranges: ranges, encoded, .. } => {
                headers.insert(header::CONTENT_TYPE, media.clone());
                if *encoded {
                    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                *ranges
            }
            RepresentationKind::Package(package) => {
                headers.insert(header::CONTENT_TYPE, package.media_type.clone());
                headers.insert(header::CONTENT_DISPOSITION, package.disposition.clone());
                if let Some(kind) = &package.package_type {
                    headers.insert(X_PACKAGE_TYPE, kind.clone());
                }
                if let Some(tag) = &package.binary_tag {
                    headers.insert(X_PACKAGE_BINARY_TAG, tag.clone());
                }
                true
            }
        };
        let ranges = if ranges { "bytes" } else { "none" };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static(ranges));
    }
}

pub fn not_modified(representation: &Representation) -> Response<Body> {
    let mut response = new_response(StatusCode::NOT_MODIFIED, Body::empty());
    representation.set_cache_headers(&mut response);
    response
}

/// Returns a 200 response with the whole content; `size` in bytes, if known. For HEAD, `body` is empty.
pub fn whole(representation: &Representation, size: Option<u64>, body: Body) -> Response<Body> {
    let mut response = new_response(StatusCode::OK, body);
    representation.set_cache_headers(&mut response);
    representation.set_content_headers(&mut response);
    if let Some(size) = size {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

/// Returns a 206 response with the bytes of `range`; `size` is that of the whole content, in bytes.
pub fn part(
    representation: &Representation,
    range: &std::ops::Range<u64>,
    size: u64,
    body: Body,
) -> Response<Body> {
    let mut response = new_response(StatusCode::PARTIAL_CONTENT, body);
    representation.set_cache_headers(&mut response);
    representation.set_content_headers(&mut response);
    let headers = response.headers_mut();
    let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).expect("digits"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    response
}

/// Returns a 416 response for a resource of `size` bytes.
pub fn unsatisfiable(representation: &Representation, size: u64) -> Response<Body> {
    let mut response = new_response(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
    representation.set_cache_headers(&mut response);
    let text = format!("bytes */{size}");
    response.headers_mut().insert(header::CONTENT_RANGE, HeaderValue::try_from(text).expect("digits"));
    response
}

pub fn precondition_failed(representation: &Representation) -> Response<Body> {
    let mut response = new_response(StatusCode::PRECONDITION_FAILED, Body::empty());
    representation.set_cache_headers(&mut response);
    response
}

pub(in crate::http) fn check_preconditions(
    representation: &Representation,
    modified: Option<i64>,
    parts: &Parts,
) -> Option<Response<Body>> {
    match conditional::precondition(&parts.headers, representation.validators(modified)) {
        Precondition::Proceed => None,
        Precondition::NotModified => Some(not_modified(representation)),
        Precondition::Failed => Some(precondition_failed(representation)),
    }
}

pub fn json<T: serde::Serialize + ?Sized>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(status, bytes.into()),
        Err(error) => {
            tracing::error!("could not serialize an API response as JSON: {error}");
            json_bytes(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"{}"))
        }
    }
}

/// Returns a response with a JSON text, never cached.
pub fn json_bytes(status: StatusCode, bytes: Bytes) -> Response<Body> {
    let size = bytes.len();
    let mut response = new_response(status, Body::full(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CACHE_CONTROL, CACHE_NEVER);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    response
}

/// Returns a response of JSON lines (`application/x-ndjson`), complete or streamed: a job's progress, a long list.
pub fn json_lines(body: Body) -> Response<Body> {
    let mut response = new_response(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, CACHE_NEVER);
    response
}

/// Returns a response with a file that a client saves as `name`, never cached. `name` consists of letters and dots.
pub fn attachment(name: &str, size: u64, body: Body) -> Response<Body> {
    let mut response = new_response(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_DISPOSITION, header_value(format!("attachment; filename=\"{name}\"")));
    headers.insert(header::CACHE_CONTROL, CACHE_NEVER);
    response
}

/// Returns a text response of a media type, never cached.
pub fn text(media: &'static str, text: Vec<u8>) -> Response<Body> {
    let size = text.len();
    let mut response = new_response(StatusCode::OK, Body::full(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CACHE_CONTROL, CACHE_NEVER);
    response
}

pub fn redirect(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = new_response(status, Body::empty());
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// The format of an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// One line of text, for repository paths.
    Text,
    /// Like `Text`; the status line has its beginning too, because twine prints nothing else of a refused upload.
    TextAndPhrase,
    /// `{"code","error","payload"}`, for `/__api__`.
    Json,
}

impl ErrorFormat {
    pub fn of_path(path: &str) -> ErrorFormat {
        match path {
            path if path.starts_with("/__api__/") => ErrorFormat::Json,
            path if path.starts_with("/upload/") => ErrorFormat::TextAndPhrase,
            _ => ErrorFormat::Text,
        }
    }
}

/// Sets `WWW-Authenticate`: both schemes for a 401 (RFC 9110, 15.5.2), the missing scope for a 403 (RFC 6750, 3.1).
fn set_challenge(response: &mut Response<Body>, status: StatusCode, challenge: &str) {
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        // Names of repositories contain no quotes.
        let basic = format!("Basic realm=\"{challenge}\", charset=\"UTF-8\"");
        headers.append(header::WWW_AUTHENTICATE, header_value(basic));
        headers.append(header::WWW_AUTHENTICATE, header_value(format!("Bearer realm=\"{challenge}\"")));
    } else {
        let bearer = format!("Bearer error=\"insufficient_scope\", scope=\"{challenge}\"");
        headers.insert(header::WWW_AUTHENTICATE, header_value(bearer));
    }
    restrict_to_client(response);
}

/// Marks a response for clients with a token: shared caches neither store nor reuse it (RFC 9111, 3.5 and 4.1).
pub(in crate::http) fn restrict_to_client(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let directives =
        headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or("no-cache");
    // `must-revalidate` would permit shared caches to store the response.
    let others = directives.split(',').map(str::trim).filter(|directive| {
        !["must-revalidate", "public", "private"].contains(directive) && !directive.starts_with("s-maxage")
    });
    let text = std::iter::once("private").chain(others).collect::<Vec<_>>().join(", ");
    headers.insert(header::CACHE_CONTROL, header_value(text));
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
}

pub fn failure(failure: &Failure, format: ErrorFormat) -> Response<Body> {
    let mut response = match format {
        ErrorFormat::Json => {
            let error = api::error::Error::new(failure.code, failure.phrase.clone());
            json(
                failure.status,
                &api::error::Error { payload: failure.payload.as_deref().map(Payload::to_json), ..error },
            )
        }
        ErrorFormat::Text | ErrorFormat::TextAndPhrase => {
            let mut text = failure.phrase.clone();
            text.push('\n');
            let size = text.len();
            let mut response = new_response(failure.status, Body::full(text));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
            headers.insert(header::CACHE_CONTROL, CACHE_OPEN);
            response
        }
    };
    let block_reason = failure.block_reason();
    let phrase = block_reason.or((format == ErrorFormat::TextAndPhrase).then_some(&*failure.phrase));
    if let Some(phrase) = phrase.and_then(|text| reason_phrase(failure.status, &reason_value(text))) {
        response.extensions_mut().insert(phrase);
    }
    if let Some(reason) = block_reason {
        response.headers_mut().insert(X_PM_REASON, reason_value(reason));
    }
    if let Some(seconds) = failure.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(challenge) = &failure.challenge {
        set_challenge(&mut response, failure.status, challenge);
    }
    if let Some(methods) = &failure.allow {
        response.headers_mut().insert(header::ALLOW, header_value(methods.to_string()));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_ascii_and_can_be_decoded() {
        for text in [
            "rule 7 (no network access; RSEC-2023-1, severity 9.8)",
            "a\u{e9}\u{4e2d}\u{1f4e6}",
            "100% \r\nSet-Cookie: x",
        ] {
            let value = reason_value(text);
            let value = value.to_str().expect("visible ASCII");
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
            assert_eq!(decoded.as_deref(), Ok(text), "{value}");
        }
        assert_eq!(reason_value("rule 1 (caf\u{e9}, 5%)"), "rule 1 (caf%C3%A9, 5%25)");
        let long = reason_value(&"\u{4e2d}".repeat(400));
        assert_eq!((long.len(), &long.as_bytes()[..9]), (900, &b"%E4%B8%AD"[..]));
        let cut = reason_value(&format!("a{}", "\u{4e2d}".repeat(400)));
        assert_eq!(cut.len(), 892, "the last character is whole");
    }

    #[test]
    fn the_status_line_has_the_beginning_of_the_reason() {
        let phrase = |reason: &str| {
            let phrase = reason_phrase(StatusCode::FORBIDDEN, &reason_value(reason)).expect("a phrase");
            String::from_utf8(phrase.as_bytes().to_vec()).expect("ASCII")
        };
        assert_eq!(phrase("rule 7 (caf\u{e9}\r\n)"), "Forbidden: rule 7 (caf%C3%A9%0D%0A)");
        assert_eq!(phrase(&"a".repeat(300)).len(), "Forbidden: ".len() + MAX_PHRASE);
    }
}
