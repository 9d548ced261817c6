//! Retries: the failures that are retried, the pauses, and the limits.

use std::time::{Duration, Instant, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use parking_lot::Mutex;

use super::client::Limits;
use crate::UpstreamError;

/// Time of the last bytes from a mirror.
pub(super) struct LastActivity(Mutex<Instant>);

impl LastActivity {
    pub(super) fn new() -> LastActivity {
        LastActivity(Mutex::new(Instant::now()))
    }

    pub(super) fn record(&self) {
        *self.0.lock() = Instant::now();
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

/// Runs `work` until it succeeds, fails permanently, or reaches a limit; returns the last error.
pub(super) async fn with_retries<T, F, Fut>(
    limits: &Limits,
    url: &str,
    activity: &LastActivity,
    work: F,
) -> Result<T, UpstreamError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    let plan = ExponentialBuilder::default()
        .with_min_delay(limits.first_pause)
        .with_max_delay(limits.max_pause)
        .with_max_times(limits.max_retries)
        .with_jitter();
    let attempts = work
        .retry(plan)
        .when(|error| matches!(error, UpstreamError::Unavailable { .. }))
        .notify(|error, pause| {
            tracing::info!(target: "upstream", %error, ?pause, "the request to the mirror failed; retrying");
        })
        .adjust(|error, pause| {
            let pause = pause.filter(|pause| activity.elapsed() + *pause < limits.max_inactivity);
            pause_after(error, pause, limits.max_pause)
        });
    match tokio::time::timeout(limits.total_timeout, attempts).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Unavailable {
            url: url.to_owned(),
            reason: format!("not read within {} s", limits.total_timeout.as_secs_f32()),
            retry_after: None,
            is_of_mirror: false,
        }),
    }
}

/// Returns the pause after `error`: as planned, or the mirror's `Retry-After` if it is longer. `None` if there is no
/// further attempt: none is planned, the failure is permanent, or `Retry-After` exceeds `max_pause`.
pub(super) fn pause_after(
    error: &UpstreamError,
    planned_pause: Option<Duration>,
    max_pause: Duration,
) -> Option<Duration> {
    let planned_pause = planned_pause?;
    match error {
        UpstreamError::Unavailable { retry_after: Some(seconds), .. } => {
            let mirror_pause = Duration::from_secs(*seconds);
            (mirror_pause <= max_pause).then(|| mirror_pause.max(planned_pause))
        }
        UpstreamError::Unavailable { retry_after: None, .. } => Some(planned_pause),
        UpstreamError::Missing(_) | UpstreamError::Refused { .. } => None,
    }
}

/// Parses `Retry-After` (RFC 9110, 10.2.3) into seconds: a number, or a date relative to `now`.
pub fn retry_after(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(retry_after: Option<u64>) -> UpstreamError {
        UpstreamError::Unavailable {
            url: String::new(),
            reason: String::new(),
            retry_after,
            is_of_mirror: false,
        }
    }

    #[tokio::test]
    async fn a_mirror_that_sends_nothing_is_not_retried_repeatedly() {
        let limits = Limits {
            max_inactivity: Duration::from_secs(3600),
            first_pause: Duration::from_millis(1),
            max_retries: 5,
            ..Limits::default()
        };
        let (activity, attempts) = (LastActivity::new(), Mutex::new(0));
        for (is_active, expected) in [(false, 2), (true, 6)] {
            activity.record();
            *attempts.lock() = 0;
            let work = || async {
                *attempts.lock() += 1;
                if is_active {
                    activity.record();
                } else {
                    *activity.0.lock() -= limits.max_inactivity * 2 / 3;
                }
                Err::<(), _>(unavailable(None))
            };
            assert!(with_retries(&limits, "h", &activity, work).await.is_err());
            assert_eq!(*attempts.lock(), expected, "{is_active}");
        }
    }

    #[test]
    fn the_mirror_determines_the_pause_within_our_limit() {
        let (second, minute) = (Some(Duration::from_secs(1)), Duration::from_secs(60));
        assert_eq!(pause_after(&unavailable(None), second, minute), second);
        assert_eq!(pause_after(&unavailable(Some(7)), second, minute), Some(Duration::from_secs(7)));
        assert_eq!(pause_after(&unavailable(Some(0)), second, minute), second);
        assert_eq!(pause_after(&unavailable(Some(3600)), second, minute), None);
        assert_eq!(pause_after(&unavailable(Some(7)), None, minute), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        assert_eq!(retry_after(" 120 ", now), Some(120));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(30));
        assert_eq!(retry_after("Tue, 06 Nov 1984 08:49:37 GMT", now), Some(0));
        assert_eq!(retry_after("soon", now), None);
    }
}
