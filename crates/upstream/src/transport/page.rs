//! Requests for pages: addresses that end in a slash, content negotiation, and the headers with a page's age.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use bytes::{Buf, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use url::Url;

use super::file::Validators;
use super::http::{self, HttpTransport, RequestUrl};
use super::retry;
use crate::UpstreamError;
use formats::language::RequestBody;

#[derive(Clone, Debug)]
pub struct PageRequest<'a> {
    /// Path relative to the address, without the slash at its end: `simple/requests`; empty for the address itself.
    pub path: &'a str,
    /// Sent by POST, to the address without that slash.
    pub body: Option<&'a RequestBody>,
    /// The media types that the client can read.
    pub accept: &'static str,
    /// Validators of the last response, for a conditional request.
    pub validators: Option<&'a Validators>,
    /// Maximum size of the response as sent, in bytes.
    pub limit: u64,
    pub retries: bool,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum PageResponse {
    /// The page has not changed: 304.
    Unchanged(PageAge),
    Page(Box<Page>),
}

/// Maximum number of times that a page is compressed: a proxy may compress again what its origin sends compressed.
const MAX_GZIP_LAYERS: usize = 2;

/// Maximum size of a page without its outer compression, in bytes: a few bytes can inflate to many.
const MAX_INNER_LAYER: u64 = 1 << 30;

/// Size of a part of a body in bytes.
const PART: usize = 1 << 20;

/// A body in parts that are freed as they are read: a list of projects and its names are not in memory together.
#[derive(Clone, Debug)]
struct Parts(VecDeque<Bytes>);

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(part) = self.0.front_mut() else { return Ok(0) };
        let size = part.len().min(buffer.len());
        part.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}

#[derive(Clone, Debug)]
pub struct Page {
    parts: Parts,
    /// How often the body is compressed with gzip.
    gzip_layers: usize,
    /// `Content-Type`, or that of the file's name.
    pub media_type: Option<String>,
    /// Validators for the next request.
    pub validators: Validators,
    /// The serial and the age that the headers state.
    pub age: PageAge,
    /// The address after redirects; the base of relative links.
    pub url: Url,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageAge {
    /// `X-PyPI-Last-Serial`.
    pub serial: Option<i64>,
    /// `Age`, in seconds: the time since a cache received the page.
    pub seconds: i64,
}

impl Page {
    pub(crate) fn of_file(bytes: Bytes, media_type: &str, etag: Option<String>, url: Url) -> Page {
        let media_type = Some(media_type.to_owned());
        let validators = Validators { etag, modified: None };
        let parts = Parts(VecDeque::from([bytes]));
        Page { parts, gzip_layers: 0, media_type, validators, age: PageAge::default(), url }
    }

    /// Returns a reader of the decoded body, which the caller has to limit. What was read is freed.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        let body: Box<dyn Read + Send> = Box::new(self.parts);
        (0..self.gzip_layers).fold(body, |body, _| Box::new(MultiGzDecoder::new(body.take(MAX_INNER_LAYER))))
    }

    pub fn decoded(&self, limit: u64) -> Result<Bytes, UpstreamError> {
        let refusal = |reason: String| UpstreamError::Refused { url: self.display_url(), reason };
        if let (0, 1, Some(part)) = (self.gzip_layers, self.parts.0.len(), self.parts.0.front())
            && part.len() as u64 <= limit
        {
            return Ok(part.clone());
        }
        let mut body = Vec::new();
        self.clone()
            .into_reader()
            .take(limit + 1)
            .read_to_end(&mut body)
            .map_err(|error| refusal(format!("could not decompress the page: {error}")))?;
        if body.len() as u64 > limit {
            return Err(refusal(format!("exceeds the limit of {limit} bytes")));
        }
        Ok(body.into())
    }

    /// Returns the address for messages. SECURITY: without user and password.
    pub fn display_url(&self) -> String {
        let mut url = self.url.clone();
        let _ = (url.set_username(""), url.set_password(None));
        url.into()
    }
}

pub(super) async fn page(
    http: &HttpTransport,
    request: &PageRequest<'_>,
) -> Result<PageResponse, UpstreamError> {
    let mut target = http.target(request.path)?;
    if request.body.is_none() {
        for text in [&mut target.url, &mut target.display_url] {
            text.push('/');
        }
    }
    if !request.retries {
        return page_in_time(http, &target, request).await;
    }
    let activity = retry::LastActivity::new();
    let work = || async {
        activity.record();
        page_in_time(http, &target, request).await
    };
    retry::with_retries(http.limits(), &target.display_url, &activity, work).await
}

async fn page_in_time(
    http: &HttpTransport,
    target: &RequestUrl,
    request: &PageRequest<'_>,
) -> Result<PageResponse, UpstreamError> {
    let work = page_once(http, target, request);
    tokio::time::timeout(request.timeout, work).await.unwrap_or_else(|_| {
        Err(UpstreamError::Unavailable {
            url: target.display_url.clone(),
            reason: format!("not read within {} s", request.timeout.as_secs_f32()),
            retry_after: None,
            is_of_mirror: false,
        })
    })
}

async fn page_once(
    http: &HttpTransport,
    target: &RequestUrl,
    request: &PageRequest<'_>,
) -> Result<PageResponse, UpstreamError> {
    let client = http.client()?;
    let mut builder = match request.body {
        None => client.get(&target.url),
        Some(RequestBody { media_type, bytes }) => {
            client.post(&target.url).header(header::CONTENT_TYPE, *media_type).body(bytes.clone())
        }
    };
    builder = builder.header(header::ACCEPT, request.accept).header(header::ACCEPT_ENCODING, "gzip");
    if let Some(known_validators) = request.validators {
        builder = http::conditional(builder, known_validators);
    }
    let response = target.send(builder).await?;
    let age = age(response.headers());
    if response.status() == StatusCode::NOT_MODIFIED && request.validators.is_some() {
        return Ok(PageResponse::Unchanged(age));
    }
    let response = target.accept(response)?;
    // A redirect has turned the request into another one, or has sent the body elsewhere.
    let is_asked =
        |asked: Url| (asked.origin(), asked.path()) == (response.url().origin(), response.url().path());
    if request.body.is_some() && !Url::parse(&target.display_url).is_ok_and(is_asked) {
        return Err(target.refusal("redirected a request with a body".to_owned()));
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let gzip_layers = gzip_layers(response.headers()).map_err(|reason| target.refusal(reason))?;
    let media_type = text(header::CONTENT_TYPE).map(str::to_owned);
    let validators = http::validators(response.headers());
    let mut url = response.url().clone();
    // SECURITY: links are resolved against this URL, and must not get user and password.
    let _ = (url.set_username(""), url.set_password(None));
    let length = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let (mut parts, mut last) = (VecDeque::new(), BytesMut::with_capacity(length.min(PART)));
    let append = |chunk: &Bytes| {
        if last.len() + chunk.len() > PART {
            parts.push_back(std::mem::replace(&mut last, BytesMut::with_capacity(PART)).freeze());
        }
        last.extend_from_slice(chunk);
    };
    target.read_body(response, request.limit, append).await?;
    parts.push_back(last.freeze());
    let page = Page { parts: Parts(parts), gzip_layers, media_type, validators, age, url };
    Ok(PageResponse::Page(Box::new(page)))
}

/// Returns how often a body is gzip-compressed, or why it cannot be decoded. Codings ignore case (RFC 9110, 8.4.1).
fn gzip_layers(headers: &HeaderMap) -> Result<usize, String> {
    let mut layers = 0;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let codings = value.to_str().unwrap_or("unknown").split(',').map(str::trim);
        for coding in codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        {
            if !["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip)) {
                let coding: String = coding.chars().take(40).collect();
                return Err(format!("has the content encoding '{coding}', but only gzip was requested"));
            }
            layers += 1;
        }
    }
    if layers > MAX_GZIP_LAYERS { Err("is compressed more than twice".to_owned()) } else { Ok(layers) }
}

fn age(headers: &HeaderMap) -> PageAge {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    PageAge {
        serial: number("x-pypi-last-serial"),
        // A proxy cannot state an age of years.
        seconds: number("age").unwrap_or(0).clamp(0, 366 * 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn page(bytes: Vec<u8>, gzip_layers: usize) -> Page {
        let url: Url = "http://me:secret@h/simple/".parse().expect("a URL");
        let page = Page::of_file(bytes.into(), "text/html", None, url);
        Page { gzip_layers, ..page }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn codings_are_read_in_any_case_and_number() {
        let layers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().expect("a value"));
            }
            gzip_layers(&headers)
        };
        for (values, expected) in [
            (&[][..], 0),
            (&[""], 0),
            (&["Identity"], 0),
            (&["GZip"], 1),
            (&["X-GZIP"], 1),
            (&["gzip, gzip"], 2),
            (&["gzip", "identity,GZIP"], 2),
        ] {
            assert_eq!(layers(values), Ok(expected), "{values:?}");
        }
        for values in [&["br"][..], &["gzip, deflate"], &["gzip", "zstd"], &["gzip,gzip,gzip"]] {
            assert!(layers(values).is_err(), "{values:?}");
        }
    }

    #[test]
    fn a_compressed_body_is_limited() {
        let bytes = gzip(&[b'x'; 100_000]);
        assert_eq!(page(bytes.clone(), 1).decoded(100_000).expect("small").len(), 100_000);
        assert_eq!(page(gzip(&bytes), 2).decoded(100_000).expect("small").len(), 100_000);
        let error = page(bytes, 1).decoded(99_999).expect_err("too large").to_string();
        assert!(error.contains("99999") && !error.contains("secret"), "{error}");
        assert!(page(b"no gzip".to_vec(), 1).decoded(10).is_err());
        assert_eq!(&*page(b"text".to_vec(), 0).decoded(4).expect("small"), b"text");
        let parts = ["", "te", "", "xt", ""].map(|part| Bytes::from_static(part.as_bytes()));
        let page = Page { parts: Parts(parts.into()), ..page(Vec::new(), 0) };
        assert_eq!(&*page.decoded(4).expect("small"), b"text");
        let mut text = Vec::new();
        page.into_reader().read_to_end(&mut text).expect("memory");
        assert_eq!(text, b"text");
    }

    #[test]
    fn headers_state_the_age() {
        let mut headers = HeaderMap::new();
        assert_eq!(age(&headers), PageAge::default());
        headers.insert("x-pypi-last-serial", header::HeaderValue::from_static("37"));
        headers.insert("age", header::HeaderValue::from_static("-5"));
        assert_eq!(age(&headers), PageAge { serial: Some(37), seconds: 0 });
    }
}
