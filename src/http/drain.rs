//! How a server stops without failing a request: answer and say goodbye, linger, then close.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::limits::Limits;

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Open,
    /// Asked to stop: still accepting, every answer says `Connection: close`, HTTP/2 gets GOAWAY.
    Draining,
    /// No new connections; idle clients learn that theirs ends.
    Lingering,
    /// Connections close as soon as they are between requests.
    Closing,
}

struct Shared {
    /// The phase again, readable without a lock by each request.
    draining: AtomicU8,
    phase: watch::Sender<Phase>,
    /// Requests under way that began before the stop, and after it.
    under_way: [AtomicUsize; 2],
    idle: tokio::sync::Notify,
    connections: TaskTracker,
}

/// Shared by every listener and connection; cloning shares it.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

/// A request under way; it ends when this is dropped, which is when its body was sent or given up.
pub struct UnderWay {
    shared: Arc<Shared>,
    began: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.shared.under_way[self.began].fetch_sub(1, Ordering::AcqRel) == 1
            && self.shared.draining.load(Ordering::Acquire) != 0
        {
            self.shared.idle.notify_waiters();
        }
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain(Arc::new(Shared {
            draining: AtomicU8::new(0),
            phase: watch::Sender::new(Phase::Open),
            under_way: [AtomicUsize::new(0), AtomicUsize::new(0)],
            idle: tokio::sync::Notify::new(),
            connections: TaskTracker::new(),
        }))
    }
}

impl Drain {
    /// Counts a request until the value is dropped.
    #[must_use]
    pub fn begin(&self) -> UnderWay {
        let began = usize::from(self.is_draining());
        self.0.under_way[began].fetch_add(1, Ordering::AcqRel);
        UnderWay { shared: Arc::clone(&self.0), began }
    }

    /// True from the moment the stop was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire) != 0
    }

    /// Requests under way now.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.under_way.iter().map(|count| count.load(Ordering::Acquire)).sum()
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.len()
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
    pub async fn stop(&self, limits: &Limits) -> bool {
        let deadline = tokio::time::Instant::now() + limits.drain;
        self.0.draining.store(1, Ordering::Release);
        self.0.phase.send_replace(Phase::Draining);
        let begun_before_ended = async {
            loop {
                let idle = self.0.idle.notified();
                tokio::pin!(idle);
                // Registered before the look, so that the last request cannot end in between unseen.
                idle.as_mut().enable();
                if self.0.under_way[0].load(Ordering::Acquire) == 0 {
                    break;
                }
                idle.await;
            }
        };
        let _ = tokio::time::timeout_at(deadline, begun_before_ended).await;
        self.0.phase.send_replace(Phase::Lingering);
        tokio::time::sleep(limits.linger).await;
        self.0.phase.send_replace(Phase::Closing);
        self.0.connections.close();
        tokio::time::timeout_at(deadline.max(tokio::time::Instant::now()), self.0.connections.wait())
            .await
            .is_ok()
    }
}
