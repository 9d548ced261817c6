//! Limits the average rate of reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The longest sleep, so that a stop is noticed.
const MAX_SLEEP: Duration = Duration::from_millis(200);

/// A limit of the average rate.
pub struct Pace {
    /// Bytes per second.
    rate: u64,
    /// When the next byte may be read.
    due: Mutex<Instant>,
    stopped: AtomicBool,
}

impl Pace {
    /// A limit in bytes per second.
    #[must_use]
    pub fn new(rate: u64) -> Pace {
        Pace { rate, due: Mutex::new(Instant::now()), stopped: AtomicBool::new(false) }
    }

    /// Ends all waits.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Returns how long to wait after `bytes` were read. A pause of the reader is not made up for.
    fn pause(&self, bytes: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "a time, not an exact number")]
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        let now = Instant::now();
        let mut due = self.due.lock();
        *due = (*due).max(now) + cost;
        *due - now
    }

    /// Waits on a thread after `bytes` were read.
    pub fn wait_blocking(&self, bytes: u64) {
        self.wait_while(bytes, || true);
    }

    /// Waits on a thread after `bytes` were read, as long as `goes_on` returns true.
    pub fn wait_while(&self, bytes: u64, goes_on: impl Fn() -> bool) {
        let mut left = self.pause(bytes);
        while !left.is_zero() && !self.is_stopped() && goes_on() {
            let part = left.min(MAX_SLEEP);
            std::thread::sleep(part);
            left -= part;
        }
    }

    /// Waits after `bytes` were read.
    pub async fn wait(&self, bytes: u64) {
        let mut left = self.pause(bytes);
        while !left.is_zero() && !self.is_stopped() {
            let part = left.min(MAX_SLEEP);
            tokio::time::sleep(part).await;
            left -= part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_an_average_and_pauses_are_not_made_up_for() {
        let pace = Pace { due: Mutex::new(Instant::now() - Duration::from_secs(60)), ..Pace::new(1000) };
        let first = pace.pause(500);
        assert!(first > Duration::from_millis(400) && first <= Duration::from_millis(500), "{first:?}");
        let both = pace.pause(500);
        assert!(both > Duration::from_millis(900) && both <= Duration::from_secs(1), "{both:?}");
    }

    #[test]
    fn a_long_wait_ends_soon_after_a_halt() {
        let pace = Pace::new(1);
        let asked = std::cell::Cell::new(0);
        // Three days otherwise.
        pace.wait_while(256 << 10, || asked.replace(asked.get() + 1) < 2);
        assert_eq!(asked.get(), 3);
    }
}
