//! Sends a body on an HTTP/2 stream: the body is polled only while the flow-control window is open, for a limited time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::SendStream;
use hyper::body::Body as _;
use tokio::time::Instant;

use crate::http::net::body::{Body, BodyError};
use crate::http::net::limits::Limits;
use crate::http::net::send_budget::{SendBudget, SendReservation, UNIT_BYTES};

/// Maximum number of bytes passed to `h2` in one call.
const MAX_CHUNK: usize = 128 << 10;
/// Time for which a [`SendReservation`] is kept while the body is not ready.
const RESERVATION_TIMEOUT: Duration = Duration::from_millis(100);

/// Bytes passed to `h2`, with their [`SendReservation`]. They fit the windows of stream and connection, so they wait
/// for the socket alone, which has its own timeout ([`crate::http::net::write_timeout::WriteTimeout`]).
pub(crate) struct SendChunk {
    bytes: Bytes,
    _reservation: Option<SendReservation>,
}

impl Buf for SendChunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

pub(crate) enum SendError {
    /// The client reset the stream, or the connection ended.
    Disconnected,
    /// The client read too slowly.
    Stalled,
    Body(BodyError),
}

impl From<h2::Error> for SendError {
    fn from(_: h2::Error) -> SendError {
        SendError::Disconnected
    }
}

/// Sends a body, which is polled only when the window of the stream and the budget of the connection allow.
pub(crate) async fn send(
    stream: &mut SendStream<SendChunk>,
    body: &mut Body,
    timeout: &mut WindowTimeout,
    budget: &SendBudget,
) -> Result<(), SendError> {
    let known_size = body.known_size();
    // A small body needs no budget: it is in memory already, at most one per stream.
    let is_small = known_size.is_some_and(|size| size <= UNIT_BYTES as u64);
    loop {
        let mut reservation = None;
        let next = if known_size.is_some() {
            next_bytes(stream, body).await?
        } else {
            wait_for_window(stream, 1, timeout).await?;
            reservation = Some(timeout.wait(budget.reserve(UNIT_BYTES)).await?);
            match tokio::time::timeout(RESERVATION_TIMEOUT, next_bytes(stream, body)).await {
                Ok(next) => next?,
                // The body is slow, such as a fetch from upstream: other streams may send meanwhile.
                Err(_) => {
                    reservation = None;
                    next_bytes(stream, body).await?
                }
            }
        };
        let Some(mut bytes) = next else {
            stream.send_data(SendChunk { bytes: Bytes::new(), _reservation: None }, true)?;
            return Ok(());
        };
        let is_last = body.is_end_stream();
        while !bytes.is_empty() {
            let requested = bytes.len().min(MAX_CHUNK);
            stream.reserve_capacity(requested);
            if stream.capacity() == 0 {
                // A client that opens the window of this stream late must not block the other streams.
                reservation = None;
            }
            let mut count = wait_for_window(stream, requested, timeout).await?;
            if !is_small {
                if let Some(reservation) = &mut reservation {
                    reservation.grow(count);
                } else {
                    reservation = Some(timeout.wait(budget.reserve(count)).await?);
                }
                count = count.min(reservation.as_ref().map_or(count, SendReservation::bytes));
            }
            let chunk = SendChunk { bytes: bytes.split_to(count), _reservation: reservation.take() };
            timeout.count_bytes(count);
            stream.send_data(chunk, is_last && bytes.is_empty())?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Waits until a part of `requested` bytes fits the windows of stream and connection. Returns their number.
async fn wait_for_window(
    stream: &mut SendStream<SendChunk>,
    requested: usize,
    timeout: &mut WindowTimeout,
) -> Result<usize, SendError> {
    stream.reserve_capacity(requested);
    if stream.capacity() == 0 {
        let open = poll_fn(|context| {
            while stream.capacity() == 0 {
                match ready!(stream.poll_capacity(context)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(SendError::Disconnected)),
                }
            }
            Poll::Ready(Ok(()))
        });
        timeout.wait(open).await??;
    }
    Ok(stream.capacity().min(requested))
}

/// Returns the next bytes of the body; `None` at its end. Fails when the client resets the stream.
async fn next_bytes(stream: &mut SendStream<SendChunk>, body: &mut Body) -> Result<Option<Bytes>, SendError> {
    poll_fn(|context| {
        loop {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(SendError::Body(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Ok(Some(bytes))),
                    Ok(_) | Err(_) => {}
                },
                Poll::Pending => {
                    // Releases the reserved window of the connection to other streams meanwhile.
                    stream.reserve_capacity(0);
                    return stream.poll_reset(context).map(|_| Err(SendError::Disconnected));
                }
            }
        }
    })
    .await
}

/// Timeout of a client that does not open a window; cumulative, as [`crate::http::net::write_timeout::WriteTimeout`].
pub(crate) struct WindowTimeout {
    limit: Duration,
    /// Number of bytes that the client must read within `limit` of waiting.
    portion: u64,
    bytes: u64,
    waited: Duration,
}

impl WindowTimeout {
    pub(crate) fn new(limits: &Limits) -> WindowTimeout {
        WindowTimeout {
            limit: limits.stall_timeout,
            portion: limits.stall_bytes,
            bytes: 0,
            waited: Duration::ZERO,
        }
    }

    async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, SendError> {
        let since = Instant::now();
        let remaining = self.limit.saturating_sub(self.waited);
        let result = tokio::time::timeout(remaining, future).await.map_err(|_| SendError::Stalled);
        self.waited += since.elapsed();
        result
    }

    fn count_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= self.portion {
            self.bytes = 0;
            self.waited = Duration::ZERO;
        }
    }
}
