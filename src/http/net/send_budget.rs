//! Limits of the bytes passed to `h2` but not written to a socket: one per HTTP/2 connection and one for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Limit of one connection, in bytes.
pub(crate) const CONNECTION_BYTES: usize = 1 << 20;
/// Limit of all connections, in bytes.
const TOTAL_BYTES: usize = 16 << 20;
/// Bytes that each connection may have even when the limit of all is reached, and the smallest reservation.
pub(crate) const UNIT_BYTES: usize = 16 << 10;

#[derive(Clone, Default)]
pub(crate) struct SendBudgets(Arc<AtomicUsize>);

#[derive(Clone)]
pub(crate) struct SendBudget(Arc<SendBudgetState>);

struct SendBudgetState {
    total: SendBudgets,
    used: AtomicUsize,
    released: Notify,
}

/// Bytes taken from a [`SendBudget`]; returned when this is dropped.
pub(crate) struct SendReservation {
    budget: SendBudget,
    bytes: usize,
}

impl SendBudgets {
    pub(crate) fn for_connection(&self) -> SendBudget {
        SendBudget(Arc::new(SendBudgetState {
            total: self.clone(),
            used: AtomicUsize::new(0),
            released: Notify::new(),
        }))
    }
}

impl SendBudget {
    /// Takes `requested` bytes, else [`UNIT_BYTES`], which are always free for a connection without unsent
    /// bytes: waits only for the socket of this connection.
    pub(crate) async fn reserve(&self, requested: usize) -> SendReservation {
        let mut has_waited = false;
        loop {
            let released = self.0.released.notified();
            let minimum = requested.min(UNIT_BYTES);
            if let Some(bytes) = [requested, minimum].into_iter().find(|bytes| self.try_reserve(*bytes)) {
                if has_waited {
                    // The freed bytes may suffice for another waiting stream.
                    self.0.released.notify_one();
                }
                return SendReservation { budget: self.clone(), bytes };
            }
            released.await;
            has_waited = true;
        }
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        let SendBudgetState { total, used, .. } = &*self.0;
        let before = used.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes <= CONNECTION_BYTES {
            let total_before = total.0.fetch_add(bytes, Ordering::AcqRel);
            if total_before + bytes <= TOTAL_BYTES || before + bytes <= UNIT_BYTES {
                return true;
            }
            total.0.fetch_sub(bytes, Ordering::AcqRel);
        }
        used.fetch_sub(bytes, Ordering::AcqRel);
        false
    }
}

impl SendReservation {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn grow(&mut self, requested: usize) {
        if requested > self.bytes && self.budget.try_reserve(requested - self.bytes) {
            self.bytes = requested;
        }
    }
}

impl Drop for SendReservation {
    fn drop(&mut self) {
        let SendBudgetState { total, used, released } = &*self.budget.0;
        total.0.fetch_sub(self.bytes, Ordering::AcqRel);
        used.fetch_sub(self.bytes, Ordering::AcqRel);
        released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_connection_has_a_limit_and_the_total_leaves_each_a_unit() {
        let budgets = SendBudgets::default();
        let connections: Vec<SendBudget> =
            (0..2 * TOTAL_BYTES / CONNECTION_BYTES).map(|_| budgets.for_connection()).collect();
        let mut reservations = Vec::new();
        for budget in &connections {
            while let Some(reservation) = budget.reserve(CONNECTION_BYTES / 8).now_or_never() {
                reservations.push(reservation);
            }
        }
        let bytes: usize = reservations.iter().map(SendReservation::bytes).sum();
        assert_eq!(bytes, TOTAL_BYTES + connections.len() / 2 * UNIT_BYTES, "each has a unit at least");
        assert!(connections[0].0.used.load(Ordering::Acquire) <= CONNECTION_BYTES);
        drop(reservations);
        assert_eq!(budgets.0.load(Ordering::Acquire), 0);
        assert!(connections.iter().all(|budget| budget.0.used.load(Ordering::Acquire) == 0));
    }

    #[tokio::test]
    async fn waiting_responses_continue_when_bytes_are_returned() {
        let budget = SendBudgets::default().for_connection();
        let mut reservation = budget.reserve(CONNECTION_BYTES).await;
        assert_eq!(reservation.bytes(), CONNECTION_BYTES);
        reservation.grow(CONNECTION_BYTES + 1);
        assert_eq!(reservation.bytes(), CONNECTION_BYTES, "no more than the limit");
        let waiting: Vec<_> = (0..9)
            .map(|_| {
                let budget = budget.clone();
                tokio::spawn(async move { budget.reserve(UNIT_BYTES).await.bytes() })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(reservation);
        for task in waiting {
            assert_eq!(task.await.unwrap(), UNIT_BYTES);
        }
    }
}
