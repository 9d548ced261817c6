//! Limit of HTTP/2 frames without content (WINDOW_UPDATE, PRIORITY, PING, SETTINGS, unknown): `h2` has none.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Number of frames without content that are allowed initially, and upper bound of the allowance.
const BURST: u64 = 4_000;
/// Allowance added by each request, because a client sends PRIORITY and WINDOW_UPDATE frames for it.
const FRAMES_PER_REQUEST: u64 = 16;
const FRAMES_PER_SECOND: u64 = 100;
/// Number of sent bytes that add one frame to the allowance, because a client sends WINDOW_UPDATE frames for them.
const BYTES_PER_FRAME: u64 = 2 << 10;

/// Bytes of frames that are collected before they are encrypted: four frames of 16 kB with their heads.
const BUFFER_BYTES: usize = 4 * ((16 << 10) + 9);

/// Maximum number of reads of 16 kB in [`FrameSocket::discard`].
const MAX_DISCARD_READS: usize = 256;

/// Size of the connection preface, in bytes.
const PREFACE: usize = 24;
/// Size of the head of a frame, in bytes.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

#[derive(Default)]
pub(crate) struct Traffic {
    bytes: AtomicU64,
    pub(crate) flood_notify: Notify,
}

impl Traffic {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The socket of a connection. Stops reading when the client has sent too many frames. Collects the server's frames
/// until [`FrameSocket::poll_send`], since `h2` flushes after each one, by a system call. Clones share it.
pub(crate) struct FrameSocket<S>(Arc<Mutex<SocketState<S>>>);

impl<S> Clone for FrameSocket<S> {
    fn clone(&self) -> FrameSocket<S> {
        FrameSocket(Arc::clone(&self.0))
    }
}

/// `h2` and the task of the connection lock it in turn, so there is never contention.
struct SocketState<S> {
    inner: S,
    frames: Frames,
    traffic: Arc<Traffic>,
    /// Bytes sent that have not increased the allowance yet; less than [`BYTES_PER_FRAME`].
    uncredited_bytes: u64,
    is_flooded: bool,
    buffer: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameSocket<S> {
    pub(crate) fn new(inner: S) -> (FrameSocket<S>, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        let state = SocketState {
            inner,
            frames: Frames::new(),
            traffic: Arc::clone(&traffic),
            uncredited_bytes: 0,
            is_flooded: false,
            buffer: Vec::new(),
            written: 0,
        };
        (FrameSocket(Arc::new(Mutex::new(state))), traffic)
    }

    pub(crate) fn poll_send(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.0.lock();
        ready!(state.write_buffer(context))?;
        Pin::new(&mut state.inner).poll_flush(context)
    }

    /// Discards the client's bytes until it closes: the kernel resets a closed connection with unread bytes,
    /// and the client may lose sent ones.
    pub(crate) async fn discard(&self) {
        let mut bytes = vec![0; 16 << 10];
        for _ in 0..MAX_DISCARD_READS {
            let read = poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut bytes);
                let state = &mut *self.0.lock();
                ready!(Pin::new(&mut state.inner).poll_read(context, &mut buffer))?;
                Poll::Ready(Ok::<_, std::io::Error>(buffer.filled().len()))
            });
            if !matches!(read.await, Ok(1..)) {
                return;
            }
        }
    }

    pub(crate) fn shrink_buffer(&self) {
        let mut state = self.0.lock();
        if state.buffer.is_empty() {
            state.buffer = Vec::new();
        }
    }
}

impl<S: AsyncWrite + Unpin> SocketState<S> {
    fn write_buffer(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.buffer.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, &self.buffer[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.traffic.bytes.fetch_add(count as u64, Ordering::Relaxed);
            self.uncredited_bytes += count as u64;
            self.frames.allow(self.uncredited_bytes / BYTES_PER_FRAME);
            self.uncredited_bytes %= BYTES_PER_FRAME;
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let state = &mut *self.0.lock();
        if state.is_flooded {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut state.inner).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        state.traffic.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if !state.frames.count(bytes) {
            state.is_flooded = true;
            state.traffic.flood_notify.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameSocket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let state = &mut *self.0.lock();
        if state.buffer.len() >= BUFFER_BYTES {
            ready!(state.write_buffer(context))?;
        }
        pieces.iter().for_each(|piece| state.buffer.extend_from_slice(piece));
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let state = &mut *self.0.lock();
        ready!(state.write_buffer(context))?;
        Pin::new(&mut state.inner).poll_shutdown(context)
    }
}

/// Counts the client's frames by their heads (RFC 9113, 4.1). Bytes that are not HTTP/2 are rejected by `h2`.
struct Frames {
    /// Bytes of the preface or of a payload still to skip.
    skip: usize,
    /// The frame head being received; the first `head_length` bytes are known.
    head: [u8; HEAD],
    head_length: usize,
    /// Number of frames without content that are still allowed.
    allowance: u64,
    /// Time up to which [`FRAMES_PER_SECOND`] has been added to the allowance.
    last_credit: Instant,
}

impl Frames {
    fn new() -> Frames {
        Frames {
            skip: PREFACE,
            head: [0; HEAD],
            head_length: 0,
            allowance: BURST,
            last_credit: Instant::now(),
        }
    }

    fn allow(&mut self, frames: u64) {
        self.allowance = (self.allowance + frames).min(BURST);
    }

    fn count(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let part = (HEAD - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + part].copy_from_slice(&bytes[..part]);
            self.head_length += part;
            bytes = &bytes[part..];
            if self.head_length == HEAD {
                self.head_length = 0;
                if !self.count_frame() {
                    return false;
                }
            }
        }
        true
    }

    fn count_frame(&mut self) -> bool {
        let [a, b, c, kind, ..] = self.head;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS => self.allow(FRAMES_PER_REQUEST),
            DATA if self.skip > 0 => {}
            _ => {
                if self.allowance == 0 {
                    let seconds = self.last_credit.elapsed().as_secs();
                    self.allow(seconds.saturating_mul(FRAMES_PER_SECOND));
                    self.last_credit = Instant::now();
                }
                if self.allowance == 0 {
                    return false;
                }
                self.allowance -= 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        bytes.resize(HEAD + payload, 7);
        bytes
    }

    fn flood(kind: u8, payload: usize, count: usize, piece: usize) -> bool {
        let mut bytes = vec![b'x'; PREFACE];
        (0..count).for_each(|_| bytes.extend(frame(kind, payload)));
        let mut frames = Frames::new();
        // No credit for the time that the test takes.
        frames.last_credit += Duration::from_secs(3600);
        bytes.chunks(piece).all(|piece| frames.count(piece))
    }

    #[test]
    fn frames_without_content_are_counted_across_any_reads() {
        for (kind, payload) in [(2, 5), (4, 0), (6, 8), (8, 4), (0, 0), (3, 4), (99, 300)] {
            for piece in [1, 7, 4096] {
                assert!(flood(kind, payload, 4_000, piece), "{kind}");
                assert!(!flood(kind, payload, 4_001, piece), "{kind}");
            }
        }
        assert!(flood(DATA, 1, 20_000, 1000) && flood(HEADERS, 30, 20_000, 1000));
    }

    #[test]
    fn requests_and_reads_allow_more_frames() {
        let mut frames = Frames::new();
        assert!(frames.count(&[b'x'; PREFACE]));
        for _ in 0..20_000 {
            let request = [frame(HEADERS, 40), frame(8, 4), frame(8, 4), frame(2, 5)].concat();
            assert!(frames.count(&request));
        }
        // Two windows opened for each 16 kB read.
        for _ in 0..20_000 {
            frames.allow((16 << 10) / BYTES_PER_FRAME);
            assert!(frames.count(&[frame(8, 4), frame(8, 4)].concat()));
        }
    }
}
