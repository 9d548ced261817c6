//! Reading a request's body with an end: a size limit and a limit for each pause.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::error::Failure;

/// The body as a stream that fails with `FileTooLarge` beyond `limit` bytes and with `TimedOut` after a `pause`.
#[must_use]
pub fn stream(body: Incoming, limit: u64, pause: Duration) -> BoxStream<'static, Result<Bytes, Error>> {
    let pieces = futures_util::stream::unfold(Some((body, limit)), move |state| async move {
        let (mut body, left) = state?;
        loop {
            return match tokio::time::timeout(pause, body.frame()).await {
                Err(_) => Some((Err(Error::new(ErrorKind::TimedOut, "the request body stalled")), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(Error::other(error)), None)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    // Trailers.
                    Err(_) => continue,
                    Ok(data) => match left.checked_sub(data.len() as u64) {
                        Some(left) => Some((Ok(data), Some((body, left)))),
                        None => Some((Err(ErrorKind::FileTooLarge.into()), None)),
                    },
                },
            };
        }
    });
    pieces.boxed()
}

/// The whole body, at most `limit` bytes.
///
/// # Errors
/// 413 when it is larger (told by `Content-Length` before anything is read), 408 when it stalls, 400 when it breaks.
pub async fn read(body: Incoming, limit: usize, pause: Duration) -> Result<Bytes, Failure> {
    let most = limit as u64;
    if body.size_hint().lower() > most {
        return Err(Failure::body_too_large(most));
    }
    let mut pieces = stream(body, most, pause);
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        whole.extend_from_slice(&piece.map_err(|error| body_failure(&error, most))?);
    }
    Ok(whole.freeze())
}

/// What a client is told of an error of [`stream`].
#[must_use]
pub fn body_failure(error: &Error, limit: u64) -> Failure {
    match error.kind() {
        ErrorKind::FileTooLarge => Failure::body_too_large(limit),
        ErrorKind::TimedOut => Failure {
            status: http::StatusCode::REQUEST_TIMEOUT,
            ..Failure::bad_request("the request body stalled")
        },
        _ => Failure::bad_request("the request body could not be read to its end"),
    }
}
