//! HTTP/2 connections on the `h2` crate. hyper polls a body before the flow-control window of its stream is
//! open, and waits for it without a timeout. Here a body is polled when its window is open, a stream whose
//! client does not read is reset, and a connection's unsent bytes are bounded.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason, RecvStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::net::body::Body;
use crate::http::net::budget::AddressBudget;
use crate::http::net::connections::{Activity, Connection};
use crate::http::net::drain::{Drain, Phase};
use crate::http::net::frame_socket::{FrameSocket, Traffic};
use crate::http::net::limits::Limits;
use crate::http::net::request_body::Incoming;
use crate::http::net::send_body::{SendChunk, SendError, WindowTimeout, send};
use crate::http::net::send_budget::{SendBudget, SendBudgets};
use crate::http::net::{Peer, Service};

/// Interval of keep-alive pings to a silent client.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Size of a ping frame in bytes.
const PING_BYTES: u64 = 17;
/// Timeout of a closing connection for unwritten bytes, in multiples of [`Limits::stall_timeout`]: the
/// slowest client that is served reads [`crate::http::net::send_budget::CONNECTION_BYTES`] in this time.
const CLOSE_STALL_FACTOR: u32 = 16;
/// Timeout for the last frames of a connection; it does not apply to transfers that end while the server drains.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a closing connection is checked for bytes that the client has not received.
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) struct Http2<'a> {
    pub(crate) limits: &'a Arc<Limits>,
    pub(crate) drain: &'a Drain,
    pub(crate) connection: &'a Connection,
    pub(crate) body_budget: Option<AddressBudget>,
    pub(crate) send_budgets: &'a SendBudgets,
    pub(crate) opened_at: Instant,
    pub(crate) peer: Peer,
    /// The TCP socket below the connection.
    pub(crate) socket: RawFd,
}

impl Http2<'_> {
    pub(crate) async fn serve<S, H>(self, io: S, handler: H)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Service,
    {
        let (peer, limits) = (self.peer, self.limits);
        let (wire, traffic) = FrameSocket::new(io);
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .max_concurrent_streams(limits.h2_streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            // SECURITY: bounds resets by the client (rapid reset, CVE-2023-44487), and resets that it provokes.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(Some(128))
            .max_send_buffer_size(512 << 10);
        let handshake = builder.handshake::<_, SendChunk>(wire.clone());
        let handshake = poll_and_send(&wire, handshake);
        let mut connection = match tokio::time::timeout(limits.head_timeout, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(?peer, "HTTP/2 handshake failed: {error}"),
            Err(_) => return tracing::debug!(?peer, "HTTP/2 handshake timed out"),
        };
        let streams = Arc::new(Streams::default());
        let send_budget = self.send_budgets.for_connection();
        let mut liveness = Liveness { pings: connection.ping_pong(), bytes: 0, has_pinged: false };
        let mut ticks = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        let mut close = pin!(self.wait_for_close(&streams));
        let mut closing_since: Option<Instant> = None;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                accepted = poll_fn(|context| poll_requests(&mut connection, &wire, context, &mut batch)) => match accepted {
                    Ok(true) => {}
                    Ok(false) => break self.close(&wire).await,
                    Err(error) => {
                        tracing::debug!(?peer, "connection ended: {error}");
                        break;
                    }
                },
                () = &mut close, if closing_since.is_none() => {
                    closing_since = Some(Instant::now());
                    connection.graceful_shutdown();
                }
                _ = ticks.tick() => {
                    if !liveness.check(&traffic) {
                        tracing::debug!(?peer, "connection ended: the client does not answer pings");
                        break;
                    }
                    wire.shrink_buffer();
                    // After GOAWAY, the client leaves the connection open, or does not read the last bytes.
                    let max_wait = limits.stall_timeout * CLOSE_STALL_FACTOR;
                    if closing_since.is_some_and(|since| {
                        !connection.has_streams() || streams.is_idle() && since.elapsed() > max_wait
                    }) {
                        break self.close(&wire).await;
                    }
                }
                () = traffic.flood_notify.notified() => {
                    tracing::info!(?peer, "HTTP/2 connection closed: too many frames without content");
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    let closed = poll_and_send(&wire, poll_fn(|context| connection.poll_closed(context)));
                    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async {
                        let _ = closed.await;
                        wire.discard().await;
                    })
                    .await;
                    break;
                }
            }
            // All requests of a batch are answered first; then a poll of the connection writes all responses together.
            for (request, respond) in batch.drain(..) {
                let stream = Stream {
                    _open: Streams::open(&streams),
                    in_progress: self.drain.begin_request(),
                    request_guard: Activity::begin_request(&self.connection.activity),
                    limits: Arc::clone(limits),
                    send_budget: send_budget.clone(),
                    is_head: request.method() == Method::HEAD,
                };
                let (parts, body) = request.into_parts();
                let body = Incoming::http2(body, &parts.headers, self.body_budget.clone());
                let request = Request::from_parts(parts, body);
                let handler = handler.clone();
                // Boxed, because the future of a handler is large and completes long before a long transfer ends.
                let response = Box::pin(async move { handler.handle(peer, request).await });
                let mut task = Box::pin(stream.run(response, respond));
                // Most responses are ready and need no task. Others are polled by their task, not this waker.
                if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    tokio::spawn(task);
                }
            }
        }
    }

    /// Writes what is left, and closes the socket when the client has closed it or has received everything: the kernel
    /// resets a socket that is closed with unread bytes, such as WINDOW_UPDATE, and then sends no further byte.
    async fn close<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &FrameSocket<S>) {
        let draining_timeout = self.limits.stall_timeout * CLOSE_STALL_FACTOR;
        // SECURITY: while other clients wait for a connection, one that receives nothing must not keep its own.
        let timeout = if self.drain.is_draining() { draining_timeout } else { CLOSE_TIMEOUT };
        let closed = async {
            wire.clone().shutdown().await?;
            let received = async {
                while has_unacknowledged_bytes(self.socket) {
                    tokio::time::sleep(ACKNOWLEDGEMENT_INTERVAL).await;
                }
                // Until then, most clients have closed the connection themselves.
                tokio::time::sleep(self.limits.linger).await;
            };
            tokio::select! {
                () = wire.discard() => {}
                () = received => {}
            }
            Ok::<_, std::io::Error>(())
        };
        let _ = tokio::time::timeout(timeout, closed).await;
    }

    async fn wait_for_close(&self, streams: &Streams) {
        tokio::select! {
            () = async {
                self.drain.wait_for(Phase::Draining).await;
                // GOAWAY before the first request would needlessly reject a client that connects during a stop.
                let _ = tokio::time::timeout_at(self.opened_at + self.limits.first_request_wait, streams.wait_for_first()).await;
            } => {}
            () = streams.idle_for(self.limits.h2_idle_timeout) => {}
            () = self.connection.activity.close_requested() => {}
        }
    }
}

/// Returns whether the client has not acknowledged all bytes, or the end of the connection (SIOCOUTQ, tcp(7)).
#[allow(unsafe_code, reason = "neither rustix nor nix has a safe function for it")]
fn has_unacknowledged_bytes(socket: RawFd) -> bool {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one integer to the address, which is valid during the call.
    unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut count) == 0 && count > 0 }
}

async fn poll_and_send<S, F>(wire: &FrameSocket<S>, future: F) -> F::Output
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future,
{
    let mut future = pin!(future);
    poll_fn(|context| {
        let result = future.as_mut().poll(context);
        // The future reports an error of the socket when it is polled again.
        let _ = wire.poll_send(context);
        result
    })
    .await
}

/// Accepts all requests that have arrived. Returns false at the end of the connection.
fn poll_requests<S>(
    connection: &mut h2::server::Connection<FrameSocket<S>, SendChunk>,
    wire: &FrameSocket<S>,
    context: &mut Context<'_>,
    batch: &mut Vec<(Request<RecvStream>, SendResponse<SendChunk>)>,
) -> Poll<Result<bool, Box<dyn std::error::Error + Send + Sync>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match connection.poll_accept(context) {
            Poll::Ready(Some(Ok(request))) => batch.push(request),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
            Poll::Ready(None) => return Poll::Ready(Ok(false)),
            Poll::Pending => break,
        }
    }
    // Pending means that the socket is full: it wakes this task.
    if let Poll::Ready(Err(error)) = wire.poll_send(context) {
        return Poll::Ready(Err(error.into()));
    }
    if batch.is_empty() { Poll::Pending } else { Poll::Ready(Ok(true)) }
}

struct Liveness {
    pings: Option<PingPong>,
    /// Traffic up to the last check, in bytes.
    bytes: u64,
    /// Whether the last check sent a ping.
    has_pinged: bool,
}

impl Liveness {
    /// Pings a client that was silent since the last check; false if that check already sent a ping.
    fn check(&mut self, traffic: &Traffic) -> bool {
        let bytes = traffic.bytes();
        // The kernel accepts the bytes of a ping even if the client has disconnected, so they do not count.
        if bytes > self.bytes + if self.has_pinged { PING_BYTES } else { 0 } {
            (self.bytes, self.has_pinged) = (bytes, false);
            return true;
        }
        if self.has_pinged {
            return false;
        }
        if let Some(pings) = &mut self.pings {
            // The pong of the previous ping must be read before another ping can be sent.
            let _ = poll_fn(|context| pings.poll_pong(context)).now_or_never();
            let _ = pings.send_ping(Ping::opaque());
        }
        (self.bytes, self.has_pinged) = (bytes, true);
        true
    }
}

struct Stream {
    _open: OpenStream,
    in_progress: crate::http::net::drain::InProgress,
    request_guard: crate::http::net::connections::RequestGuard,
    limits: Arc<Limits>,
    send_budget: SendBudget,
    /// Whether the method is HEAD: the response has no body (RFC 9110 section 9.3.2).
    is_head: bool,
}

impl Stream {
    async fn run<F>(self, mut handling: Pin<Box<F>>, mut respond: SendResponse<SendChunk>)
    where
        F: Future<Output = Response<Body>>,
    {
        let response = poll_fn(|context| match handling.as_mut().poll(context) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // Also registers for a reset of the stream.
            Poll::Pending => respond.poll_reset(context).map(|_| None),
        });
        let Some(response) = response.await else { return };
        drop(handling);
        let (mut head, mut body) = response.into_parts();
        body.set_guards(self.in_progress, self.request_guard);
        complete_headers(&mut head.headers, &body);
        let is_end = self.is_head || body.is_end_stream();
        let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), is_end) else { return };
        if is_end {
            return;
        }
        let mut timeout = WindowTimeout::new(&self.limits);
        match send(&mut stream, &mut body, &mut timeout, &self.send_budget).await {
            Ok(()) | Err(SendError::Disconnected) => {}
            Err(SendError::Stalled) => {
                tracing::debug!("HTTP/2 stream reset: the client reads too slowly");
                stream.send_reset(Reason::CANCEL);
            }
            Err(SendError::Body(error)) => {
                tracing::debug!("HTTP/2 stream reset: {error}");
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    }
}

/// Sets the headers that hyper would set: `Date`, and `Content-Length` where the length is known.
fn complete_headers(headers: &mut HeaderMap, body: &Body) {
    headers.entry(header::DATE).or_insert_with(date);
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Returns the value of `Date`, which is formatted once a second.
fn date() -> HeaderValue {
    thread_local!(static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) });
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|last| match last {
        Some((last_second, value)) if *last_second == second => value.clone(),
        _ => {
            let value = HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is visible ASCII");
            *last = Some((second, value.clone()));
            value
        }
    })
}

#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    begun_count: AtomicUsize,
    stream_opened: Notify,
}

struct OpenStream(Arc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Streams {
    fn open(streams: &Arc<Streams>) -> OpenStream {
        streams.open.fetch_add(1, Ordering::AcqRel);
        streams.begun_count.fetch_add(1, Ordering::AcqRel);
        streams.stream_opened.notify_one();
        OpenStream(Arc::clone(streams))
    }

    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    async fn wait_for_first(&self) {
        while self.begun_count.load(Ordering::Acquire) == 0 {
            self.stream_opened.notified().await;
        }
    }

    /// Returns when no stream has been open and none has begun for between one and two times `pause`.
    async fn idle_for(&self, pause: Duration) {
        loop {
            let begun = self.begun_count.load(Ordering::Acquire);
            tokio::time::sleep(pause).await;
            if self.is_idle() && self.begun_count.load(Ordering::Acquire) == begun {
                return;
            }
        }
    }
}
