//! Limits the average rate of reading in the background, and yields to the demand of clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Maximum duration of a sleep, after which a stop is checked for.
const MAX_SLEEP: Duration = Duration::from_millis(200);

pub struct Pace {
    /// Bytes per second.
    rate: u64,
    /// Time from which the next byte may be read.
    next_read_at: Mutex<Instant>,
    is_stopped: AtomicBool,
}

impl Pace {
    /// Creates a limit in bytes per second.
    pub fn new(rate: u64) -> Pace {
        Pace { rate, next_read_at: Mutex::new(Instant::now()), is_stopped: AtomicBool::new(false) }
    }

    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Returns the pause after `bytes` were read. An unused part of the rate does not accumulate.
    fn pause(&self, bytes: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "a time, not an exact number")]
        let duration = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        let now = Instant::now();
        let mut next_read_at = self.next_read_at.lock();
        *next_read_at = (*next_read_at).max(now) + duration;
        *next_read_at - now
    }

    /// Blocks the thread after `bytes` were read, until more may be read.
    pub fn wait_blocking(&self, bytes: u64) {
        self.wait_while(bytes, || true);
    }

    /// Like [`Pace::wait_blocking`], but only as long as `is_wanted` returns true.
    pub fn wait_while(&self, bytes: u64, is_wanted: impl Fn() -> bool) {
        let mut remaining = self.pause(bytes);
        while !remaining.is_zero() && !self.is_stopped() && is_wanted() {
            let part = remaining.min(MAX_SLEEP);
            std::thread::sleep(part);
            remaining -= part;
        }
    }

    /// Waits after `bytes` were read, until more may be read.
    pub async fn wait(&self, bytes: u64) {
        let mut remaining = self.pause(bytes);
        while !remaining.is_zero() && !self.is_stopped() {
            let part = remaining.min(MAX_SLEEP);
            tokio::time::sleep(part).await;
            remaining -= part;
        }
    }
}

/// Number of requests of clients. Background readers compare it between two reads.
#[derive(Default)]
pub(super) struct Demand(AtomicU64);

impl Demand {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Time after a request during which further ones are expected.
const BUSY_TIME: Duration = Duration::from_millis(100);
/// Bytes of one read while requests are expected: a request that arrives during a read competes with the rest
/// of it for processor, caches and disk.
pub(super) const BUSY_READ_SIZE: usize = 32 << 10;
/// Ratio of a pause to the read before it while requests are expected.
const PAUSE_FACTOR: u32 = 9;
/// Maximum pause after a read; without it, the long reads of a slow disk would cause long pauses.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The share of time of a background reader: all of it on an idle server, a tenth while requests arrive.
#[derive(Default)]
pub(super) struct DutyCycle {
    /// Whether all of the time is used even while requests arrive.
    is_unlimited: bool,
    last_count: u64,
    busy_until: Option<Instant>,
}

impl DutyCycle {
    /// Returns a duty cycle that always uses all of the time.
    pub(super) fn unlimited() -> DutyCycle {
        DutyCycle { is_unlimited: true, ..DutyCycle::default() }
    }

    /// Returns the size of the next read, at most `max_size` bytes.
    pub(super) fn read_size(&mut self, demand: &Demand, now: Instant, max_size: usize) -> usize {
        if self.is_busy(demand, now) { max_size.min(BUSY_READ_SIZE) } else { max_size }
    }

    /// Returns the pause after a read that took `read_time`.
    pub(super) fn pause(&mut self, demand: &Demand, now: Instant, read_time: Duration) -> Duration {
        match self.is_busy(demand, now) {
            true => (read_time * PAUSE_FACTOR).min(MAX_PAUSE),
            false => Duration::ZERO,
        }
    }

    fn is_busy(&mut self, demand: &Demand, now: Instant) -> bool {
        let count = demand.count();
        if count != self.last_count {
            self.last_count = count;
            self.busy_until = Some(now + BUSY_TIME);
        }
        !self.is_unlimited && self.busy_until.is_some_and(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_an_average_and_its_unused_part_does_not_accumulate() {
        let pace =
            Pace { next_read_at: Mutex::new(Instant::now() - Duration::from_secs(60_000)), ..Pace::new(1) };
        let first = pace.pause(5000);
        assert!(first > Duration::from_secs(4000) && first <= Duration::from_secs(5000), "{first:?}");
        let both = pace.pause(5000);
        assert!(both > Duration::from_secs(9000) && both <= Duration::from_secs(10_000), "{both:?}");
    }

    #[test]
    fn a_long_wait_ends_soon_after_a_halt() {
        let pace = Pace::new(1);
        let check_count = std::cell::Cell::new(0);
        // Without the condition, the wait would take three days.
        pace.wait_while(256 << 10, || check_count.replace(check_count.get() + 1) < 2);
        assert_eq!(check_count.get(), 3);
    }

    #[test]
    fn reads_are_small_and_rare_while_requests_arrive_and_whole_afterwards() {
        let (demand, start, max_size) = (Demand::default(), Instant::now(), 256 << 10);
        let mut cycle = DutyCycle::default();
        let read_time = Duration::from_millis(1);
        assert_eq!(cycle.read_size(&demand, start, max_size), max_size);
        assert_eq!(cycle.pause(&demand, start, read_time), Duration::ZERO);
        demand.add();
        assert_eq!(cycle.read_size(&demand, start, max_size), BUSY_READ_SIZE);
        assert_eq!(cycle.pause(&demand, start, read_time), Duration::from_millis(9));
        assert_eq!(cycle.pause(&demand, start, Duration::from_secs(9)), MAX_PAUSE);
        let later = start + BUSY_TIME;
        assert_eq!(cycle.read_size(&demand, later, max_size), max_size);
        assert_eq!(cycle.pause(&demand, later, read_time), Duration::ZERO);
        demand.add();
        assert_eq!(cycle.read_size(&demand, later, 1000), 1000);
        let mut unlimited = DutyCycle::unlimited();
        assert_eq!(unlimited.read_size(&demand, later, max_size), max_size);
        assert_eq!(unlimited.pause(&demand, later, read_time), Duration::ZERO);
    }
}
