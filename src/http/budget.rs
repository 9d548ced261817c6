//! How many bytes of request bodies are held in memory at a time, in all and for each client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The budget of a process; cloning shares it.
#[derive(Clone)]
pub(super) struct ReadingBudget(Arc<Inner>);

struct Inner {
    most: usize,
    most_each: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    /// Addresses without bytes have no entry.
    each: HashMap<IpAddr, usize>,
}

/// The budget as one client address meets it.
#[derive(Clone)]
pub(super) struct Reading {
    budget: ReadingBudget,
    address: IpAddr,
}

/// Bytes taken from the budget; they go back when this is dropped.
pub(super) struct Share {
    reading: Reading,
    bytes: usize,
}

impl ReadingBudget {
    /// `most` bytes in all, `most_each` for one address.
    pub(super) fn new(most: usize, most_each: usize) -> ReadingBudget {
        ReadingBudget(Arc::new(Inner { most, most_each, held: Mutex::default() }))
    }

    /// For the requests of an address.
    pub(super) fn of(&self, address: IpAddr) -> Reading {
        Reading { budget: self.clone(), address: site(address) }
    }
}

impl Reading {
    pub(super) fn share(&self) -> Share {
        Share { reading: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Takes more bytes; false when there is no room for them.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let Reading { budget, address } = &self.reading;
        let mut held = budget.0.held.lock();
        let each = held.each.get(address).copied().unwrap_or(0);
        if held.all + more > budget.0.most || each + more > budget.0.most_each {
            return false;
        }
        held.all += more;
        held.each.insert(*address, each + more);
        self.bytes += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let Reading { budget, address } = &self.reading;
        let mut held = budget.0.held.lock();
        held.all -= self.bytes;
        let left = held.each.get(address).copied().unwrap_or(0).saturating_sub(self.bytes);
        if left == 0 {
            held.each.remove(address);
        } else {
            held.each.insert(*address, left);
        }
    }
}

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that name its network.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_for_each_and_for_all_and_comes_back() {
        let budget = ReadingBudget::new(10, 6);
        let of = |text: &str| budget.of(text.parse().unwrap()).share();
        let (mut a, mut again, mut b) = (of("192.0.2.1"), of("::ffff:192.0.2.1"), of("192.0.2.2"));
        assert!(a.grow(4) && again.grow(2) && !again.grow(1), "one address under two names");
        assert!(b.grow(4) && !b.grow(1), "all are taken");
        drop(a);
        assert!(b.grow(2) && !b.grow(1) && again.grow(2));
        drop((again, b));
        assert!(budget.0.held.lock().each.is_empty() && budget.0.held.lock().all == 0);
        let (mut one, mut neighbour) = (of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert!(one.grow(6) && !neighbour.grow(1), "one network of IPv6");
    }
}
