//! The demand of clients, to which the reading of stored objects in the background yields.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// The share of the time that a background reader uses: all of it on an idle server, and a tenth in small
/// pieces while requests arrive.
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
