//! Reads files over HTTP: conditional and resumable requests, and the meaning of each failure.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::client::{self, HttpClient, Limits};
use super::file::{FileRequest, FileResponse, FileStream, Validators, segments};
use super::retry;
use crate::UpstreamError;
use base::metrics;
use base::model::errors::error_chain;

/// Encoded characters of a path segment: all but unreserved ones (RFC 3986) and `+`, which mirrors take literally.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// Size in bytes from which on the buffer of a file without a declared size has that of the limit.
const LARGE_FILE: usize = 1 << 20;

/// Access to the files below an `http` or `https` address.
pub(super) struct HttpTransport {
    /// The address without a trailing slash; it may contain userinfo, so it is never printed.
    base: String,
    /// The address without userinfo, for messages.
    display_url: String,
    host: String,
    http: Arc<HttpClient>,
    identity: Option<ClientIdentity>,
}

/// The client identity of requests to a server whose responses depend on it.
#[derive(Clone, Debug)]
pub(crate) struct ClientIdentity {
    /// `User-Agent`.
    pub(crate) agent: String,
    /// The query after the `?`, encoded.
    pub(crate) query: String,
}

/// The URL of a request, and its form for messages.
pub(super) struct RequestUrl {
    pub(super) url: String,
    pub(super) display_url: String,
}

impl HttpTransport {
    pub(super) fn new(url: Url, http: Arc<HttpClient>) -> HttpTransport {
        let mut display_url = url.clone();
        // Removing user and password does not fail for http and https.
        let _ = (display_url.set_username(""), display_url.set_password(None));
        let host = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let without_slash = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        HttpTransport {
            base: without_slash(&url),
            display_url: without_slash(&display_url),
            host,
            http,
            identity: None,
        }
    }

    /// Returns the same address with another client identity.
    pub(super) fn with_identity(&self, identity: ClientIdentity) -> HttpTransport {
        let (base, display_url, host) = (self.base.clone(), self.display_url.clone(), self.host.clone());
        HttpTransport { base, display_url, host, http: self.http.clone(), identity: Some(identity) }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn display_url(&self) -> &str {
        &self.display_url
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.http.limits
    }

    pub(super) fn client(&self) -> Result<reqwest::Client, UpstreamError> {
        self.http.client()
    }

    /// Returns the target of a path; the address itself for an empty one.
    pub(super) fn target(&self, path: &str) -> Result<RequestUrl, UpstreamError> {
        let mut target = RequestUrl { url: self.base.clone(), display_url: self.display_url.clone() };
        let segments = if path.is_empty() { Vec::new() } else { segments(path)? };
        for segment in segments {
            for text in [&mut target.url, &mut target.display_url] {
                text.push('/');
                text.extend(utf8_percent_encode(segment, ENCODED));
            }
        }
        if let Some(ClientIdentity { query, .. }) = &self.identity {
            for text in [&mut target.url, &mut target.display_url] {
                text.push('?');
                text.push_str(query);
            }
        }
        Ok(target)
    }

    pub(super) async fn fetch(&self, file_request: &FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        let target = self.target(file_request.path)?;
        let activity = retry::LastActivity::new();
        let work = || self.fetch_once(&target, file_request, &activity);
        retry::with_retries(&self.http.limits, &target.display_url, &activity, work).await
    }

    async fn fetch_once(
        &self,
        target: &RequestUrl,
        file_request: &FileRequest<'_>,
        activity: &retry::LastActivity,
    ) -> Result<FileResponse, UpstreamError> {
        let mut request = self.get(target)?;
        if let Some(known_validators) = &file_request.validators {
            request = conditional(request, known_validators);
        }
        let response = target.send(request).await?;
        activity.record();
        if response.status() == StatusCode::NOT_MODIFIED && file_request.validators.is_some() {
            return Ok(FileResponse::Unchanged);
        }
        let response = target.accept(response)?;
        let validators = validators(response.headers());
        let limit = usize::try_from(file_request.limit).unwrap_or(usize::MAX);
        // A large buffer is reserved once, and uses memory as it is filled: one that grows is in memory twice when it is copied.
        let declared_size = response.content_length().and_then(|size| usize::try_from(size).ok());
        let mut bytes = BytesMut::with_capacity(declared_size.unwrap_or_default().min(limit));
        let append = |chunk: &Bytes| {
            activity.record();
            let size = bytes.len() + chunk.len();
            if size > LARGE_FILE && size > bytes.capacity() {
                bytes.reserve(limit - bytes.len());
            }
            bytes.extend_from_slice(chunk);
        };
        target.read_body(response, file_request.limit, append).await?;
        Ok(FileResponse::Body { bytes: bytes.freeze(), validators })
    }

    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        let target = self.target(path)?;
        if let Some((offset, known_validators)) = resume.filter(|(offset, _)| *offset > 0)
            && let Some(file_stream) = self.resume(&target, offset, &known_validators).await?
        {
            return Ok(file_stream);
        }
        let response = target.send(self.get(&target)?).await?;
        target.stream(response)
    }

    /// Requests the rest of a file from `offset`, or the whole of it if the mirror considers it changed;
    /// `None` if the response cannot be used and the whole file has to be requested.
    async fn resume(
        &self,
        target: &RequestUrl,
        offset: u64,
        known_validators: &Validators,
    ) -> Result<Option<FileStream>, UpstreamError> {
        // RFC 9110, 13.1.5: only a strong validator may join two parts of one file.
        let strong_etag = known_validators.etag.as_ref().filter(|etag| !etag.starts_with("W/"));
        let Some(condition) = strong_etag.or(known_validators.modified.as_ref()) else {
            return Ok(None);
        };
        let request = self
            .get(target)?
            .header(header::RANGE, format!("bytes={offset}-"))
            .header(header::IF_RANGE, condition);
        let response = target.send(request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let Some(size) = file_size_of_rest(response.headers(), offset) else {
                    return Ok(None);
                };
                let validators = validators(response.headers());
                if known_validators.etag.is_some()
                    && validators.etag.is_some()
                    && known_validators.etag != validators.etag
                {
                    return Ok(None);
                }
                let body = target.body(response);
                Ok(Some(FileStream { size: Some(size), offset, validators, body }))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            _ => target.stream(response).map(Some),
        }
    }

    /// Requests a part of a file; returns the whole of it if the mirror ignores `Range`.
    pub(super) async fn range(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<FileStream, UpstreamError> {
        let target = self.target(path)?;
        let last_byte = offset.saturating_add(length).saturating_sub(1);
        let request = self.get(&target)?.header(header::RANGE, format!("bytes={offset}-{last_byte}"));
        let response = target.send(request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let size = file_size_of_part(response.headers(), offset).ok_or_else(|| {
                    target.refusal("the mirror sent a part of the file that was not requested".to_owned())
                })?;
                let validators = validators(response.headers());
                Ok(FileStream { size: Some(size), offset, validators, body: target.body(response) })
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(target.refusal(format!("ends before byte {offset}, at which the requested part begins")))
            }
            _ => target.stream(response),
        }
    }

    /// Sends a HEAD request. No retry.
    pub(super) async fn request_headers(&self, path: &str) -> Result<HeaderMap, UpstreamError> {
        let target = self.target(path)?;
        let response = target.send(self.with_headers(self.http.client()?.head(&target.url))).await?;
        Ok(target.accept(response)?.headers().clone())
    }

    fn get(&self, target: &RequestUrl) -> Result<RequestBuilder, UpstreamError> {
        Ok(self.with_headers(self.http.client()?.get(&target.url)))
    }

    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        // Bytes as stored: a server that compresses on the fly would break checksums and ranges.
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        match &self.identity {
            None => request,
            Some(ClientIdentity { agent, .. }) => request.header(header::USER_AGENT, agent),
        }
    }
}

impl RequestUrl {
    /// Passes the pieces of a body of at most `limit` bytes to `consume`.
    pub(super) async fn read_body(
        &self,
        response: Response,
        limit: u64,
        mut consume: impl FnMut(&Bytes),
    ) -> Result<(), UpstreamError> {
        let size_error = || self.refusal(format!("exceeds the limit of {limit} bytes"));
        if response.content_length().is_some_and(|size| size > limit) {
            return Err(size_error());
        }
        let (mut size, mut body) = (0, response.bytes_stream());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.request_error(error))?;
            metrics::upstream_bytes_read(chunk.len());
            size += chunk.len() as u64;
            if size > limit {
                return Err(size_error());
            }
            consume(&chunk);
        }
        Ok(())
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, UpstreamError> {
        let (response, is_redirected) = client::send(request).await;
        metrics::upstream_request_ended(response.as_ref().ok().map(|response| response.status().as_u16()));
        response.map_err(|e| {
            // A redirected request may have failed at another server.
            let has_no_connection = e.is_connect() && !is_redirected;
            let mut error = self.request_error(e);
            if let UpstreamError::Unavailable { is_of_mirror, .. } = &mut error {
                *is_of_mirror |= has_no_connection;
            }
            error
        })
    }

    /// Returns the whole file from a response to a request without `Range`.
    fn stream(&self, response: Response) -> Result<FileStream, UpstreamError> {
        let response = self.accept(response)?;
        let (size, validators) = (response.content_length(), validators(response.headers()));
        Ok(FileStream { size, offset: 0, validators, body: self.body(response) })
    }

    fn body(
        &self,
        response: Response,
    ) -> futures_util::stream::BoxStream<'static, Result<Bytes, UpstreamError>> {
        let target = RequestUrl { url: String::new(), display_url: self.display_url.clone() };
        let count = |chunk: &Bytes| metrics::upstream_bytes_read(chunk.len());
        response.bytes_stream().inspect_ok(count).map_err(move |e| target.request_error(e)).boxed()
    }

    /// Returns a response with status 200; converts any other into an error.
    pub(super) fn accept(&self, response: Response) -> Result<Response, UpstreamError> {
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(UpstreamError::Missing(self.display_url.clone())),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(self.unavailable(status, retry_after))
            }
            _ if status.is_server_error() => Err(self.unavailable(status, retry_after)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.refusal(format!("the mirror answered {status}: access denied")))
            }
            _ => Err(self.refusal(format!("the mirror answered {status}"))),
        }
    }

    fn unavailable(&self, status: StatusCode, retry_after: Option<&str>) -> UpstreamError {
        UpstreamError::Unavailable {
            url: self.display_url.clone(),
            reason: format!("the mirror answered {status}"),
            retry_after: retry_after.and_then(|text| retry::retry_after(text, SystemTime::now())),
            is_of_mirror: false,
        }
    }

    pub(super) fn refusal(&self, reason: String) -> UpstreamError {
        UpstreamError::Refused { url: self.display_url.clone(), reason }
    }

    /// Converts an error of reqwest. SECURITY: its text contains the URL with userinfo, so the URL is removed.
    pub(super) fn request_error(&self, error: reqwest::Error) -> UpstreamError {
        let error = error.without_url();
        let reason = error_chain(&error);
        if is_certificate_error(&error) {
            return self.refusal(format!(
                "{reason}; if the mirror's certificate is signed by a private authority, add the authority to \
                 those of the system (update-ca-certificates)"
            ));
        }
        if error.is_redirect() || error.is_builder() {
            return self.refusal(reason);
        }
        let reason = if error.is_timeout() { format!("timed out ({reason})") } else { reason };
        UpstreamError::Unavailable {
            url: self.display_url.clone(),
            reason,
            retry_after: None,
            is_of_mirror: false,
        }
    }
}

fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(cause) = source {
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Adds validators to a request, so that the response is 304 if they are current.
pub(super) fn conditional(request: RequestBuilder, validators: &Validators) -> RequestBuilder {
    let Validators { etag, modified } = validators;
    let request = match etag {
        Some(etag) => request.header(header::IF_NONE_MATCH, etag),
        None => request,
    };
    match modified {
        Some(modified) => request.header(header::IF_MODIFIED_SINCE, modified),
        None => request,
    }
}

pub(super) fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Validators { etag: text(header::ETAG), modified: text(header::LAST_MODIFIED) }
}

/// Returns the size of the whole file if `Content-Range` covers all of it from `offset` on.
fn file_size_of_rest(headers: &HeaderMap, offset: u64) -> Option<u64> {
    let (first, last, size) = content_range(headers)?;
    (first == offset && last.checked_add(1) == Some(size) && first <= last).then_some(size)
}

/// Returns the size of the whole file if `Content-Range` covers a part of it from `offset` on.
fn file_size_of_part(headers: &HeaderMap, offset: u64) -> Option<u64> {
    let (first, last, size) = content_range(headers)?;
    (first == offset && first <= last && last < size).then_some(size)
}

fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_at_the_requested_offset() {
        let part = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, header::HeaderValue::from_static(value));
            file_size_of_part(&headers, 100)
        };
        assert_eq!((part("bytes 100-149/200"), part("bytes 100-199/200")), (Some(200), Some(200)));
        for bad in
            ["bytes 0-149/200", "bytes 100-200/200", "bytes 100-99/200", "bytes 100-149/*", "bytes */200"]
        {
            assert_eq!(part(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_rest_of_the_file_is_a_resumption() {
        let rest = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, header::HeaderValue::from_static(value));
            file_size_of_rest(&headers, 100)
        };
        assert_eq!(rest("bytes 100-199/200"), Some(200));
        for bad in [
            "bytes 0-199/200",
            "bytes 100-198/200",
            "bytes 100-199/*",
            "bytes */200",
            "100-199/200",
            "bytes 100-18446744073709551615/0",
            "",
        ] {
            assert_eq!(rest(bad), None, "{bad}");
        }
        assert_eq!(file_size_of_rest(&HeaderMap::new(), 100), None);
    }
}
