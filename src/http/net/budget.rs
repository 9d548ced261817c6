//! Budgets of the memory for request bodies and for responses made for one request, in total and per client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::net::{Client, client_network};
use base::model::owned_bytes::bytes_with;
use content::serve::package_files::MAX_FIGURE;

#[derive(Clone)]
pub(crate) struct MemoryBudget(Arc<BudgetState>);

struct BudgetState {
    limit: usize,
    address_limit: usize,
    used: Mutex<UsedBytes>,
    freed: Notify,
}

#[derive(Default)]
struct UsedBytes {
    total: usize,
    /// Addresses without bytes have no entry.
    by_address: HashMap<IpAddr, usize>,
}

/// Budget of responses that are not sent yet. A JSON list of packages needs megabytes, and a client may
/// request many lists without reading them. Clones share it.
#[derive(Clone)]
pub struct ResponseBudget {
    memory: MemoryBudget,
    files: MemoryBudget,
    /// Has one byte for each request that may wait for memory.
    places: MemoryBudget,
}

const RESPONSE_BYTES: usize = 64 << 20;
const RESPONSE_BYTES_PER_ADDRESS: usize = 16 << 20;
const RESERVED_BYTES: usize = 256 << 10;
const REST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes reserved for a file of a package before its size is known: those of the largest picture.
const RESERVED_FILE_BYTES: usize = MAX_FIGURE as usize;
/// Maximum number of requests that wait in [`ResponseBudget::reserve_for_file`].
const MAX_WAITING: usize = 1024;
/// Maximum number of these requests from one client address: the pictures of a long page.
const MAX_WAITING_PER_ADDRESS: usize = 256;
/// Responses of at most this many bytes are not counted: the state of an open stream uses more memory.
const UNCOUNTED_BYTES: usize = 512;
/// `Retry-After` in seconds.
const RETRY_AFTER: u64 = 5;

/// Memory reserved for a response that is being made; `None` for clients without a limit.
pub(crate) struct Reservation(Option<Share>);

impl Default for ResponseBudget {
    fn default() -> ResponseBudget {
        ResponseBudget::new(RESPONSE_BYTES, RESPONSE_BYTES_PER_ADDRESS)
    }
}

impl ResponseBudget {
    fn new(limit: usize, address_limit: usize) -> ResponseBudget {
        ResponseBudget {
            memory: MemoryBudget::new(limit, address_limit),
            files: MemoryBudget::new(limit / 2, address_limit / 2),
            places: MemoryBudget::new(MAX_WAITING, MAX_WAITING_PER_ADDRESS),
        }
    }

    /// Reserves memory before a response is made; 503 if too much is in use.
    pub(crate) fn reserve(&self, client: Client) -> Result<Reservation, Failure> {
        self.memory.try_reserve(client, RESERVED_BYTES).ok_or_else(too_many_responses)
    }

    /// As [`ResponseBudget::reserve`], for the rest of a response: waits for memory; 503 after [`REST_TIMEOUT`].
    pub(crate) async fn reserve_later(&self, client: Client) -> Result<Reservation, Failure> {
        self.memory.reserve_later(client, RESERVED_BYTES).await
    }

    /// Reserves memory for a file of a package from a budget of its own, and waits, unless too many requests wait
    /// already: a browser requests all pictures of a page at once, and does not repeat a request after a 503.
    pub(crate) async fn reserve_for_file(&self, client: Client) -> Result<Reservation, Failure> {
        if let Some(reservation) = self.files.try_reserve(client, RESERVED_FILE_BYTES) {
            return Ok(reservation);
        }
        let mut place = self.places.for_address(client).map(|places| places.share());
        if place.as_mut().is_some_and(|place| !place.grow(1)) {
            return Err(too_many_responses());
        }
        self.files.reserve_later(client, RESERVED_FILE_BYTES).await
    }
}

impl Reservation {
    /// Counts the bytes of a response until they are dropped; 503 if the budget is exhausted.
    pub(crate) fn charge(self, mut response: Response<Body>) -> Result<Response<Body>, Failure> {
        response.body_mut().map_bytes(|bytes| self.charge_bytes(bytes))?;
        Ok(response)
    }

    /// Counts bytes until they are dropped; 503 if the budget is exhausted.
    pub(crate) fn charge_bytes(self, bytes: Bytes) -> Result<Bytes, Failure> {
        let Some(mut share) = self.0.filter(|_| bytes.len() > UNCOUNTED_BYTES) else { return Ok(bytes) };
        if !share.resize(bytes.len()) {
            return Err(too_many_responses());
        }
        Ok(bytes_with(bytes, share))
    }
}

fn too_many_responses() -> Failure {
    Failure::unavailable("too many responses are waiting for slow clients", RETRY_AFTER)
}

#[derive(Clone)]
pub(crate) struct AddressBudget {
    budget: MemoryBudget,
    /// The address; `None` if only the total is limited.
    address: Option<IpAddr>,
}

/// Bytes taken from the budget; returned when this is dropped.
pub(crate) struct Share {
    budget: AddressBudget,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(limit: usize, address_limit: usize) -> MemoryBudget {
        let (used, freed) = (Mutex::default(), Notify::new());
        MemoryBudget(Arc::new(BudgetState { limit, address_limit, used, freed }))
    }

    fn try_reserve(&self, client: Client, bytes: usize) -> Option<Reservation> {
        let Some(budget) = self.for_address(client) else { return Some(Reservation(None)) };
        let mut share = budget.share();
        share.resize(bytes).then_some(Reservation(Some(share)))
    }

    /// Reserves bytes for a client when enough are returned; 503 after [`REST_TIMEOUT`].
    async fn reserve_later(&self, client: Client, bytes: usize) -> Result<Reservation, Failure> {
        let reserve = async {
            loop {
                let returned = self.0.freed.notified();
                if let Some(reserved) = self.try_reserve(client, bytes) {
                    return reserved;
                }
                returned.await;
            }
        };
        tokio::time::timeout(REST_TIMEOUT, reserve).await.map_err(|_| too_many_responses())
    }

    /// Returns the budget for the requests of a client; `None` if it has no limit.
    pub(crate) fn for_address(&self, client: Client) -> Option<AddressBudget> {
        let address = match client {
            Client::Admin => return None,
            Client::Shared => None,
            Client::Address(address) => Some(client_network(address)),
        };
        Some(AddressBudget { budget: self.clone(), address })
    }
}

impl AddressBudget {
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

impl Share {
    pub(crate) fn grow(&mut self, additional: usize) -> bool {
        self.set(self.bytes.saturating_add(additional), false)
    }

    /// Changes the number of bytes; false if the budget is exhausted. The only share of a client, or of all,
    /// may exceed the limit, because a large response must be possible.
    fn resize(&mut self, bytes: usize) -> bool {
        self.set(bytes, true)
    }

    fn set(&mut self, bytes: usize, only_share_may_exceed: bool) -> bool {
        let AddressBudget { budget, address } = &self.budget;
        let mut used = budget.0.used.lock();
        // Bytes of other shares, in total and of this address.
        let (total, of_address) =
            (used.total - self.bytes, used.bytes_of(*address).saturating_sub(self.bytes));
        let is_within = |others: usize, limit: usize| {
            others.saturating_add(bytes) <= limit || (only_share_may_exceed && others == 0)
        };
        let fits = is_within(total, budget.0.limit) && is_within(of_address, budget.0.limit_of(*address));
        if bytes > self.bytes && !fits {
            return false;
        }
        used.set(*address, of_address + bytes);
        used.total = total + bytes;
        drop(used);
        if bytes < self.bytes {
            budget.0.freed.notify_waiters();
        }
        self.bytes = bytes;
        true
    }
}

impl BudgetState {
    fn limit_of(&self, address: Option<IpAddr>) -> usize {
        if address.is_some() { self.address_limit } else { self.limit }
    }
}

impl UsedBytes {
    fn bytes_of(&self, address: Option<IpAddr>) -> usize {
        address.and_then(|address| self.by_address.get(&address).copied()).unwrap_or(0)
    }

    fn set(&mut self, address: Option<IpAddr>, bytes: usize) {
        match address {
            Some(address) if bytes == 0 => drop(self.by_address.remove(&address)),
            Some(address) => drop(self.by_address.insert(address, bytes)),
            None => {}
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn responses_of_a_client_are_limited_except_the_first() {
        let budget = ResponseBudget::new(900 << 10, 600 << 10);
        let client = |text: &str| Client::Address(text.parse().unwrap());
        let respond = |client: Client, kilobytes: usize| {
            let reservation = budget.reserve(client)?;
            reservation.charge(Response::new(Body::full(vec![0; kilobytes << 10])))
        };
        let (first_client, second_client) = (client("192.0.2.1"), client("192.0.2.2"));
        let huge = respond(first_client, 5000).expect("the only response");
        assert_eq!(huge.body().known_size(), Some(5000 << 10));
        assert!(
            respond(first_client, 1).is_err() && respond(second_client, 1).is_err(),
            "the total is exceeded"
        );
        assert!(respond(Client::Admin, 5000).is_ok(), "the admin socket has no limit");
        drop(huge);
        let responses: Vec<_> = (0..3).map_while(|_| respond(first_client, 150).ok()).collect();
        assert_eq!(responses.len(), 3, "256 kB are reserved while a response is made");
        assert_eq!(respond(first_client, 150).err().map(|failure| failure.status.as_u16()), Some(503));
        let large = respond(second_client, 400).expect("the first response to this client");
        assert!(respond(second_client, 1).is_err(), "all are in use");
        drop((responses, large));
        let shared: Vec<_> = (0..9).map_while(|_| respond(Client::Shared, 200).ok()).collect();
        assert_eq!(shared.len(), 4, "only the total is limited");
        drop(shared);
        let used = budget.memory.0.used.lock();
        assert!(used.by_address.is_empty() && used.total == 0);
    }

    #[tokio::test]
    async fn the_rest_of_a_response_waits_for_memory() {
        let budget = ResponseBudget::new(600 << 10, 600 << 10);
        let client = Client::Address("192.0.2.1".parse().unwrap());
        let mut others: Vec<_> = (0..2).map(|_| budget.reserve(client).expect("free")).collect();
        assert!(budget.reserve(client).is_err());
        let mut rest = Box::pin(budget.reserve_later(client));
        assert!(rest.as_mut().now_or_never().is_none());
        others.pop();
        assert!(rest.await.is_ok());
    }

    #[tokio::test]
    async fn a_limited_number_of_requests_for_files_waits_for_memory() {
        let budget = ResponseBudget::new(8 << 20, 8 << 20);
        let client = Client::Address("192.0.2.1".parse().unwrap());
        let reserve = || Box::pin(budget.reserve_for_file(client));
        let mut others: Vec<_> =
            (0..2).map(|_| reserve().now_or_never().expect("it does not wait").expect("free")).collect();
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING_PER_ADDRESS {
            let mut wait = reserve();
            assert!(wait.as_mut().now_or_never().is_none());
            waiting.push(wait);
        }
        let refused = reserve().now_or_never().expect("it does not wait");
        assert_eq!(refused.err().map(|failure| failure.status.as_u16()), Some(503));
        others.pop();
        let reserved = waiting.pop().expect("one").await;
        assert!(reserved.is_ok() && budget.reserve(client).is_ok(), "other responses have their own memory");
        assert!(reserve().now_or_never().is_none(), "its place is free");
        drop((waiting, others, reserved));
        let places = budget.places.0.used.lock();
        assert!(places.by_address.is_empty() && places.total == 0);
    }

    #[test]
    fn the_budget_is_limited_per_client_and_in_total_and_is_returned() {
        let budget = MemoryBudget::new(10, 6);
        let share_of =
            |text: &str| budget.for_address(Client::Address(text.parse().unwrap())).unwrap().share();
        let (mut a, mut same, mut b) =
            (share_of("192.0.2.1"), share_of("::ffff:192.0.2.1"), share_of("192.0.2.2"));
        assert!(a.grow(4) && same.grow(2) && !same.grow(1), "one address in two forms");
        assert!(b.grow(4) && !b.grow(1), "all are taken");
        drop(a);
        assert!(b.grow(2) && !b.grow(1) && same.grow(2));
        drop((same, b));
        assert!(budget.0.used.lock().by_address.is_empty() && budget.0.used.lock().total == 0);
        let (mut first, mut neighbor) = (share_of("2001:db8::1"), share_of("2001:db8::ffff:2"));
        assert!(first.grow(6) && !neighbor.grow(1), "one IPv6 network");
    }
}
