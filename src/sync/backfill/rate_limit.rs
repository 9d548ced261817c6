//! Limits the rate of requests to a mirror over all connections, and pauses them while it is overloaded.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The highest rate that can be requested, per second.
pub(super) const MAX_RATE: u32 = 1000;

/// A rate limiter that admits one request at a time.
pub(super) struct RateLimit {
    /// Interval between two requests.
    interval: Duration,
    /// Time at which the next request may start.
    next: Mutex<Instant>,
}

impl RateLimit {
    /// A limiter for `rate` requests per second; `None` is unlimited.
    pub(super) fn new(rate: Option<u32>) -> RateLimit {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        RateLimit { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits until the caller may send a request.
    pub(super) async fn acquire(&self) {
        let at = self.take(Instant::now()).await;
        tokio::time::sleep_until(at).await;
    }

    /// Reserves the next free instant from `now` on.
    async fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().await;
        let at = (*next).max(now);
        *next = at + self.interval;
        at
    }

    /// Admits no request before `until`.
    pub(super) async fn pause_until(&self, until: Instant) {
        let mut next = self.next.lock().await;
        *next = (*next).max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_sent_one_by_one_after_a_pause() {
        let (pace, now) = (RateLimit::new(Some(4)), Instant::now() + Duration::from_secs(10));
        let mut last = now;
        for _ in 0..9 {
            last = pace.take(now).await;
        }
        assert_eq!(last - now, Duration::from_secs(2));
        pace.pause_until(now + Duration::from_secs(30)).await;
        assert_eq!(pace.take(now).await - now, Duration::from_secs(30));
        pace.pause_until(now).await;
        assert_eq!(
            pace.take(now).await - now,
            Duration::from_millis(30_250),
            "a shorter rest is over before"
        );
    }

    #[tokio::test]
    async fn a_directory_has_no_rate_limit() {
        let (pace, now) = (RateLimit::new(None), Instant::now() + Duration::from_secs(10));
        for _ in 0..1000 {
            assert_eq!(pace.take(now).await, now);
        }
    }
}
