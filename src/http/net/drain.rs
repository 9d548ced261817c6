//! Graceful stop without a failed request: drain, then close.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::http::net::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Stopping: still accepting; responses have `Connection: close`, HTTP/2 connections get GOAWAY.
    Draining,
    /// Another process accepts connections; those of this process are drained as in [`Phase::Draining`].
    HandedOver,
    /// Not accepting; open connections close as soon as they are between requests.
    Closing,
}

/// Length of a slot: requests in progress are counted by the slot in which they began, measured from the stop.
const SLOT: Duration = Duration::from_millis(100);
/// The first slot counts requests that began before the stop, the last one all that begin after the other slots.
const SLOTS: usize = 600;

struct Shared {
    phase: watch::Sender<Phase>,
    /// Start time of the stop; each request reads it without a lock.
    stopping_since: OnceLock<Instant>,
    in_progress: Vec<AtomicUsize>,
    idle: tokio::sync::Notify,
    /// Includes listeners, which may accept more.
    connections: TaskTracker,
    listeners: AtomicUsize,
}

#[derive(Clone)]
pub struct Drain(Arc<Shared>);

/// A request in progress; it ends when this is dropped, after its body was sent or abandoned.
pub struct InProgress {
    shared: Arc<Shared>,
    slot: usize,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.shared.in_progress[self.slot].fetch_sub(1, Ordering::AcqRel) == 1
            && self.shared.stopping_since.get().is_some()
        {
            self.shared.idle.notify_waiters();
        }
    }
}

pub struct ListenerGuard {
    shared: Arc<Shared>,
    _token: TaskTrackerToken,
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        self.shared.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Serving),
            stopping_since: OnceLock::new(),
            in_progress: std::iter::repeat_with(AtomicUsize::default).take(SLOTS).collect(),
            idle: tokio::sync::Notify::new(),
            connections: TaskTracker::new(),
            listeners: AtomicUsize::new(0),
        }))
    }
}

impl Drain {
    /// Counts a request until the value is dropped.
    pub fn begin_request(&self) -> InProgress {
        let slot = self.0.stopping_since.get().map_or(0, |since| 1 + slots_since(*since)).min(SLOTS - 1);
        self.0.in_progress[slot].fetch_add(1, Ordering::AcqRel);
        InProgress { shared: Arc::clone(&self.0), slot }
    }

    pub fn is_draining(&self) -> bool {
        self.0.stopping_since.get().is_some()
    }

    pub fn requests(&self) -> usize {
        self.count_in_slots(SLOTS)
    }

    pub fn connections(&self) -> usize {
        self.0.connections.len().saturating_sub(self.0.listeners.load(Ordering::Acquire))
    }

    /// Registers a listener until the value is dropped: a stop waits for a connection accepted at the last moment.
    pub fn register_listener(&self) -> ListenerGuard {
        self.0.listeners.fetch_add(1, Ordering::AcqRel);
        ListenerGuard { shared: Arc::clone(&self.0), _token: self.0.connections.token() }
    }

    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, connection: F) {
        self.0.connections.spawn(connection);
    }

    /// Waits until the server is at `phase` or beyond.
    pub async fn wait_for(&self, phase: Phase) {
        // The sender is a field of `self`, so the channel cannot close meanwhile.
        let _ = self.0.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Stops the server. Returns when every connection is closed or after `limits.drain_timeout`; true if
    /// none was aborted.
    ///
    /// Connections are accepted until all earlier requests and `other_work` are done, idle clients had
    /// `limits.linger` to send a request and get `Connection: close`, and (for `limits.quiet_wait` at most)
    /// no slow response is in progress. From then on no client is served until the next process has started,
    /// so the remaining requests must be short.
    pub async fn stop(&self, limits: &Limits, other_work: impl Future<Output = ()>) -> bool {
        let deadline = Instant::now() + limits.drain_timeout;
        // Reserves time for short requests that begin late, before the deadline aborts the long ones.
        let last_moment = deadline.checked_sub(limits.linger * 3).unwrap_or(deadline);
        let since = *self.0.stopping_since.get_or_init(Instant::now);
        self.advance(Phase::Draining);
        let earlier_requests = async {
            other_work.await;
            self.wait_for_earlier_requests().await;
        };
        let _ = tokio::time::timeout_at(last_moment, earlier_requests).await;
        tokio::time::sleep(limits.linger).await;
        let quiet_deadline = (Instant::now() + limits.quiet_wait).min(last_moment);
        while Instant::now() < quiet_deadline && self.count_in_slots(slots_since(since)) > 0 {
            tokio::time::sleep(SLOT / 10).await;
        }
        self.close(deadline).await
    }

    /// Leaves new connections to another process that has the same sockets. Returns when no listener of this process
    /// accepts any more.
    pub async fn stop_accepting(&self) {
        self.0.stopping_since.get_or_init(Instant::now);
        self.advance(Phase::HandedOver);
        while self.0.listeners.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Finishes after [`Drain::stop_accepting`]. Returns when every connection is closed, `limits.drain_timeout` after
    /// `stop_requested`, or `limits.hand_over_timeout` from now; true if none was aborted. Idle connections stay open
    /// until their usual timeout.
    pub async fn hand_over(&self, limits: &Limits, stop_requested: impl Future<Output = ()>) -> bool {
        self.0.connections.close();
        tokio::select! {
            () = self.0.connections.wait() => return true,
            () = tokio::time::sleep(limits.hand_over_timeout) => {}
            () = stop_requested => {
                // Before the deadline of the successor, which waits for this process: at its end, this one is killed.
                let deadline = Instant::now() + limits.drain_timeout.saturating_sub(limits.linger * 3);
                let last_moment = deadline.checked_sub(limits.linger).unwrap_or(deadline);
                let _ = tokio::time::timeout_at(last_moment, self.wait_for_earlier_requests()).await;
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

    /// Sets the phase, unless the current one is later: a stop may begin after [`Phase::HandedOver`].
    fn advance(&self, phase: Phase) {
        self.0.phase.send_if_modified(|current| {
            let is_later = phase > *current;
            *current = phase.max(*current);
            is_later
        });
    }

    fn count_in_slots(&self, slots: usize) -> usize {
        self.0.in_progress.iter().take(slots).map(|count| count.load(Ordering::Acquire)).sum()
    }

    async fn wait_for_earlier_requests(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            // Registered before the check, so that the end of the last request is not missed in between.
            idle.as_mut().enable();
            if self.count_in_slots(1) == 0 {
                break;
            }
            idle.await;
        }
    }
}

fn slots_since(since: Instant) -> usize {
    usize::try_from(since.elapsed().as_millis() / SLOT.as_millis()).unwrap_or(SLOTS)
}
