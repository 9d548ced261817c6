//! Accept loops and connections: TLS, HTTP/1.1 or HTTP/2, limits, graceful close.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Request, header};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::http::net::budget::{AddressBudget, MemoryBudget};
use crate::http::net::connections::{Activity, Connection, Connections};
use crate::http::net::drain::{Drain, Phase};
use crate::http::net::http2::Http2;
use crate::http::net::limits::Limits;
use crate::http::net::request_body::Incoming;
use crate::http::net::send_budget::SendBudgets;
use crate::http::net::tls::Tls;
use crate::http::net::write_timeout::WriteTimeout;
use crate::http::net::{Client, Peer, Service};
use crate::http::site::SiteSettings;

#[derive(Clone)]
pub struct HttpServer {
    limits: Arc<Limits>,
    site: Arc<ArcSwap<SiteSettings>>,
    drain: Drain,
    connection_permits: Arc<Semaphore>,
    connections: Connections,
    body_budget: MemoryBudget,
    send_budgets: SendBudgets,
}

/// Interval of the search for an idle connection while the connection limit is reached.
const IDLE_SEARCH_INTERVAL: Duration = Duration::from_millis(50);
/// Timeout for the graceful close of an idle connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl HttpServer {
    pub fn new(limits: Limits, site: Arc<ArcSwap<SiteSettings>>) -> HttpServer {
        let connection_permits = Arc::new(Semaphore::new(limits.connections));
        let connections = Connections::default();
        let body_budget = MemoryBudget::new(limits.body_bytes, limits.body_bytes_per_address);
        HttpServer {
            limits: Arc::new(limits),
            site,
            drain: Drain::default(),
            connection_permits,
            connections,
            body_budget,
            send_budgets: SendBudgets::default(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Accepts TCP connections until [`Phase::HandedOver`]. The listener is dropped, never shut down: systemd
    /// or the next process may hold the same socket.
    pub async fn serve_tcp<H: Service>(self, listener: TcpListener, tls: Option<Tls>, handler: H) {
        let _listener_guard = self.drain.register_listener();
        let mut handed_over = pin!(self.drain.wait_for(Phase::HandedOver));
        loop {
            let permit = tokio::select! {
                permit = self.acquire_permit() => permit,
                () = &mut handed_over => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut handed_over => return,
            };
            match accepted {
                Ok((socket, address)) => {
                    // Without it, a response's second write waits for the client's delayed ACK, eleven times as long.
                    let _ = socket.set_nodelay(true);
                    let limit =
                        self.site.load().connection_limit(self.client(Peer::Tcp { address, tls: false }));
                    let limit = self.limits.connections_per_address(limit);
                    let Some(connection) = self.connections.register(address.ip(), limit) else {
                        tracing::debug!(%address, "connection closed: connection limit of the address reached");
                        continue;
                    };
                    let (server, tls, handler) = (self.clone(), tls.clone(), handler.clone());
                    self.drain.spawn(async move {
                        let _permit = permit;
                        match tls {
                            None => {
                                let peer = Peer::Tcp { address, tls: false };
                                let activity = Arc::clone(&connection.activity);
                                server.serve_http1(socket, peer, activity, handler).await;
                            }
                            Some(tls) => match tls.acceptor() {
                                Some(tls) => {
                                    server.serve_tls(socket, address, tls, &connection, handler).await
                                }
                                // Without a certificate the reason cannot be sent to the client.
                                None => tracing::debug!(%address, "connection closed: no TLS certificate"),
                            },
                        }
                    });
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Accepts connections on the admin socket until [`Phase::HandedOver`].
    pub async fn serve_unix<H: Service>(self, listener: UnixListener, handler: H) {
        let _listener_guard = self.drain.register_listener();
        let mut handed_over = pin!(self.drain.wait_for(Phase::HandedOver));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut handed_over => return,
            };
            match accepted {
                Ok((socket, _)) => match socket.peer_cred() {
                    Ok(credentials) => {
                        let peer = Peer::Unix {
                            uid: credentials.uid(),
                            gid: credentials.gid(),
                            pid: credentials.pid(),
                        };
                        let (server, handler) = (self.clone(), handler.clone());
                        self.drain.spawn(async move {
                            server.serve_http1(socket, peer, Arc::default(), handler).await
                        });
                    }
                    Err(error) => {
                        tracing::warn!(
                            "could not identify a client of the administration socket (SO_PEERCRED): {error}"
                        );
                    }
                },
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Waits for a connection's permit: idle connections are closed one by one, and new clients wait in the backlog.
    async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.connection_permits).try_acquire_owned() {
                return permit;
            }
            self.connections.close_idle(self.limits.first_request_wait);
            if let Ok(permit) = tokio::time::timeout(
                IDLE_SEARCH_INTERVAL,
                Arc::clone(&self.connection_permits).acquire_owned(),
            )
            .await
            {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    fn body_budget_of(&self, peer: Peer) -> Option<AddressBudget> {
        self.body_budget.for_address(self.client(peer))
    }

    fn client(&self, peer: Peer) -> Client {
        self.site.load().client(peer)
    }

    async fn serve_tls<H: Service>(
        self,
        socket: TcpStream,
        address: SocketAddr,
        tls: tokio_rustls::TlsAcceptor,
        connection: &Connection,
        handler: H,
    ) {
        let limits = Arc::clone(&self.limits);
        let fd = socket.as_raw_fd();
        let timed_socket =
            WriteTimeout::new(socket, limits.stall_timeout, limits.stall_bytes, &connection.activity);
        let handshake = tokio::time::timeout(limits.handshake_timeout, tls.accept(timed_socket));
        let result = tokio::select! {
            result = handshake => result,
            () = connection.activity.close_requested() => return,
        };
        match result {
            Ok(Ok(stream)) => {
                let opened_at = Instant::now();
                let peer = Peer::Tcp { address, tls: true };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let (limits, drain, send_budgets) = (&self.limits, &self.drain, &self.send_budgets);
                    let body_budget = self.body_budget_of(peer);
                    let http2 = Http2 {
                        limits,
                        drain,
                        connection,
                        body_budget,
                        send_budgets,
                        opened_at,
                        peer,
                        socket: fd,
                    };
                    http2.serve(stream, handler).await;
                } else {
                    self.serve_http1_on(stream, fd, opened_at, peer, &connection.activity, handler).await;
                }
            }
            Ok(Err(error)) => tracing::debug!(%address, "TLS handshake failed: {error}"),
            Err(_) => tracing::debug!(%address, "TLS handshake timed out"),
        }
    }

    async fn serve_http1<S, H>(self, socket: S, peer: Peer, activity: Arc<Activity>, handler: H)
    where
        S: AsyncRead + AsyncWrite + AsRawFd + Unpin + Send + 'static,
        H: Service,
    {
        let fd = socket.as_raw_fd();
        let (timeout, portion) = (self.limits.stall_timeout, self.limits.stall_bytes);
        let timed_socket = WriteTimeout::new(socket, timeout, portion, &activity);
        self.serve_http1_on(timed_socket, fd, Instant::now(), peer, &activity, handler).await;
    }

    /// Serves HTTP/1 without detecting the version. `fd` is the socket below `io`.
    async fn serve_http1_on<S, H>(
        self,
        io: S,
        fd: RawFd,
        opened_at: Instant,
        peer: Peer,
        activity: &Arc<Activity>,
        handler: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Service,
    {
        let body_budget = self.body_budget_of(peer);
        let drain = &self.drain;
        let has_request = AtomicBool::new(false);
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let in_progress = drain.begin_request();
            let request_guard = Activity::begin_request(activity);
            has_request.store(true, Ordering::Release);
            let handler = &handler;
            let (parts, body) = request.into_parts();
            let body = Incoming::http1(body, &parts.headers, body_budget.clone());
            let request = Request::from_parts(parts, body);
            async move {
                let mut response = handler.handle(peer, request).await;
                if drain.is_draining() {
                    let close = header::HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response.body_mut().set_guards(in_progress, request_guard);
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.max_buf_size(self.limits.head_bytes);
        let mut http1 = pin!(builder.serve_connection(TokioIo::new(io), service));
        let silent = || activity.idle_for(self.limits.head_timeout, opened_at);
        let closing = async {
            drain.wait_for(Phase::Closing).await;
            if !has_request.load(Ordering::Acquire) {
                // The first request of a new connection may still arrive; its response has `Connection: close`.
                tokio::time::sleep_until(opened_at + self.limits.first_request_wait).await;
            }
            // A request that the kernel has received but this process has not read yet is answered too.
            let deadline = Instant::now() + self.limits.linger;
            while has_unread_bytes(fd) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let end = async {
            tokio::select! {
                () = closing => End::Draining,
                () = activity.close_requested() => End::Requested,
                () = silent() => End::Silent,
            }
        };
        // Polls `end` only when it was woken: not for each request, because its parts take locks of all connections.
        let mut end = FuturesUnordered::from_iter([end]);
        let result = tokio::select! {
            biased;
            result = http1.as_mut() => result,
            Some(end) = end.next() => match end {
                End::Draining => {
                    http1.as_mut().graceful_shutdown();
                    tokio::select! {
                        result = http1 => result,
                        () = silent() => return,
                    }
                }
                End::Requested => {
                    http1.as_mut().graceful_shutdown();
                    match tokio::time::timeout(CLOSE_TIMEOUT, http1.as_mut()).await {
                        Ok(result) => result,
                        // The client has sent nothing, or an incomplete head.
                        Err(_) if activity.is_idle() => return,
                        Err(_) => http1.await,
                    }
                }
                End::Silent => return tracing::debug!(?peer, "connection ended: no request in time"),
            },
        };
        log_outcome(peer, result);
    }
}

/// The reason why a connection ends, other than by the client.
enum End {
    Draining,
    /// [`Activity::close_requested`].
    Requested,
    /// The client has sent no complete head in time.
    Silent,
}

/// Returns whether the kernel has bytes of the client that are not read yet.
fn has_unread_bytes(fd: RawFd) -> bool {
    matches!(recv(fd, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT), Ok(1..))
}

fn log_outcome(peer: Peer, outcome: hyper::Result<()>) {
    let Err(error) = outcome else { return };
    if error.is_parse() {
        // hyper has responded with 400, 414 or 431; there is no parsed request for the access log.
        tracing::info!(?peer, "invalid HTTP request rejected: {error}");
    } else {
        tracing::debug!(?peer, "connection ended: {error}");
    }
}

/// Pauses after a failed `accept` (exhausted file descriptors must not spin), but not after an aborted connection.
async fn pause_after(error: &std::io::Error) {
    match error.kind() {
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {}
        _ => {
            tracing::error!(
                "cannot accept connections: {error}; raise LimitNOFILE= if file descriptors ran out"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
