//! Days of tests that compare with the clock of a server.

use std::time::Duration;

/// Returns the current day in UTC, which does not end within the next two minutes: shortly before midnight, waits for
/// the next day.
pub(crate) fn stable_today() -> jiff::civil::Date {
    const DAY: i64 = 86_400;
    const MARGIN: i64 = 120;
    let rest = DAY - jiff::Timestamp::now().as_second().rem_euclid(DAY);
    if rest <= MARGIN {
        std::thread::sleep(Duration::from_secs(rest.unsigned_abs() + 1));
    }
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}
