//! Limits the average rate of reading.

use std::sync::atomic::{AtomicBool, Ordering};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_an_average_and_its_unused_part_does_not_accumulate() {
        let pace =
            Pace { next_read_at: Mutex::new(Instant::now() - Duration::from_secs(60)), ..Pace::new(1000) };
        let first = pace.pause(500);
        assert!(first > Duration::from_millis(400) && first <= Duration::from_millis(500), "{first:?}");
        let both = pace.pause(500);
        assert!(both > Duration::from_millis(900) && both <= Duration::from_secs(1), "{both:?}");
    }

    #[test]
    fn a_long_wait_ends_soon_after_a_halt() {
        let pace = Pace::new(1);
        let check_count = std::cell::Cell::new(0);
        // Without the condition, the wait would take three days.
        pace.wait_while(256 << 10, || check_count.replace(check_count.get() + 1) < 2);
        assert_eq!(check_count.get(), 3);
    }
}
