//! Budgets of the memory for request bodies and for responses made for one request, in total and per client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;

use super::body::Body;
use super::error::Failure;
use super::listener::Peer;

/// The budget of a process. Clones share it.
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

/// Budget of responses that were made for one request each and are not sent yet: an index of packages as JSON has
/// megabytes, and a client may request many and read none. Clones share it.
#[derive(Clone)]
pub struct AnswerBudget(ReadingBudget);

/// Bytes of such responses in total.
const ANSWERS: usize = 64 << 20;
/// Bytes of such responses of one client address.
const ANSWERS_OF_ADDRESS: usize = 16 << 20;
/// Responses up to this many bytes are not counted: an open stream takes as much by itself.
const SMALL: usize = 16 << 10;
/// `Retry-After` in seconds.
const RETRY: u64 = 5;

/// Bytes, and their share of the budget.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for AnswerBudget {
    fn default() -> AnswerBudget {
        AnswerBudget(ReadingBudget::new(ANSWERS, ANSWERS_OF_ADDRESS))
    }
}

impl AnswerBudget {
    /// Counts a response until its bytes are dropped; 503 if too many are waiting.
    pub(super) fn count(&self, mut response: Response<Body>, peer: Peer) -> Result<Response<Body>, Failure> {
        response.body_mut().map_bytes(|bytes| self.hold(bytes, peer))?;
        Ok(response)
    }

    /// Counts bytes until they are dropped; 503 if too many are waiting. Clients of the admin socket have no limit.
    pub(super) fn hold(&self, bytes: Bytes, peer: Peer) -> Result<Bytes, Failure> {
        let Peer::Tcp { address, .. } = peer else { return Ok(bytes) };
        if bytes.len() <= SMALL {
            return Ok(bytes);
        }
        let mut share = self.0.of(address.ip()).share();
        if !share.take(bytes.len()) {
            return Err(Failure::unavailable("too many responses are waiting for slow clients", RETRY));
        }
        Ok(Bytes::from_owner(Counted { bytes, _share: share }))
    }
}

/// The budget of one client address.
#[derive(Clone)]
pub(super) struct Reading {
    budget: ReadingBudget,
    address: IpAddr,
}

/// Bytes taken from the budget; returned when this is dropped.
pub(super) struct Share {
    reading: Reading,
    bytes: usize,
}

impl ReadingBudget {
    /// A budget of `most` bytes in total and `most_each` for one address.
    pub(super) fn new(most: usize, most_each: usize) -> ReadingBudget {
        ReadingBudget(Arc::new(Inner { most, most_each, held: Mutex::default() }))
    }

    /// The budget for the requests of an address.
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
    /// Takes more bytes; false if the budget is used up.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        self.reserve(more, false)
    }

    /// As [`Share::grow`], but never fails for an address that has nothing yet: a large response must be possible.
    fn take(&mut self, bytes: usize) -> bool {
        self.reserve(bytes, true)
    }

    fn reserve(&mut self, more: usize, alone: bool) -> bool {
        let Reading { budget, address } = &self.reading;
        let mut used = budget.0.held.lock();
        let each = used.each.get(address).copied().unwrap_or(0);
        let full =
            used.all.saturating_add(more) > budget.0.most || each.saturating_add(more) > budget.0.most_each;
        if full && !(alone && each == 0) {
            return false;
        }
        used.all += more;
        used.each.insert(*address, each + more);
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
        let mut used = budget.0.held.lock();
        used.all -= self.bytes;
        let left = used.each.get(address).copied().unwrap_or(0).saturating_sub(self.bytes);
        if left == 0 {
            used.each.remove(address);
        } else {
            used.each.insert(*address, left);
        }
    }
}

/// The address that counts as one client: an IPv4 address, or the 64-bit prefix of an IPv6 address.
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
    fn an_address_has_few_large_answers_under_way_and_always_one() {
        let budget = AnswerBudget(ReadingBudget::new(300 << 10, 200 << 10));
        let answer = |from: &str, kilobytes: usize| {
            let peer = Peer::Tcp { address: (from.parse::<IpAddr>().unwrap(), 1).into(), tls: true };
            budget.count(Response::new(Body::full(vec![0; kilobytes << 10])), peer)
        };
        let huge = answer("192.0.2.1", 5000).expect("the only one");
        assert_eq!(huge.body().known_size(), Some(5000 << 10));
        assert!(answer("192.0.2.1", 17).is_err() && answer("192.0.2.1", 16).is_ok());
        let other = answer("192.0.2.2", 100).expect("the first one of this address");
        assert!(answer("192.0.2.2", 100).is_err(), "all are taken");
        drop((huge, other));
        let two = [answer("192.0.2.1", 100).unwrap(), answer("192.0.2.1", 100).unwrap()];
        assert_eq!(answer("192.0.2.1", 100).err().map(|failure| failure.status.as_u16()), Some(503));
        drop(two);
        assert!(budget.0.0.held.lock().each.is_empty());
    }

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
        assert!(one.grow(6) && !neighbour.grow(1), "one IPv6 network");
    }
}
