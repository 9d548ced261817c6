//! How a server stops without failing a request: answer and say goodbye, then close.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::limits::Limits;

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Open,
    /// Asked to stop: still accepting, every answer says `Connection: close`, HTTP/2 gets GOAWAY.
    Draining,
    /// Another process accepts: no new connections here; those we have get the same goodbye.
    Left,
    /// No new connections; ours close as soon as they are between requests.
    Closing,
}

/// How finely requests are told apart by age during a stop.
const SLOT: Duration = Duration::from_millis(100);
/// The first holds what began before the stop, the last everything later than the others.
const SLOTS: usize = 600;

struct Shared {
    phase: watch::Sender<Phase>,
    /// When the stop began; readable without a lock by each request.
    stopping: OnceLock<Instant>,
    /// Requests under way by when they began.
    under_way: Vec<AtomicUsize>,
    idle: tokio::sync::Notify,
    /// Connections, and the listeners that may bring more.
    connections: TaskTracker,
    listeners: AtomicUsize,
}

/// Shared by every listener and connection; cloning shares it.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

/// A request under way; it ends when this is dropped, which is when its body was sent or given up.
pub struct UnderWay {
    shared: Arc<Shared>,
    slot: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.shared.under_way[self.slot].fetch_sub(1, Ordering::AcqRel) == 1
            && self.shared.stopping.get().is_some()
        {
            self.shared.idle.notify_waiters();
        }
    }
}

/// A listener that accepts; see [`Drain::listening`].
pub struct Listening {
    shared: Arc<Shared>,
    _token: TaskTrackerToken,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shared.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Open),
            stopping: OnceLock::new(),
            under_way: std::iter::repeat_with(AtomicUsize::default).take(SLOTS).collect(),
            idle: tokio::sync::Notify::new(),
            connections: TaskTracker::new(),
            listeners: AtomicUsize::new(0),
        }))
    }
}

impl Drain {
    /// Counts a request until the value is dropped.
    #[must_use]
    pub fn begin(&self) -> UnderWay {
        let slot = self.0.stopping.get().map_or(0, |since| 1 + slots_since(*since)).min(SLOTS - 1);
        self.0.under_way[slot].fetch_add(1, Ordering::AcqRel);
        UnderWay { shared: Arc::clone(&self.0), slot }
    }

    /// True from the moment the stop was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.stopping.get().is_some()
    }

    /// Requests under way now.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.begun_in(SLOTS)
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.len().saturating_sub(self.0.listeners.load(Ordering::Acquire))
    }

    /// Held by who accepts: without it a connection accepted at the last moment would not be waited for.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.0.listeners.fetch_add(1, Ordering::AcqRel);
        Listening { shared: Arc::clone(&self.0), _token: self.0.connections.token() }
    }

    /// Runs a connection.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, connection: F) {
        self.0.connections.spawn(connection);
    }

    /// Waits until the server is at `phase` or beyond.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`: the channel cannot close under us.
        let _ = self.0.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Stops: returns when every connection is closed or `limits.drain` has passed; true when nothing was cut.
    ///
    /// Connections are accepted until a good moment: what began before the stop is done, idle clients had
    /// `limits.linger` to speak and hear `Connection: close`, and (for `limits.quiet` at most) no slow answer is
    /// under way. From then on nobody is served until the next process is there, so what is left must be short.
    ///
    /// What ends with `others` counts as begun before too.
    pub async fn stop(&self, limits: &Limits, others: impl Future<Output = ()>) -> bool {
        let deadline = Instant::now() + limits.drain;
        // What is short and began late still has its time when the deadline cuts what is long.
        let last_moment = deadline.checked_sub(limits.linger * 3).unwrap_or(deadline);
        let since = *self.0.stopping.get_or_init(Instant::now);
        self.advance(Phase::Draining);
        let begun_before = async {
            others.await;
            self.begun_before_ended().await;
        };
        let _ = tokio::time::timeout_at(last_moment, begun_before).await;
        tokio::time::sleep(limits.linger).await;
        let quiet = (Instant::now() + limits.quiet).min(last_moment);
        while Instant::now() < quiet && self.begun_in(slots_since(since)) > 0 {
            tokio::time::sleep(SLOT / 10).await;
        }
        self.close(deadline).await
    }

    /// Leaves the listeners to another process that has them too: returns when every connection is closed, or
    /// `limits.drain` after `hurry`, or `limits.handed_over` from now, has passed; true when nothing was cut.
    /// Idle connections live as long as they would have.
    pub async fn leave(&self, limits: &Limits, hurry: impl Future<Output = ()>) -> bool {
        self.0.stopping.get_or_init(Instant::now);
        self.advance(Phase::Left);
        self.0.connections.close();
        tokio::select! {
            () = self.0.connections.wait() => return true,
            () = tokio::time::sleep(limits.handed_over) => {}
            () = hurry => {
                // Before the process that waits for this one: whoever is left when that ends is killed.
                let deadline = Instant::now() + limits.drain.saturating_sub(limits.linger * 3);
                let last_moment = deadline.checked_sub(limits.linger).unwrap_or(deadline);
                let _ = tokio::time::timeout_at(last_moment, self.begun_before_ended()).await;
                tokio::time::sleep(limits.linger).await;
                return self.close(deadline).await;
            }
        }
        self.close(Instant::now()).await
    }

    async fn close(&self, deadline: Instant) -> bool {
        self.advance(Phase::Closing);
        self.0.connections.close();
        let soonest = Instant::now() + Duration::from_millis(50);
        tokio::time::timeout_at(deadline.max(soonest), self.0.connections.wait()).await.is_ok()
    }

    /// Never back: a stop may come while the listeners are already left.
    fn advance(&self, to: Phase) {
        self.0.phase.send_if_modified(|now| {
            let later = to > *now;
            *now = to.max(*now);
            later
        });
    }

    /// Requests under way that began in the first `slots`.
    fn begun_in(&self, slots: usize) -> usize {
        self.0.under_way.iter().take(slots).map(|count| count.load(Ordering::Acquire)).sum()
    }

    async fn begun_before_ended(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            // Registered before the look, so that the last request cannot end in between unseen.
            idle.as_mut().enable();
            if self.begun_in(1) == 0 {
                break;
            }
            idle.await;
        }
    }
}

fn slots_since(since: Instant) -> usize {
    usize::try_from(since.elapsed().as_millis() / SLOT.as_millis()).unwrap_or(SLOTS)
}
