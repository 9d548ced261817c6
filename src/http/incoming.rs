//! The body of a request, over either version of HTTP, and the budget it is read from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use hyper::body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::budget::{Reading, Share};

/// A request body that was not read yet.
pub struct Incoming {
    wire: Wire,
    /// `None` on the administration socket, whose clients are trusted.
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
    /// Of an HTTP/1 request.
    pub(super) fn http1(body: hyper::body::Incoming, reading: Option<Reading>) -> Incoming {
        Incoming { wire: Wire::Http1(body), reading }
    }

    /// Of an HTTP/2 request with these headers.
    pub(super) fn http2(stream: RecvStream, headers: &HeaderMap, reading: Option<Reading>) -> Incoming {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Incoming { wire: Wire::Http2 { stream, declared }, reading }
    }

    /// An empty share of the budget that the bytes of this body are taken from.
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
            // Trailers are not read: no request has a use for them.
            Wire::Http2 { stream, .. } => Poll::Ready(match ready!(stream.poll_data(context)) {
                None => None,
                Some(Err(error)) => Some(Err(error.into())),
                Some(Ok(bytes)) => {
                    // The next bytes may come: these are counted by whoever reads.
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
