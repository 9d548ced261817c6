//! The body of an HTTP/1 or HTTP/2 request, and the budget for its bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use http_body_util::BodyStream;
use hyper::body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::budget::{AddressBudget, Share};

/// Maximum time for reading the rest of the body of a refused request.
const DISCARD_TIME: Duration = Duration::from_secs(30);

/// An unread request body.
pub struct Incoming {
    body: HttpBody,
    /// `None` on the admin socket, whose clients have no limit.
    budget: Option<AddressBudget>,
}

enum HttpBody {
    Http1(hyper::body::Incoming),
    /// The body of a request that the server sends to itself.
    Memory(Bytes),
    Http2 {
        stream: RecvStream,
        /// `Content-Length`; h2 resets a stream that sends another number of bytes.
        content_length: Option<u64>,
    },
}

impl Incoming {
    /// Creates the body of an HTTP/1 request.
    pub(super) fn http1(body: hyper::body::Incoming, budget: Option<AddressBudget>) -> Incoming {
        Incoming { body: HttpBody::Http1(body), budget }
    }

    /// Creates the body of an HTTP/2 request with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap, budget: Option<AddressBudget>) -> Incoming {
        let content_length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Incoming { body: HttpBody::Http2 { stream, content_length }, budget }
    }

    /// Creates the body of a request that the server sends to itself, without a budget.
    pub(super) fn memory(bytes: Bytes) -> Incoming {
        Incoming { body: HttpBody::Memory(bytes), budget: None }
    }

    /// Returns an empty share of the budget for the bytes of this body.
    pub(super) fn share(&self) -> Option<Share> {
        self.budget.as_ref().map(AddressBudget::share)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.body {
            HttpBody::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(BodyError::from)))
            }
            HttpBody::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            // Trailers are not read: no request uses them.
            HttpBody::Http2 { stream, .. } => Poll::Ready(match ready!(stream.poll_data(context)) {
                None => None,
                Some(Err(error)) => Some(Err(error.into())),
                Some(Ok(bytes)) => {
                    // Opens the window for the next bytes; the reader of the body counts these.
                    let released = stream.flow_control().release_capacity(bytes.len());
                    Some(released.map(|()| Frame::data(bytes)).map_err(BodyError::from))
                }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            HttpBody::Http1(body) => body.is_end_stream(),
            HttpBody::Memory(bytes) => bytes.is_empty(),
            HttpBody::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            HttpBody::Http1(body) => body.size_hint(),
            HttpBody::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            HttpBody::Http2 { content_length, .. } => {
                content_length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// Reads the body of a refused request in the background and discards it. Most clients send the whole body before they
/// read the response, and lose the response if the connection is closed before (RFC 9112, 9.6).
pub(super) fn discard(body: Incoming, headers: &HeaderMap) {
    // A client that waits for a 100 response sends no body after a final response; a read would send the 100.
    if !body.is_end_stream() && !headers.contains_key(EXPECT) {
        discard_rest(BodyStream::new(body));
    }
}

/// Reads the rest of a body in the background, and discards it.
pub(super) fn discard_rest<S, T, E>(mut pieces: S)
where
    S: Stream<Item = Result<T, E>> + Send + Unpin + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move {
        while let Some(Ok(_)) = pieces.next().await {}
    }));
}
