//! The body of an HTTP/1 or HTTP/2 request, and the budget for its bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use hyper::body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::budget::{Reading, Share};

/// An unread request body.
pub struct Incoming {
    wire: Wire,
    /// `None` on the admin socket, whose clients have no limit.
    reading: Option<Reading>,
}

enum Wire {
    Http1(hyper::body::Incoming),
    Http2 {
        stream: RecvStream,
        /// `Content-Length`; h2 resets a stream that sends another number of bytes.
        declared: Option<u64>,
    },
}

impl Incoming {
    /// The body of an HTTP/1 request.
    pub(super) fn http1(body: hyper::body::Incoming, reading: Option<Reading>) -> Incoming {
        Incoming { wire: Wire::Http1(body), reading }
    }

    /// The body of an HTTP/2 request with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap, reading: Option<Reading>) -> Incoming {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Incoming { wire: Wire::Http2 { stream, declared }, reading }
    }

    /// An empty share of the budget for the bytes of this body.
    pub(super) fn share(&self) -> Option<Share> {
        self.reading.as_ref().map(Reading::share)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.wire {
            Wire::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(BodyError::from)))
            }
            // Trailers are not read: no request uses them.
            Wire::Http2 { stream, .. } => Poll::Ready(match ready!(stream.poll_data(context)) {
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
        match &self.wire {
            Wire::Http1(body) => body.is_end_stream(),
            Wire::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.wire {
            Wire::Http1(body) => body.size_hint(),
            Wire::Http2 { declared, .. } => declared.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
