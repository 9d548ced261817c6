//! The times of log rotation: once a day at local midnight, or later if the server was not running. Pure.

use std::time::Duration;

use jiff::{Timestamp, ToSpan, Zoned};

/// Maximum interval between checks, because the clock may be set.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(3600);
/// Minimum interval between rotations of a file, regardless of changes of the clock.
const MIN_ROTATION_INTERVAL: Duration = Duration::from_secs(12 * 3600);

/// Returns true if a file is to be rotated: `start`, the time of its first line, is on an earlier day.
/// `since_rotation` is the time since this process last rotated it, by the monotonic clock.
pub fn is_due(start: Timestamp, now: &Zoned, since_rotation: Option<Duration>) -> bool {
    if since_rotation.is_some_and(|interval| interval < MIN_ROTATION_INTERVAL) {
        return false;
    }
    let midnight = now.start_of_day().map_or(now.timestamp(), |midnight| midnight.timestamp());
    // A file that was created while the clock was wrong, with a time in the future, is due now.
    let is_in_future = now.timestamp().checked_add(24.hours()).is_ok_and(|tomorrow| start > tomorrow);
    start < midnight || is_in_future
}

pub fn time_until_check(now: &Zoned) -> Duration {
    let next = now.date().tomorrow().and_then(|date| date.to_zoned(now.time_zone().clone()));
    let remaining = next.map_or(MAX_CHECK_INTERVAL, |next| now.duration_until(&next).unsigned_abs());
    remaining.clamp(Duration::from_secs(1), MAX_CHECK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Zoned {
        format!("{text}[Europe/Berlin]").parse().expect("a time")
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_file_of_yesterday_is_due_from_midnight() {
        let start = time("2026-11-19T23:59:59").timestamp();
        assert!(!is_due(start, &time("2026-11-19T23:59:59"), None));
        assert!(is_due(start, &time("2026-11-20T00:00:00"), None));
        assert!(is_due(start, &time("2026-12-24T18:00:00"), None));
        assert!(!is_due(time("2026-11-20T00:00:00").timestamp(), &time("2026-11-20T23:00:00"), None));
    }

    #[test]
    fn days_without_midnight_and_with_25_hours_are_handled() {
        let cairo = |text: &str| format!("{text}[Africa/Cairo]").parse::<Zoned>().expect("a time");
        assert!(is_due(cairo("2026-04-23T23:59:00").timestamp(), &cairo("2026-04-24T01:00:00"), None));
        assert!(!is_due(cairo("2026-04-24T01:00:00").timestamp(), &cairo("2026-04-24T01:30:00"), None));
        assert!(!is_due(time("2026-10-25T00:30:00").timestamp(), &time("2026-10-25T23:30:00"), None));
    }

    #[test]
    fn a_clock_jump_causes_only_one_rotation() {
        let start = time("2026-11-20T10:00:00").timestamp();
        // The clock is set forward by years: the file is rotated once.
        assert!(is_due(start, &time("2030-01-01T10:00:00"), None));
        // The clock is set back: the file is from 2030.
        let start = time("2030-01-01T10:00:00").timestamp();
        assert!(!is_due(start, &time("2026-11-20T10:00:00"), Some(HOUR)));
        assert!(is_due(start, &time("2026-11-20T22:00:00"), Some(12 * HOUR)));
        // The clock is set back over midnight: the file is not rotated again.
        let start = time("2026-11-20T00:00:00").timestamp();
        assert!(!is_due(start, &time("2026-11-19T23:59:00"), None));
    }

    #[test]
    fn the_wait_ends_at_midnight_or_after_an_hour() {
        assert_eq!(time_until_check(&time("2026-11-20T10:00:00")), HOUR);
        assert_eq!(time_until_check(&time("2026-11-20T23:30:00")), HOUR / 2);
        assert_eq!(time_until_check(&time("2026-11-20T23:59:59.9")), Duration::from_secs(1));
        assert_eq!(time_until_check(&Zoned::new(Timestamp::MAX, jiff::tz::TimeZone::UTC)), HOUR);
    }
}
