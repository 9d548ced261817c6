//! Socket wrapper with a cumulative write timeout: hyper has none for stalled writes. A connection with bytes that wait
//! for the client is not idle.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::net::connections::{Activity, RequestGuard};

/// A socket that fails with `TimedOut` if writes have waited for `limit` in total while the peer read less
/// than `portion` bytes. Idle keep-alive connections wait for no write.
pub struct WriteTimeout<S> {
    inner: S,
    limit: Duration,
    portion: u64,
    written: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Created at the first wait: most connections never wait.
    timer: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
    /// Present while a write waits: the request may have ended, with bytes left to be written.
    busy_guard: Option<RequestGuard>,
}

impl<S> WriteTimeout<S> {
    pub(crate) fn new(inner: S, limit: Duration, portion: u64, activity: &Arc<Activity>) -> WriteTimeout<S> {
        WriteTimeout {
            inner,
            limit,
            portion,
            written: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
            activity: Arc::clone(activity),
            busy_guard: None,
        }
    }

    fn track(&mut self, context: &mut Context<'_>, outcome: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match outcome {
            Poll::Ready(result) => {
                self.busy_guard = None;
                if let Some(since) = self.waiting_since.take() {
                    self.waited += since.elapsed();
                }
                if let Ok(written) = &result {
                    self.written += *written as u64;
                    if self.written >= self.portion {
                        self.written = 0;
                        self.waited = Duration::ZERO;
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.busy_guard.get_or_insert_with(|| Activity::begin_request(&self.activity));
                let since = *self.waiting_since.get_or_insert_with(Instant::now);
                let deadline = since + self.limit.saturating_sub(self.waited);
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if timer.deadline() != deadline {
                    timer.as_mut().reset(deadline);
                }
                match timer.as_mut().poll(context) {
                    Poll::Ready(()) => {
                        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client reads too slowly")))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.track(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.track(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // TLS buffers bytes that it could not write and returns Pending here; that counts as the same wait.
        let result = Pin::new(&mut self.inner).poll_flush(context).map(|result| result.map(|()| 0));
        self.track(context, result).map(|result| result.map(|_| ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(context).map(|result| result.map(|()| 0));
        self.track(context, result).map(|result| result.map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_times_out() {
        let (server, _client) = tokio::io::duplex(16);
        let mut socket = WriteTimeout::new(server, LIMIT, 1024, &Arc::default());
        let start = Instant::now();
        let error = socket.write_all(&[0; 64]).await.expect_err("there is no reader");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_tiny_pieces_times_out_too() {
        let (server, mut client) = tokio::io::duplex(16);
        let mut socket = WriteTimeout::new(server, LIMIT, 1024, &Arc::default());
        tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(LIMIT / 3).await;
            }
        });
        let error = socket.write_all(&[0; 4096]).await.expect_err("each byte in time, and still too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_server_does_not_count() {
        let (server, mut client) = tokio::io::duplex(16);
        let mut socket = WriteTimeout::new(server, LIMIT, 1024, &Arc::default());
        tokio::spawn(async move {
            let mut buffer = [0; 16];
            while client.read_exact(&mut buffer).await.is_ok() {}
        });
        socket.write_all(&[0; 48]).await.expect("read at once");
        tokio::time::sleep(LIMIT * 2).await;
        socket.write_all(&[0; 48]).await.expect("the pause does not count");
    }
}
