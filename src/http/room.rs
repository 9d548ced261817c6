//! Limits of the bytes that HTTP/2 connections have passed to `h2` but not written to their sockets: one per connection
//! and one for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Limit of one connection, in bytes.
pub(super) const ROOM: usize = 1 << 20;
/// Limit of all connections, in bytes.
const ALL: usize = 16 << 20;
/// Bytes that each connection may have even when the limit of all is reached, and the least that is waited for.
pub(super) const UNIT: usize = 16 << 10;

/// The bytes of all connections. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Rooms(Arc<AtomicUsize>);

/// The bytes of one connection. Clones share it.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

struct Inner {
    all: Rooms,
    used: AtomicUsize,
    freed: Notify,
}

/// Bytes taken from a [`Room`]; returned when this is dropped.
pub(super) struct Place {
    room: Room,
    bytes: usize,
}

impl Rooms {
    /// The budget of a new connection.
    pub(super) fn open(&self) -> Room {
        Room(Arc::new(Inner { all: self.clone(), used: AtomicUsize::new(0), freed: Notify::new() }))
    }
}

impl Room {
    /// Takes `wanted` bytes, or [`UNIT`] of them if no more are free. Waits for the socket of this connection only:
    /// while it has nothing unsent, [`UNIT`] is free.
    pub(super) async fn take(&self, wanted: usize) -> Place {
        let mut waited = false;
        loop {
            let freed = self.0.freed.notified();
            let least = wanted.min(UNIT);
            if let Some(bytes) = [wanted, least].into_iter().find(|bytes| self.reserve(*bytes)) {
                if waited {
                    // The freed bytes may suffice for another waiting stream.
                    self.0.freed.notify_one();
                }
                return Place { room: self.clone(), bytes };
            }
            freed.await;
            waited = true;
        }
    }

    /// Adds these bytes, if they fit.
    fn reserve(&self, bytes: usize) -> bool {
        let Inner { all, used, .. } = &*self.0;
        let before = used.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes <= ROOM {
            let others = all.0.fetch_add(bytes, Ordering::AcqRel);
            if others + bytes <= ALL || before + bytes <= UNIT {
                return true;
            }
            all.0.fetch_sub(bytes, Ordering::AcqRel);
        }
        used.fetch_sub(bytes, Ordering::AcqRel);
        false
    }
}

impl Place {
    /// The number of bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to `wanted` bytes, if they are free.
    pub(super) fn grow(&mut self, wanted: usize) {
        if wanted > self.bytes && self.room.reserve(wanted - self.bytes) {
            self.bytes = wanted;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Inner { all, used, freed } = &*self.room.0;
        all.0.fetch_sub(self.bytes, Ordering::AcqRel);
        used.fetch_sub(self.bytes, Ordering::AcqRel);
        freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_connection_has_a_limit_and_all_of_them_have_one_that_leaves_each_a_unit() {
        let rooms = Rooms::default();
        let open: Vec<Room> = (0..2 * ALL / ROOM).map(|_| rooms.open()).collect();
        let mut places = Vec::new();
        for room in &open {
            while let Some(place) = room.take(ROOM / 8).now_or_never() {
                places.push(place);
            }
        }
        let held: usize = places.iter().map(Place::bytes).sum();
        assert_eq!(held, ALL + open.len() / 2 * UNIT, "each has a unit at least");
        assert!(open[0].0.used.load(Ordering::Acquire) <= ROOM);
        drop(places);
        assert_eq!(rooms.0.load(Ordering::Acquire), 0);
        assert!(open.iter().all(|room| room.0.used.load(Ordering::Acquire) == 0));
    }

    #[tokio::test]
    async fn those_who_wait_have_their_turn_when_bytes_come_back() {
        let room = Rooms::default().open();
        let mut all = room.take(ROOM).await;
        assert_eq!(all.bytes(), ROOM);
        all.grow(ROOM + 1);
        assert_eq!(all.bytes(), ROOM, "no more than the limit");
        let waiting: Vec<_> = (0..9)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { room.take(UNIT).await.bytes() })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(all);
        for one in waiting {
            assert_eq!(one.await.unwrap(), UNIT);
        }
    }
}
