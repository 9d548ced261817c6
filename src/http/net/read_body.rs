//! Reads request bodies with a size limit and a timeout.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::http::error::Failure;
use crate::http::net::request_body::Incoming;
use base::model::owned_bytes::bytes_with;

/// `Retry-After` in seconds when the budget of request bodies is used up.
const RETRY_AFTER: u64 = 5;

/// Returns the body as a stream that fails with `FileTooLarge` beyond `limit` bytes, and with `TimedOut` if
/// no bytes arrive for `timeout`. May be polled after its end.
pub fn stream(body: Incoming, limit: u64, timeout: Duration) -> BoxStream<'static, Result<Bytes, Error>> {
    let pieces = futures_util::stream::unfold(Some((body, limit)), move |state| async move {
        let (mut body, remaining) = state?;
        loop {
            return match tokio::time::timeout(timeout, body.frame()).await {
                Err(_) => Some((Err(Error::new(ErrorKind::TimedOut, "the request body stalled")), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(Error::other(error)), None)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    // Trailers.
                    Err(_) => continue,
                    Ok(data) => match remaining.checked_sub(data.len() as u64) {
                        Some(remaining) => Some((Ok(data), Some((body, remaining)))),
                        None => Some((Err(ErrorKind::FileTooLarge.into()), None)),
                    },
                },
            };
        }
    });
    pieces.fuse().boxed()
}

/// Reads the whole body. Fails with 413 beyond `limit` bytes (by `Content-Length` before anything is read),
/// 408 if it stalls, 400 if it fails, 503 if the budget of this client or of all clients is used up.
pub async fn read(body: Incoming, limit: usize, timeout: Duration) -> Result<Bytes, Failure> {
    let limit = limit as u64;
    if body.size_hint().lower() > limit {
        return Err(Failure::body_too_large(limit));
    }
    let mut share = body.share();
    let mut pieces = stream(body, limit, timeout);
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| body_failure(&error, limit))?;
        if share.as_mut().is_some_and(|share| !share.grow(piece.len())) {
            return Err(Failure::unavailable("too many request bodies are being read", RETRY_AFTER));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes_with(bytes, share))
}

/// Returns the failure for an error of [`stream`].
pub fn body_failure(error: &Error, limit: u64) -> Failure {
    match error.kind() {
        ErrorKind::FileTooLarge => Failure::body_too_large(limit),
        ErrorKind::TimedOut => Failure {
            status: http::StatusCode::REQUEST_TIMEOUT,
            ..Failure::bad_request("the request body stalled")
        },
        _ => Failure::bad_request("the request body is incomplete"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_may_be_polled_after_its_end_or_its_error() {
        for (limit, expected) in [(10, Ok("text")), (3, Err(ErrorKind::FileTooLarge))] {
            let body = Incoming::memory(Bytes::from_static(b"text"));
            let mut pieces = stream(body, limit, Duration::from_secs(10));
            let first = pieces.next().await.expect("a piece").map_err(|error| error.kind());
            assert_eq!(first, expected.map(|text| Bytes::from_static(text.as_bytes())));
            assert!(pieces.next().await.is_none() && pieces.next().await.is_none());
        }
    }
}
