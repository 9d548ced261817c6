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

use crate::http::net::body::BodyError;
use crate::http::net::budget::{AddressBudget, Share};

const DISCARD_TIME: Duration = Duration::from_secs(30);

/// An unread request body. If a handler drops it, its bytes are read and discarded in the background: most clients send
/// the whole body first, and lose the response if the connection is closed before (RFC 9112, 9.6).
pub struct Incoming {
    body: HttpBody,
    /// `None` on the admin socket, whose clients have no limit.
    budget: Option<AddressBudget>,
    on_drop: OnDrop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDrop {
    Discard,
    Leave,
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
    pub(crate) fn http1(
        body: hyper::body::Incoming,
        headers: &HeaderMap,
        budget: Option<AddressBudget>,
    ) -> Incoming {
        Incoming { body: HttpBody::Http1(body), budget, on_drop: OnDrop::of(headers) }
    }

    pub(crate) fn http2(stream: RecvStream, headers: &HeaderMap, budget: Option<AddressBudget>) -> Incoming {
        let content_length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Incoming { body: HttpBody::Http2 { stream, content_length }, budget, on_drop: OnDrop::of(headers) }
    }

    /// Creates the body of a request that the server sends to itself, without a budget.
    pub(crate) fn memory(bytes: Bytes) -> Incoming {
        Incoming { body: HttpBody::Memory(bytes), budget: None, on_drop: OnDrop::Leave }
    }

    /// Returns an empty share of the budget for the bytes of this body.
    pub(crate) fn share(&self) -> Option<Share> {
        self.budget.as_ref().map(AddressBudget::share)
    }
}

impl OnDrop {
    fn of(headers: &HeaderMap) -> OnDrop {
        // A client that waits for a 100 response sends no body after a final response; a read would send the 100.
        if headers.contains_key(EXPECT) { OnDrop::Leave } else { OnDrop::Discard }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Leave || self.is_end_stream() {
            return;
        }
        let body = std::mem::replace(&mut self.body, HttpBody::Memory(Bytes::new()));
        discard_rest(BodyStream::new(Incoming { body, budget: None, on_drop: OnDrop::Leave }));
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A reader decides itself whether it reads the rest.
        self.on_drop = OnDrop::Leave;
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

/// Reads the rest of a body in the background, and discards it; outside a runtime, does nothing.
pub(crate) fn discard_rest<S, T, E>(mut pieces: S)
where
    S: Stream<Item = Result<T, E>> + Send + Unpin + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let read = async { while let Some(Ok(_)) = pieces.next().await {} };
        // After this time the connection is closed.
        let _ = tokio::time::timeout(DISCARD_TIME, read).await;
    });
}
