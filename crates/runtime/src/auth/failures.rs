//! Limits requests with invalid credentials, per client address and per prefix of a token, to prevent guessing of
//! tokens and overload of the server. A valid token is never refused because of these limits. Also limits the refusals
//! that are recorded per valid token, the sign-ins that a client address begins (because the server has a limited
//! number of sign-ins in progress), and the codes of devices that a user or a client enters.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::secret::Prefix;
use base::model::ids::Identity;
use base::model::time::Timestamp;

/// Number of failures that are accepted as a burst.
const BURST: u32 = 20;
/// Interval in which one more failure is accepted.
const FAILURE_INTERVAL: Duration = Duration::from_secs(1);
/// Number of wrong codes of devices that are accepted as a burst.
const CODE_BURST: u32 = 10;
/// Interval in which one more change that a token does not permit is recorded.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(60);
/// Interval in which a client may begin one more sign-in of a browser.
const LOGIN_INTERVAL: Duration = Duration::from_secs(1);
/// Interval in which a client may begin one more sign-in of a device. It is longer than
/// [`LOGIN_INTERVAL`], because the server allows fewer sign-ins of devices at a time.
const DEVICE_INTERVAL: Duration = Duration::from_secs(3);
/// Interval in which one more code of a device is accepted from a user, and one more wrong code from a client: ten a minute.
const CODE_INTERVAL: Duration = Duration::from_secs(6);
/// Half of the maximum number of keys of [`Buckets`] in memory; the older half is discarded as a whole.
const CAPACITY: usize = 10_000;

/// The counters of recent failures and of the other limited events.
pub(super) struct Failures {
    address_failures: Mutex<Buckets<IpAddr>>,
    prefix_failures: Mutex<Buckets<Prefix>>,
    refusals: Mutex<Buckets<Identity>>,
    logins: Mutex<Buckets<IpAddr>>,
    devices: Mutex<Buckets<IpAddr>>,
    codes: Mutex<Buckets<Arc<str>>>,
    wrong_codes: Mutex<Buckets<IpAddr>>,
}

impl Failures {
    pub(super) fn new() -> Failures {
        Failures {
            address_failures: Mutex::new(Buckets::new(BURST, FAILURE_INTERVAL)),
            prefix_failures: Mutex::new(Buckets::new(BURST, FAILURE_INTERVAL)),
            refusals: Mutex::new(Buckets::new(BURST, REFUSAL_INTERVAL)),
            logins: Mutex::new(Buckets::new(BURST, LOGIN_INTERVAL)),
            devices: Mutex::new(Buckets::new(BURST, DEVICE_INTERVAL)),
            codes: Mutex::new(Buckets::new(BURST, CODE_INTERVAL)),
            wrong_codes: Mutex::new(Buckets::new(CODE_BURST, CODE_INTERVAL)),
        }
    }

    /// Counts a sign-in of a browser, or of a device, that a client begins. Fails if the limit is reached; returns the
    /// seconds until the next one is accepted.
    pub(super) fn count_sign_in(
        &self,
        address: IpAddr,
        is_of_device: bool,
        now: Timestamp,
    ) -> Result<(), u64> {
        let buckets = if is_of_device { &self.devices } else { &self.logins };
        buckets.lock().add(address, now)
    }

    /// Counts a code of a device that a user enters.
    pub(super) fn count_code(&self, user: Arc<str>, now: Timestamp) -> Result<(), u64> {
        self.codes.lock().add(user, now)
    }

    /// Returns whether a refused change of a token should be recorded in the audit trail, and counts it.
    pub(super) fn records_refusal(&self, token: Identity, now: Timestamp) -> bool {
        self.refusals.lock().add(token, now).is_ok()
    }

    /// Counts a wrong code of a device that a client entered at `now`.
    pub(super) fn count_wrong_code(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.wrong_codes.lock().add(address, now)
    }

    /// Counts a request of a client with invalid credentials at `now`.
    pub(super) fn count(&self, address: IpAddr, prefix: Option<Prefix>, now: Timestamp) -> Result<(), u64> {
        // Both limits count the failure, even if the first is reached.
        let address_result = self.address_failures.lock().add(address, now);
        let prefix_result = prefix.map_or(Ok(()), |prefix| self.prefix_failures.lock().add(prefix, now));
        address_result.and(prefix_result)
    }
}

/// A leaky bucket for each key, stored as the time at which it will be empty. Each failure adds [`Buckets::interval`]
/// (the generic cell rate algorithm).
struct Buckets<K> {
    /// Maximum number of consecutive failures without a pause.
    burst: u32,
    interval: Duration,
    /// The keys that were added since the last discard; new keys are added here.
    newer: HashMap<K, Timestamp>,
    /// The keys that are discarded when `newer` is full.
    older: HashMap<K, Timestamp>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(burst: u32, interval: Duration) -> Buckets<K> {
        Buckets { burst, interval, newer: HashMap::new(), older: HashMap::new() }
    }

    /// Adds a failure at `now`. If the bucket is full, returns the seconds until another failure is accepted.
    fn add(&mut self, key: K, now: Timestamp) -> Result<(), u64> {
        let end = now + self.burst * self.interval;
        let stored = self.newer.get(&key).or_else(|| self.older.get(&key)).copied().unwrap_or(now);
        // A clock that was set back empties the bucket.
        let empty_at = if stored > end { now } else { stored.max(now) };
        let next = empty_at + self.interval;
        if next > end {
            return Err(next.since(end).as_secs() + 1);
        }
        if self.newer.len() >= CAPACITY && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(key, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::SECOND;

    const NOW: Timestamp = Timestamp(1_790_000_000 * SECOND);

    #[test]
    fn twenty_failures_are_accepted_then_one_each_second() {
        let mut buckets = Buckets::new(BURST, FAILURE_INTERVAL);
        for number in 0..BURST {
            assert_eq!(buckets.add(1, NOW), Ok(()), "{number}");
        }
        assert_eq!(buckets.add(1, NOW), Err(2));
        assert_eq!(buckets.add(2, NOW), Ok(()), "another client");
        assert_eq!(buckets.add(1, NOW + Duration::from_secs(1)), Ok(()));
        assert!(buckets.add(1, NOW + Duration::from_secs(1)).is_err());
        for number in 0..BURST {
            assert_eq!(buckets.add(1, NOW + Duration::from_secs(60)), Ok(()), "{number}");
        }
        assert!(buckets.add(1, NOW + Duration::from_secs(60)).is_err());
        assert_eq!(buckets.add(1, NOW - Duration::from_secs(3_600)), Ok(()), "the clock was set back");
        assert_eq!(buckets.add(3, Timestamp(i64::MAX)), Ok(()));
        assert_eq!(buckets.add(3, Timestamp(i64::MIN)), Ok(()));
    }

    #[test]
    fn the_number_of_clients_in_memory_is_limited() {
        let mut buckets = Buckets::new(BURST, FAILURE_INTERVAL);
        for key in 0..5 * CAPACITY {
            assert_eq!(buckets.add(key, NOW), Ok(()));
            assert!(buckets.newer.len() + buckets.older.len() <= 2 * CAPACITY);
        }
    }

    #[test]
    fn ten_wrong_codes_are_accepted_in_a_minute() {
        let failures = Failures::new();
        let address = IpAddr::from([203, 0, 113, 1]);
        for number in 0..CODE_BURST {
            assert_eq!(failures.count_wrong_code(address, NOW), Ok(()), "{number}");
        }
        assert_eq!(failures.count_wrong_code(address, NOW), Err(7));
        assert_eq!(failures.count_wrong_code(address, NOW + Duration::from_secs(6)), Ok(()));
        assert!(failures.count_wrong_code(address, NOW + Duration::from_secs(6)).is_err());
        assert_eq!(failures.count(address, None, NOW), Ok(()), "another limit");
    }

    #[test]
    fn failures_count_for_the_address_and_for_the_prefix() {
        let failures = Failures::new();
        let now = NOW;
        let address = |n: u8| IpAddr::from([203, 0, 113, n]);
        let prefix = Prefix::of("rspm_abcdefghij").expect("long enough");
        for n in 0..20 {
            assert_eq!(failures.count(address(n), Some(prefix), now), Ok(()));
        }
        assert!(failures.count(address(100), Some(prefix), now).is_err(), "of many addresses");
        assert_eq!(failures.count(address(101), None, now), Ok(()));
    }

    #[test]
    fn one_client_cannot_begin_all_sign_ins_and_one_user_cannot_guess_codes() {
        let failures = Failures::new();
        let client = |n: u8| IpAddr::from([203, 0, 113, n]);
        let begun = |n: u8, is_of_device: bool| {
            let seconds = 0..600;
            let results = seconds
                .map(|s| failures.count_sign_in(client(n), is_of_device, NOW + Duration::from_secs(s)));
            results.filter(Result::is_ok).count()
        };
        // In ten minutes, the maximum duration of a sign-in. The server allows 10,000 sign-ins of browsers and 1,000
        // of devices at a time.
        assert_eq!(begun(1, false), 600);
        assert!((200..=230).contains(&begun(1, true)));
        let at_once =
            |n: u8| (0..100).filter(|_| failures.count_sign_in(client(n), false, NOW).is_ok()).count();
        assert_eq!(at_once(2), 20);
        let user: Arc<str> = "ann-id".into();
        let tries = (0..100).filter(|_| failures.count_code(Arc::clone(&user), NOW).is_ok());
        assert_eq!(tries.count(), 20);
        assert_eq!(failures.count_code(Arc::clone(&user), NOW + Duration::from_secs(1)), Err(6));
        assert_eq!(failures.count_code("bob-id".into(), NOW), Ok(()), "another user");
    }
}
