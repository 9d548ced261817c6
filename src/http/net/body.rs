//! The body of a response: empty, bytes in memory, or a stream whose error aborts the connection.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::body::{Frame, SizeHint};

use crate::http::net::connections::RequestGuard;
use crate::http::net::drain::InProgress;
use crate::http::net::turns::Turns;

/// The error that ended a stream early. It drops the connection (HTTP/1) or resets the stream (HTTP/2), so
/// that no client mistakes a truncated body for a complete one.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

enum Content {
    Empty,
    Full(Bytes),
    Stream { stream: BoxStream<'static, Result<Bytes, BodyError>>, remaining: Option<u64>, turns: Turns },
}

pub struct Body {
    content: Content,
    sent_bytes: u64,
    /// Called with the number of bytes sent when the body ends.
    finish: Option<Box<dyn FnOnce(u64) + Send>>,
    /// Separate from `attachments`, which allocates, because every response has guards.
    guards: Option<(InProgress, RequestGuard)>,
    /// The app that made the response; separate for the same reason.
    owner: Option<Arc<dyn Any + Send + Sync>>,
    attachments: Option<Box<dyn Any + Send>>,
}

impl Body {
    fn new(content: Content) -> Body {
        Body { content, sent_bytes: 0, finish: None, guards: None, owner: None, attachments: None }
    }

    pub fn empty() -> Body {
        Body::new(Content::Empty)
    }

    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::new(if bytes.is_empty() { Content::Empty } else { Content::Full(bytes) })
    }

    /// Creates a streamed body; `size` in bytes, if known. A stream that yields more or fewer bytes than `size` fails.
    pub fn stream(stream: BoxStream<'static, Result<Bytes, BodyError>>, size: Option<u64>) -> Body {
        Body::new(Content::Stream { stream, remaining: size, turns: Turns::new(size) })
    }

    pub(crate) fn set_guards(&mut self, in_progress: InProgress, request: RequestGuard) {
        self.guards = Some((in_progress, request));
    }

    /// Keeps `owner` alive until the body is dropped, so that its shutdown can wait for its last response.
    pub fn set_owner(&mut self, owner: Arc<dyn Any + Send + Sync>) {
        self.owner = Some(owner);
    }

    pub fn attach(&mut self, value: impl Send + 'static) {
        self.attachments = match self.attachments.take() {
            None => Some(Box::new(value)),
            Some(previous) => Some(Box::new((previous, value))),
        };
    }

    /// Calls `finish` with the number of bytes sent when the body is dropped.
    pub fn on_finish(&mut self, finish: impl FnOnce(u64) + Send + 'static) {
        self.finish = Some(Box::new(finish));
    }

    pub(crate) fn map_bytes<E>(&mut self, change: impl FnOnce(Bytes) -> Result<Bytes, E>) -> Result<(), E> {
        if let Content::Full(bytes) = &mut self.content {
            *bytes = change(std::mem::take(bytes))?;
        }
        Ok(())
    }

    /// Returns the size in bytes of a body in memory; `None` for a stream, whose bytes [`Body::on_finish`] reports.
    pub fn known_size(&self) -> Option<u64> {
        match &self.content {
            Content::Empty => Some(0),
            Content::Full(bytes) => Some(bytes.len() as u64),
            Content::Stream { .. } => None,
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(finish) = self.finish.take() {
            finish(self.sent_bytes);
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut self.content {
            Content::Empty => None,
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::Stream { stream, remaining, turns } => {
                ready!(turns.poll(context));
                let next = ready!(stream.poll_next_unpin(context));
                turns.count(next.as_ref().and_then(|next| next.as_ref().ok()).map_or(0, Bytes::len));
                match (next, remaining) {
                    (Some(Ok(bytes)), Some(remaining)) => match remaining.checked_sub(bytes.len() as u64) {
                        Some(rest) => {
                            *remaining = rest;
                            Some(Ok(bytes))
                        }
                        None => Some(Err("the stream has more bytes than declared".into())),
                    },
                    (None, Some(1..)) => Some(Err("the stream ended early".into())),
                    (next, _) => next,
                }
            }
        };
        match next {
            None => {
                self.content = Content::Empty;
                Poll::Ready(None)
            }
            Some(Ok(bytes)) => {
                self.sent_bytes += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Err(error)) => {
                self.content = Content::Empty;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) => false,
            Content::Stream { remaining, .. } => *remaining == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { remaining: Some(remaining), .. } => SizeHint::with_exact(*remaining),
            Content::Stream { remaining: None, .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use hyper::body::Body as _;

    use super::*;
    use crate::http::net::turns::TURN_BYTES;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls a body whose stream is always ready to its end. Returns the size of each turn.
    fn turns(pieces: &[usize]) -> Vec<usize> {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let total: usize = pieces.iter().sum();
        let ready: Vec<_> = pieces.iter().map(|size| Ok(Bytes::from(vec![0; *size]))).collect();
        let mut body = Body::stream(futures_util::stream::iter(ready).boxed(), Some(total as u64));
        let mut turns = vec![0];
        loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(frame)) => {
                    let bytes = frame.expect("no error").into_data().expect("data");
                    *turns.last_mut().expect("one") += bytes.len();
                }
                Poll::Ready(None) => return turns,
                Poll::Pending => {
                    assert_eq!(wakes.0.load(Ordering::Relaxed), turns.len(), "it is polled again");
                    turns.push(0);
                }
            }
        }
    }

    #[test]
    fn a_stream_that_is_always_ready_gives_way_to_other_tasks() {
        let piece = TURN_BYTES;
        assert_eq!(turns(&[piece; 4]), [piece, piece, piece, piece, 0]);
        assert_eq!(turns(&[piece / 2; 5]), [piece, piece, piece / 2]);
        assert_eq!(turns(&[10; 5]), [50]);
    }
}
