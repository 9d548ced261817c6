//! Limits the rate of requests to a mirror over all connections, and pauses them while it is overloaded.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The highest rate that can be requested, per second.
pub(super) const MAX_RATE: u32 = 1000;

/// Admits requests with a minimum interval between their starts.
pub(super) struct RateLimit {
    interval: Duration,
    times: Mutex<Times>,
}

struct Times {
    /// Earliest start of the next request.
    next_start: Instant,
    /// End of the last pause.
    pause_end: Instant,
}

impl RateLimit {
    /// Creates a limiter for `rate` requests per second; `None` means no limit.
    pub(super) fn new(rate: Option<u32>) -> RateLimit {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let now = Instant::now();
        RateLimit { interval, times: Mutex::new(Times { next_start: now, pause_end: now }) }
    }

    /// Waits until the caller may send a request.
    pub(super) async fn acquire(&self) {
        loop {
            let at = self.reserve(Instant::now()).await;
            tokio::time::sleep_until(at).await;
            // A pause that began in the meantime applies to this request, too.
            if self.times.lock().await.pause_end <= Instant::now() {
                return;
            }
        }
    }

    /// Reserves the next free instant from `now` on.
    async fn reserve(&self, now: Instant) -> Instant {
        let mut times = self.times.lock().await;
        let at = times.next_start.max(now);
        times.next_start = at + self.interval;
        at
    }

    /// Admits no request before `until`.
    pub(super) async fn pause_until(&self, until: Instant) {
        let mut times = self.times.lock().await;
        times.next_start = times.next_start.max(until);
        times.pause_end = times.pause_end.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_sent_one_by_one_after_a_pause() {
        let (limit, now) = (RateLimit::new(Some(4)), Instant::now() + Duration::from_secs(10));
        let mut send_time = now;
        for _ in 0..9 {
            send_time = limit.reserve(now).await;
        }
        assert_eq!(send_time - now, Duration::from_secs(2));
        limit.pause_until(now + Duration::from_secs(30)).await;
        assert_eq!(limit.reserve(now).await - now, Duration::from_secs(30));
        limit.pause_until(now).await;
        assert_eq!(
            limit.reserve(now).await - now,
            Duration::from_millis(30_250),
            "an earlier end does not shorten a pause"
        );
    }

    #[tokio::test]
    async fn a_pause_applies_to_requests_that_wait_for_their_instant() {
        let limit = std::sync::Arc::new(RateLimit::new(Some(20)));
        limit.acquire().await;
        let waiter = tokio::spawn({
            let limit = limit.clone();
            async move { limit.acquire().await }
        });
        tokio::task::yield_now().await;
        let until = Instant::now() + Duration::from_millis(200);
        limit.pause_until(until).await;
        waiter.await.expect("acquired");
        assert!(Instant::now() >= until);
    }

    #[tokio::test]
    async fn a_directory_has_no_rate_limit() {
        let (limit, now) = (RateLimit::new(None), Instant::now() + Duration::from_secs(10));
        for _ in 0..1000 {
            assert_eq!(limit.reserve(now).await, now);
        }
    }
}
