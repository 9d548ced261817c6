//! Cron schedules in UTC, and the detection of missed runs.

use std::time::Duration;

use cronexpr::{Crontab, MakeTimestamp};

use base::model::time::{Clock, Timestamp, crontab};

/// Maximum length of one sleep, so that a change of the clock or a suspend of the machine is detected.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The year 9000: no schedule has a run later than some years after it.
const END_OF_SCHEDULES: i64 = 221_845_392_000_000_000;

/// A cron expression of five fields, in UTC.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Crontab,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' {reason}; write for example '0 0 * * *'")]
pub struct InvalidSchedule {
    text: String,
    reason: String,
}

impl std::str::FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Schedule, InvalidSchedule> {
        let invalid = |reason: String| InvalidSchedule { text: text.chars().take(80).collect(), reason };
        let cron = crontab(text).map_err(invalid)?;
        Ok(Schedule { cron })
    }
}

impl Schedule {
    /// Returns the first run after `now`; `None` if there is no further run (`0 0 30 2 *`).
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        // The library adds four years to the time, and panics if there is no such year.
        let now = MakeTimestamp::from_microsecond(now.0.min(END_OF_SCHEDULES)).ok()?;
        let next = self.cron.find_next(now).ok()?;
        Some(Timestamp(next.timestamp().as_microsecond()))
    }

    /// Returns whether a run was due between the last success and `now`, because the server was down or that run
    /// failed. False if there was no success yet: a new server sends mirrors no requests before an administrator syncs.
    pub fn is_missed(&self, last_success: Option<Timestamp>, now: Timestamp) -> bool {
        last_success.and_then(|last_success| self.next(last_success)).is_some_and(|due| due <= now)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// Name of the scheduled task: `cran`, `usage data`.
    pub name: &'static str,
    /// Five cron fields, UTC.
    pub cron: String,
    /// The last success, scheduled or manual.
    pub last: Option<Timestamp>,
    pub next: Option<Timestamp>,
}

impl ScheduleStatus {
    /// Returns the state as of `now`.
    pub fn at(name: &'static str, cron: &str, last: Option<Timestamp>, now: Timestamp) -> ScheduleStatus {
        let next = cron.parse().ok().and_then(|schedule: Schedule| schedule.next(now));
        ScheduleStatus { name, cron: cron.to_owned(), last, next }
    }
}

pub async fn sleep_until(clock: &Clock, until: Timestamp) {
    loop {
        let remaining = until.since(clock());
        if remaining.is_zero() {
            return;
        }
        tokio::time::sleep(remaining.min(MAX_SLEEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::SECOND;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("an instant").as_microsecond())
    }

    fn schedule(text: &str) -> Schedule {
        text.parse().expect(text)
    }

    #[test]
    fn five_fields_in_utc() {
        let next = |text: &str, now: &str| schedule(text).next(at(now)).map(|t| t.to_string());
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(next("0 0 * * *", "2026-03-01T00:00:00Z"), expected("2026-03-02T00:00:00Z"));
        assert_eq!(next("0 0 * * *", "2026-02-28T23:59:59.5Z"), expected("2026-03-01T00:00:00Z"));
        assert_eq!(next("*/15 6 * * MON", "2026-03-01T00:00:00Z"), expected("2026-03-02T06:00:00Z"));
        assert_eq!(next("0 0 1 JUL *", "2026-12-02T00:00:00Z"), expected("2027-07-01T00:00:00Z"));
        assert_eq!(next("0 12 29 2 *", "2026-01-01T00:00:00Z"), expected("2028-02-29T12:00:00Z"));
        assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z"), None);
        assert_eq!(
            schedule("0 0 * * *").next(Timestamp(i64::MAX)).map(|run| run.day().to_string().len()),
            Some(10)
        );
    }

    #[test]
    fn other_schedules_are_refused_with_an_example() {
        for bad in [
            "",
            "* * * *",
            "0 0 0 * * *",
            "0 0 * * * 2027",
            "0 0 * * * UTC",
            "61 0 * * *",
            "every day",
            "a b c d e",
            "0 0 L * *",
            "0 0 * * 5L",
        ] {
            let error = bad.parse::<Schedule>().expect_err(bad).to_string();
            let is_plain = error.contains("'0 0 * * *'") && !error.contains(['\n', '^']);
            assert!(is_plain && error.matches("UTC").count() == bad.matches("UTC").count(), "{error}");
        }
    }

    #[test]
    fn a_run_that_was_due_while_the_server_was_down_is_missed() {
        let schedule_of_midnight = schedule("0 0 * * *");
        let now = at("2026-03-02T09:00:00Z");
        assert!(!schedule_of_midnight.is_missed(None, now));
        assert!(schedule_of_midnight.is_missed(Some(at("2026-03-01T23:59:00Z")), now));
        assert!(!schedule_of_midnight.is_missed(Some(at("2026-03-02T00:00:01Z")), now));
        // A clock that was set back must not sync in a loop.
        assert!(!schedule_of_midnight.is_missed(Some(at("2026-03-05T00:00:00Z")), now));
    }

    #[tokio::test]
    async fn there_is_no_wait_for_an_instant_in_the_past() {
        let now = Arc::new(AtomicI64::new(0));
        let shared = now.clone();
        let clock: Clock = Arc::new(move || Timestamp(shared.fetch_add(SECOND / 100, Ordering::SeqCst)));
        sleep_until(&clock, Timestamp(-1)).await;
        sleep_until(&clock, Timestamp(SECOND / 25)).await;
        assert!(now.load(Ordering::SeqCst) > SECOND / 25);
    }
}
