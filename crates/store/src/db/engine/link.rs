//! The connection of a server to the others on its PostgreSQL database: notifications, heartbeats and leases.
//!
//! It is separate from the connections of transactions, so that it never waits for them, and stays open while the server is
//! offline. A canary, a notification to itself, detects whether notifications arrive. Through a connection pooler it does not
//! listen: a pooler in transaction mode may deliver only the canary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_postgres::Notification;
use tokio_util::sync::CancellationToken;

use super::pgconn::PgConn;
use super::target::PostgresTarget;
use super::{Conn, DbError};

/// Poll interval while notifications arrive.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Poll interval while notifications do not arrive.
const SHORT_POLL_INTERVAL: Duration = Duration::from_secs(2);
const CANARY_INTERVAL: Duration = Duration::from_secs(60);
const CANARY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before the first attempt to open a lost connection again; each failure doubles it, up to [`MAX_RETRY_PAUSE`].
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(500);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// A handle of the connection; clones share it. Dropping the last one closes it.
#[derive(Clone)]
pub struct Link(Arc<LinkParts>);

struct LinkParts {
    work: UnboundedSender<PendingTransaction>,
    signals: Arc<LinkSignals>,
    /// Cancelled at the first use; no connection is needed before.
    first_use: CancellationToken,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct LinkSignals {
    catalog: Notify,
    nodes: Notify,
    notifications_lost: AtomicBool,
    is_connected: AtomicBool,
    connections: AtomicU64,
}

/// A closure that runs a transaction on the connection, or receives the error that prevents it.
type PendingTransaction = Box<dyn FnOnce(Result<&mut PgConn, DbError>) + Send>;

impl Link {
    /// Starts the thread, which connects when [`Link::open`] is called.
    pub(in crate::db) fn start(target: Arc<PostgresTarget>) -> std::io::Result<Link> {
        let (work, receiver) = unbounded_channel();
        let (signals, first_use, shutdown) =
            (Arc::default(), CancellationToken::new(), CancellationToken::new());
        let mut thread = LinkThread {
            target,
            work: receiver,
            signals: Arc::clone(&signals),
            first_use: first_use.clone(),
            shutdown: shutdown.clone(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
        };
        std::thread::Builder::new().name("db-link".to_owned()).spawn(move || thread.run())?;
        Ok(Link(Arc::new(LinkParts { work, signals, first_use, shutdown })))
    }

    /// Makes the thread connect. Only the first call has an effect.
    pub(in crate::db) fn open(&self) {
        self.0.first_use.cancel();
    }

    /// Runs `f` in one short transaction, without waiting for other transactions of this server. It is run again if the
    /// connection is lost, possibly after a commit, so its repetition must have no further effect.
    ///
    /// # Errors
    /// The error of `f`; [`DbError::RowLocked`]; [`DbError::Lost`] if the connection was not opened again within
    /// [`MAX_RETRY_PAUSE`].
    pub async fn run<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + Sync + 'static,
    {
        let (f, deadline) = (Arc::new(f), Instant::now() + MAX_RETRY_PAUSE);
        loop {
            match self.attempt(Arc::clone(&f)).await {
                Err(DbError::Lost(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(FIRST_RETRY_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn attempt<T, F>(&self, f: Arc<F>) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + Sync + 'static,
    {
        let (answer, result) = oneshot::channel();
        let work: PendingTransaction = Box::new(move |connection| {
            // A caller that was dropped does not need the result.
            let _ = answer.send(connection.and_then(|connection| connection.transact(&*f)));
        });
        self.0.work.send(work).map_err(|_| DbError::Closed)?;
        result.await.unwrap_or(Err(DbError::Closed))
    }

    /// Waits until another server may have published. Spurious returns are possible; only one waiting caller is woken.
    pub async fn wait_for_catalog(&self) {
        self.0.signals.catalog.notified().await;
    }

    /// Waits until the row of a server may have changed, in the same way as [`Link::wait_for_catalog`].
    pub async fn wait_for_nodes(&self) {
        self.0.signals.nodes.notified().await;
    }

    /// Returns how often the connection was opened. After a reconnect, another server that lacks changes may answer.
    pub fn connection_count(&self) -> u64 {
        self.0.signals.connections.load(Ordering::Acquire)
    }

    /// Returns whether the connection is open. While it is not, no change of another server is notified.
    pub fn is_connected(&self) -> bool {
        self.0.signals.is_connected.load(Ordering::Acquire)
    }

    pub fn lacks_notifications(&self) -> bool {
        self.0.signals.notifications_lost.load(Ordering::Relaxed)
    }
}

impl Drop for LinkParts {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct LinkThread {
    target: Arc<PostgresTarget>,
    work: UnboundedReceiver<PendingTransaction>,
    signals: Arc<LinkSignals>,
    first_use: CancellationToken,
    shutdown: CancellationToken,
    /// Runs the timers while there is no connection.
    runtime: Runtime,
}

enum LinkEvent {
    Shutdown,
    Notification(Option<Notification>),
    Transaction(PendingTransaction),
    Timer,
}

struct Canary {
    /// The payload and the deadline of a canary that has not arrived yet.
    pending: Option<(String, Instant)>,
    next: Instant,
}

impl LinkThread {
    fn run(&mut self) {
        let LinkThread { first_use, shutdown, runtime, .. } = self;
        if runtime.block_on(shutdown.run_until_cancelled(first_use.cancelled())).is_none() {
            return;
        }
        let (mut pause, mut is_reported) = (FIRST_RETRY_PAUSE, false);
        loop {
            let Err(error) = self.serve() else { return };
            if self.signals.is_connected.swap(false, Ordering::Release) {
                (pause, is_reported) = (FIRST_RETRY_PAUSE, false);
                // From now on, notifications are lost.
                self.signals.catalog.notify_one();
            }
            if !is_reported {
                tracing::warn!(
                    "the connection for notifications and heartbeats was lost; connecting again: {error}"
                );
                is_reported = true;
            }
            if !self.pause(pause, &error.to_string()) {
                return;
            }
            pause = MAX_RETRY_PAUSE.min(pause * 2);
        }
    }

    /// Waits before the next attempt and refuses transactions meanwhile. Returns false if the link is closed.
    fn pause(&mut self, pause: Duration, error: &str) -> bool {
        let LinkThread { work, shutdown, runtime, .. } = self;
        runtime.block_on(async {
            let deadline = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return false,
                    () = tokio::time::sleep_until(deadline) => return true,
                    work = work.recv() => match work {
                        Some(work) => work(Err(DbError::Lost(error.into()))),
                        None => return false,
                    },
                }
            }
        })
    }

    /// Connects and serves until the connection is lost. Returns `Ok` if the link is closed.
    fn serve(&mut self) -> Result<(), DbError> {
        let (sender, mut notifications) = unbounded_channel();
        let mut connection = PgConn::open(&self.target, Some(sender))?;
        let is_notified = !connection.is_pooled();
        if is_notified {
            connection.listen()?;
        }
        self.signals.is_connected.store(true, Ordering::Release);
        self.signals.connections.fetch_add(1, Ordering::Release);
        // Changes before LISTEN sent no notification.
        self.signals.catalog.notify_one();
        self.signals.nodes.notify_one();
        let mut canary = Canary { pending: None, next: Instant::now() };
        let mut poll = Instant::now() + POLL_INTERVAL;
        if !is_notified {
            self.report_lost_notifications();
            poll = Instant::now() + SHORT_POLL_INTERVAL;
        }
        loop {
            let wakeup = match is_notified {
                true => canary.pending.as_ref().map_or(canary.next, |(_, deadline)| *deadline).min(poll),
                false => poll,
            };
            let (shutdown, work) = (&self.shutdown, &mut self.work);
            let event = connection.wait(async {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => LinkEvent::Shutdown,
                    notification = notifications.recv() => LinkEvent::Notification(notification),
                    work = work.recv() => work.map_or(LinkEvent::Shutdown, LinkEvent::Transaction),
                    () = tokio::time::sleep_until(wakeup) => LinkEvent::Timer,
                }
            });
            match event {
                LinkEvent::Shutdown => return Ok(()),
                LinkEvent::Notification(None) => return Err(connection_lost()),
                LinkEvent::Notification(Some(notification)) => {
                    self.receive(notification.payload(), &mut canary);
                }
                LinkEvent::Transaction(work) => {
                    work(Ok(&mut connection));
                    if connection.is_closed() {
                        return Err(connection_lost());
                    }
                }
                LinkEvent::Timer => {
                    if is_notified {
                        self.check(&mut canary, &mut connection)?;
                    }
                    if Instant::now() >= poll {
                        self.signals.catalog.notify_one();
                        let lacks_notifications = self.signals.notifications_lost.load(Ordering::Relaxed);
                        poll = Instant::now()
                            + if lacks_notifications { SHORT_POLL_INTERVAL } else { POLL_INTERVAL };
                    }
                    if self.signals.notifications_lost.load(Ordering::Relaxed) {
                        poll = poll.min(Instant::now() + SHORT_POLL_INTERVAL);
                    }
                }
            }
        }
    }

    fn receive(&self, payload: &str, canary: &mut Canary) {
        match payload {
            "catalog" => self.signals.catalog.notify_one(),
            "nodes" => self.signals.nodes.notify_one(),
            // A canary. It has no effect if another server sent it, or if its timeout has passed.
            _ => {
                if canary.pending.take_if(|(pending, _)| pending == payload).is_some()
                    && self.signals.notifications_lost.swap(false, Ordering::Relaxed)
                {
                    tracing::info!("notifications of PostgreSQL arrive again");
                }
            }
        }
    }

    /// Sends a canary if the next one is due, and records if the last one has not arrived in time.
    fn check(&self, canary: &mut Canary, connection: &mut PgConn) -> Result<(), DbError> {
        let now = Instant::now();
        if canary.pending.take_if(|(_, deadline)| *deadline <= now).is_some() {
            self.report_lost_notifications();
        }
        if canary.pending.is_none() && canary.next <= now {
            let payload = format!("canary {:016x}", rand::random::<u64>());
            connection.notify(&payload)?;
            *canary = Canary { pending: Some((payload, now + CANARY_TIMEOUT)), next: now + CANARY_INTERVAL };
        }
        Ok(())
    }

    /// Records that notifications do not arrive, and warns once.
    fn report_lost_notifications(&self) {
        if !self.signals.notifications_lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "notifications of PostgreSQL do not arrive: other servers are polled every {} s; if the connection passes \
                 a pooler, set Postgres.ListenURL to the address of the database itself",
                SHORT_POLL_INTERVAL.as_secs()
            );
        }
    }
}

fn connection_lost() -> DbError {
    DbError::Lost(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}
