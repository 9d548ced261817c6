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

use super::client::{HttpClient, Limits};
use super::file::{FileRequest, FileResponse, FileStream, Validators, segments};
use super::retry;
use crate::metrics;
use crate::upstream::error::UpstreamError;

/// Characters of a path segment that are not encoded (RFC 3986 unreserved, and `+`, which mirrors take literally).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// Access to the files below an `http` or `https` address.
pub(super) struct HttpTransport {
    /// The address without a trailing slash; may hold userinfo, so it is never printed.
    base: String,
    /// The same without userinfo, for messages.
    display_url: String,
    host: String,
    http: Arc<HttpClient>,
    identity: Option<ClientIdentity>,
}

/// The client identity of requests to a server whose responses depend on it.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct ClientIdentity {
    /// `User-Agent`.
    pub(in crate::upstream) agent: String,
    /// The query after the `?`, encoded.
    pub(in crate::upstream) query: String,
}

/// The URL of a request, and its form for messages.
struct Target {
    url: String,
    display_url: String,
}

impl HttpTransport {
    pub(super) fn new(url: Url, http: Arc<HttpClient>) -> HttpTransport {
        let mut display_url = url.clone();
        // Neither fails for http and https.
        let _ = (display_url.set_username(""), display_url.set_password(None));
        let host = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        HttpTransport { base: plain(&url), display_url: plain(&display_url), host, http, identity: None }
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

    fn target(&self, path: &str) -> Result<Target, UpstreamError> {
        let mut target = Target { url: self.base.clone(), display_url: self.display_url.clone() };
        for segment in segments(path)? {
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

    pub(super) async fn fetch(&self, fetch: &FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        let target = self.target(fetch.path)?;
        let activity = retry::LastActivity::new();
        let work = || self.fetch_once(&target, fetch, &activity);
        retry::with_retries(&self.http.limits, &target.display_url, &activity, work).await
    }

    async fn fetch_once(
        &self,
        target: &Target,
        fetch: &FileRequest<'_>,
        activity: &retry::LastActivity,
    ) -> Result<FileResponse, UpstreamError> {
        let mut request = self.get(target)?;
        if let Some(known) = &fetch.validators {
            if let Some(etag) = &known.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(modified) = &known.modified {
                request = request.header(header::IF_MODIFIED_SINCE, modified);
            }
        }
        let answer = target.send(request).await?;
        activity.touch();
        if answer.status() == StatusCode::NOT_MODIFIED && fetch.validators.is_some() {
            return Ok(FileResponse::Unchanged);
        }
        let answer = target.accept(answer)?;
        let too_large = || target.refused(format!("exceeds the limit of {} bytes", fetch.limit));
        let declared = answer.content_length();
        if declared.is_some_and(|size| size > fetch.limit) {
            return Err(too_large());
        }
        let validators = validators(answer.headers());
        // The declared length is not trusted with memory beyond a first part.
        let first = declared.unwrap_or_default().min(1 << 20);
        let mut bytes = BytesMut::with_capacity(usize::try_from(first).unwrap_or_default());
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|e| target.failed(e))?;
            metrics::upstream_bytes_read(chunk.len());
            activity.touch();
            if (bytes.len() + chunk.len()) as u64 > fetch.limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(FileResponse::Body { bytes: bytes.freeze(), validators })
    }

    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        let target = self.target(path)?;
        if let Some((offset, known)) = resume.filter(|(offset, _)| *offset > 0)
            && let Some(opened) = self.resume(&target, offset, &known).await?
        {
            return Ok(opened);
        }
        let answer = target.send(self.get(&target)?).await?;
        target.stream(answer)
    }

    /// Requests the rest of a file from `offset`, or the whole of it if the mirror considers it changed; `None` if the
    /// response cannot be used and the whole file has to be requested.
    async fn resume(
        &self,
        target: &Target,
        offset: u64,
        known: &Validators,
    ) -> Result<Option<FileStream>, UpstreamError> {
        // RFC 9110, 13.1.5: only a strong validator may join two parts of one file.
        let strong = known.etag.as_ref().filter(|etag| !etag.starts_with("W/"));
        let Some(condition) = strong.or(known.modified.as_ref()) else {
            return Ok(None);
        };
        let request = self
            .get(target)?
            .header(header::RANGE, format!("bytes={offset}-"))
            .header(header::IF_RANGE, condition);
        let answer = target.send(request).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let Some(size) = rest_of(answer.headers(), offset) else {
                    return Ok(None);
                };
                let validators = validators(answer.headers());
                if known.etag.is_some() && validators.etag.is_some() && known.etag != validators.etag {
                    return Ok(None);
                }
                let body = target.body(answer);
                Ok(Some(FileStream { size: Some(size), offset, validators, body }))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            _ => target.stream(answer).map(Some),
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
        let last = offset.saturating_add(length).saturating_sub(1);
        let request = self.get(&target)?.header(header::RANGE, format!("bytes={offset}-{last}"));
        let answer = target.send(request).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let size = part_of(answer.headers(), offset).ok_or_else(|| {
                    target.refused("the mirror sent a part of the file that was not requested".to_owned())
                })?;
                let validators = validators(answer.headers());
                Ok(FileStream { size: Some(size), offset, validators, body: target.body(answer) })
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(target.refused(format!("has no byte at {offset}, where more are expected")))
            }
            _ => target.stream(answer),
        }
    }

    /// Sends a HEAD request. No retry.
    pub(super) async fn head(&self, path: &str) -> Result<HeaderMap, UpstreamError> {
        let target = self.target(path)?;
        let answer = target.send(self.with_headers(self.http.client()?.head(&target.url))).await?;
        Ok(target.accept(answer)?.headers().clone())
    }

    fn get(&self, target: &Target) -> Result<RequestBuilder, UpstreamError> {
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

impl Target {
    async fn send(&self, request: RequestBuilder) -> Result<Response, UpstreamError> {
        let answer = request.send().await;
        metrics::upstream_request_ended(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        answer.map_err(|e| self.failed(e))
    }

    /// Returns the whole file from a response to a request without `Range`.
    fn stream(&self, answer: Response) -> Result<FileStream, UpstreamError> {
        let answer = self.accept(answer)?;
        let (size, validators) = (answer.content_length(), validators(answer.headers()));
        Ok(FileStream { size, offset: 0, validators, body: self.body(answer) })
    }

    fn body(
        &self,
        answer: Response,
    ) -> futures_util::stream::BoxStream<'static, Result<Bytes, UpstreamError>> {
        let target = Target { url: String::new(), display_url: self.display_url.clone() };
        let count = |piece: &Bytes| metrics::upstream_bytes_read(piece.len());
        answer.bytes_stream().inspect_ok(count).map_err(move |e| target.failed(e)).boxed()
    }

    fn accept(&self, answer: Response) -> Result<Response, UpstreamError> {
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let waits = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(UpstreamError::Missing(self.display_url.clone())),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(self.busy(status, waits)),
            _ if status.is_server_error() => Err(self.busy(status, waits)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.refused(format!("the mirror answered {status}: access denied")))
            }
            _ => Err(self.refused(format!("the mirror answered {status}"))),
        }
    }

    fn busy(&self, status: StatusCode, waits: Option<&str>) -> UpstreamError {
        UpstreamError::Unavailable {
            url: self.display_url.clone(),
            reason: format!("the mirror answered {status}"),
            retry_after: waits.and_then(|text| retry::retry_after(text, SystemTime::now())),
        }
    }

    fn refused(&self, reason: String) -> UpstreamError {
        UpstreamError::Refused { url: self.display_url.clone(), reason }
    }

    /// SECURITY: reqwest's own text begins with the whole URL including userinfo, so it is removed first.
    fn failed(&self, error: reqwest::Error) -> UpstreamError {
        let error = error.without_url();
        let reason = chain(&error);
        if certificate(&error) {
            return self.refused(format!(
                "{reason}; if the mirror's certificate is signed by a private authority, add that to the system's \
                 (update-ca-certificates)"
            ));
        }
        if error.is_redirect() || error.is_builder() {
            return self.refused(reason);
        }
        let reason = if error.is_timeout() { format!("timed out ({reason})") } else { reason };
        UpstreamError::Unavailable { url: self.display_url.clone(), reason, retry_after: None }
    }
}

/// Returns an error with its causes, each text once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// Returns whether the mirror's certificate was rejected.
fn certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Validators { etag: text(header::ETAG), modified: text(header::LAST_MODIFIED) }
}

/// Returns the size of the whole file if `Content-Range` covers all of it from `offset` on.
fn rest_of(headers: &HeaderMap, offset: u64) -> Option<u64> {
    let (first, last, size) = content_range(headers)?;
    (first == offset && last.checked_add(1) == Some(size) && first <= last).then_some(size)
}

/// Returns the size of the whole file if `Content-Range` covers a part of it from `offset` on.
fn part_of(headers: &HeaderMap, offset: u64) -> Option<u64> {
    let (first, last, size) = content_range(headers)?;
    (first == offset && first <= last && last < size).then_some(size)
}

/// Returns first byte, last byte and size.
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
            part_of(&headers, 100)
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
            rest_of(&headers, 100)
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
        assert_eq!(rest_of(&HeaderMap::new(), 100), None);
    }
}
