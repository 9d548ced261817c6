//! Open connections: their number per address, and the idle one to close when the limit is reached.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::http::net::client_network;

#[derive(Clone)]
pub(crate) struct Connections(Arc<ConnectionTable>);

struct ConnectionTable {
    /// Reference point of [`Activity::idle_since`].
    epoch: Instant,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next_number: u64,
    by_number: HashMap<u64, Arc<Activity>>,
    /// Addresses without connections have no entry.
    count_by_address: HashMap<IpAddr, usize>,
}

pub(crate) struct Activity {
    epoch: Instant,
    requests: AtomicUsize,
    /// When the connection was accepted or last answered a request, in milliseconds since `epoch`; or [`CLOSING`].
    idle_since: AtomicU64,
    close_notify: Notify,
}

/// Value of [`Activity::idle_since`] of a connection that should close.
const CLOSING: u64 = u64::MAX;

/// An open connection; it ends when this is dropped.
pub(crate) struct Connection {
    inner: Arc<ConnectionTable>,
    number: u64,
    address: IpAddr,
    pub(crate) activity: Arc<Activity>,
}

/// A request of a connection; it ends when this is dropped.
pub(crate) struct RequestGuard(Arc<Activity>);

impl Default for Connections {
    fn default() -> Connections {
        Connections(Arc::new(ConnectionTable { epoch: Instant::now(), open: Mutex::default() }))
    }
}

impl Connections {
    /// Registers a new connection; `None` if its address already has `limit` connections.
    pub(crate) fn register(&self, address: IpAddr, limit: Option<usize>) -> Option<Connection> {
        let address = client_network(address);
        let activity = Arc::new(Activity {
            epoch: self.0.epoch,
            idle_since: AtomicU64::new(millis(self.0.epoch)),
            ..Activity::default()
        });
        let mut open = self.0.open.lock();
        let count = open.count_by_address.entry(address).or_insert(0);
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        let number = open.next_number;
        open.next_number += 1;
        open.by_number.insert(number, Arc::clone(&activity));
        Some(Connection { inner: Arc::clone(&self.0), number, address, activity })
    }

    /// Closes the connection that has been idle longest, and at least for `min_idle`; false if there is none.
    pub(crate) fn close_idle(&self, min_idle: Duration) -> bool {
        let now = millis(self.0.epoch);
        let min_idle = u64::try_from(min_idle.as_millis()).unwrap_or(u64::MAX);
        let open = self.0.open.lock();
        let idle = open.by_number.values().filter_map(|activity| {
            let since = activity.idle_since.load(Ordering::Acquire);
            (activity.is_idle() && since.saturating_add(min_idle) <= now).then_some((since, activity))
        });
        let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) else { return false };
        longest.idle_since.store(CLOSING, Ordering::Release);
        longest.close_notify.notify_one();
        true
    }
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            epoch: Instant::now(),
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            close_notify: Notify::new(),
        }
    }
}

impl Activity {
    pub(crate) fn begin_request(activity: &Arc<Activity>) -> RequestGuard {
        activity.requests.fetch_add(1, Ordering::AcqRel);
        RequestGuard(Arc::clone(activity))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0
    }

    /// Waits until the connection has been without a request for `limit`, since `opened_at` or its last response.
    pub(crate) async fn idle_for(&self, limit: Duration, opened_at: tokio::time::Instant) {
        let mut deadline = opened_at + limit;
        loop {
            tokio::time::sleep_until(deadline).await;
            let now = tokio::time::Instant::now();
            deadline = match self.idle_since.load(Ordering::Acquire) {
                // A connection that closes has its own timeout, and a request its own ones.
                CLOSING => now + limit,
                _ if !self.is_idle() => now + limit,
                since => {
                    // The millisecond that has begun counts as a whole one.
                    let idle_until = self.epoch + Duration::from_millis(since + 1) + limit;
                    deadline.max(idle_until.into())
                }
            };
            if deadline <= now {
                return;
            }
        }
    }

    pub(crate) async fn close_requested(&self) {
        self.close_notify.notified().await;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.0.idle_since.load(Ordering::Acquire) != CLOSING {
            self.0.idle_since.store(millis(self.0.epoch), Ordering::Release);
        }
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock();
        open.by_number.remove(&self.number);
        if let Some(count) = open.count_by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.count_by_address.remove(&self.address);
            }
        }
    }
}

fn millis(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_millis()).unwrap_or(CLOSING - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_at_most_the_given_number_of_connections() {
        let connections = Connections::default();
        let open = |text: &str, limit| connections.register(text.parse().unwrap(), limit);
        let (first, second) = (open("192.0.2.1", Some(2)), open("192.0.2.1", Some(2)));
        assert!(first.is_some() && second.is_some() && open("192.0.2.1", Some(2)).is_none());
        assert!(open("192.0.2.2", Some(2)).is_some());
        assert!(open("192.0.2.1", Some(3)).is_some() && open("192.0.2.1", None).is_some());
        drop(first);
        assert!(open("192.0.2.1", Some(2)).is_some());
        drop(second);
        assert!(
            connections.0.open.lock().count_by_address.is_empty()
                && connections.0.open.lock().by_number.is_empty()
        );
    }

    #[test]
    fn the_longest_idle_connection_is_closed_and_a_busy_one_never() {
        let connections = Connections::default();
        let open = || connections.register("127.0.0.1".parse().unwrap(), Some(9)).unwrap();
        let (oldest, busy, young) = (open(), open(), open());
        oldest.activity.idle_since.store(0, Ordering::Release);
        busy.activity.idle_since.store(0, Ordering::Release);
        let request = Activity::begin_request(&busy.activity);
        assert!(!connections.close_idle(Duration::from_secs(3600)), "none has been idle that long");
        young.activity.idle_since.store(1, Ordering::Release);
        std::thread::sleep(Duration::from_millis(3));
        assert!(connections.close_idle(Duration::from_millis(1)));
        assert_eq!(oldest.activity.idle_since.load(Ordering::Acquire), CLOSING);
        assert!(connections.close_idle(Duration::from_millis(1)));
        assert_eq!(young.activity.idle_since.load(Ordering::Acquire), CLOSING);
        assert!(
            !connections.close_idle(Duration::from_millis(1)),
            "one connection has a request, the others are closing"
        );
        drop(request);
    }
}
