//! Instants in microseconds since the epoch, and UTC days, which are names of snapshots.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00 UTC, as every table stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A clock. The daemon uses the system clock, tests an adjustable one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

/// Microseconds in a day.
pub const DAY: i64 = 86_400 * SECOND;

/// Converts a duration to microseconds, at most [`i64::MAX`] (292,000 years).
pub fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Timestamp {
    /// Converts seconds since the epoch, as in R's `POSIXct`, rounded down to whole seconds. `None` if the value is not
    /// finite, or is outside the years 0 to 9999.
    pub fn from_r_seconds(seconds: f64) -> Option<Timestamp> {
        let whole_seconds = seconds.floor();
        if !whole_seconds.is_finite() || !(-62_167_219_200.0..=253_402_300_799.0).contains(&whole_seconds) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the range was checked above")]
        Some(Timestamp(whole_seconds as i64 * SECOND))
    }

    /// Returns the time since an earlier instant; zero if that instant is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the time between two instants, in any order.
    pub fn abs_diff(self, other: Timestamp) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// Returns whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// Returns the UTC day of this instant.
    pub fn day(self) -> Day {
        Day(self.civil().date())
    }

    /// Returns the number of whole days since the epoch, of which the UTC day of this instant is the next one.
    pub fn day_number(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    /// Returns the calendar time in UTC. Instants outside jiff's range are clamped to it.
    pub fn civil(self) -> jiff::civil::DateTime {
        let nearest = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let instant = jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest);
        instant.to_zoned(jiff::tz::TimeZone::UTC).datetime()
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Returns a later instant, at most the last one that can be represented.
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(microseconds(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    /// Returns an earlier instant, at least the first one that can be represented.
    fn sub(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(microseconds(duration)))
    }
}

impl fmt::Display for Timestamp {
    /// Formats as RFC 3339 in UTC, with microseconds unless they are 0: `2026-11-20T07:50:28Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.civil();
        let micros = self.0.rem_euclid(SECOND);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        write_digits(&mut text[5..7], i64::from(time.month()));
        write_digits(&mut text[8..10], i64::from(time.day()));
        write_digits(&mut text[11..13], i64::from(time.hour()));
        write_digits(&mut text[14..16], i64::from(time.minute()));
        write_digits(&mut text[17..19], i64::from(time.second()));
        let length = if micros == 0 {
            text[19] = b'Z';
            20
        } else {
            write_digits(&mut text[20..26], micros);
            27
        };
        let year = i64::from(time.year());
        let start = if (0..=9999).contains(&year) {
            write_digits(&mut text[..4], year);
            0
        } else {
            write!(f, "{year:04}")?;
            4
        };
        // One write, because a page has thousands of times.
        f.write_str(std::str::from_utf8(&text[start..length]).unwrap_or_default())
    }
}

/// Writes the last digits of a number that is not negative, as many as the buffer has bytes.
fn write_digits(buffer: &mut [u8], mut number: i64) {
    for byte in buffer.iter_mut().rev() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a digit")]
        let digit = number.rem_euclid(10) as u8;
        *byte = b'0' + digit;
        number /= 10;
    }
}

/// A text that is not an instant in the form of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time written YYYY-MM-DDThh:mm:ssZ")]
pub struct BadTimestamp(pub String);

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Timestamp, BadTimestamp> {
        let instant = text.parse::<jiff::Timestamp>();
        instant
            .map(|t| Timestamp(t.as_microsecond()))
            .map_err(|_| BadTimestamp(text.chars().take(40).collect()))
    }
}

/// As RFC 3339.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A calendar day in UTC, written `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(jiff::civil::Date);

/// A text that is not a calendar day written `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a date written YYYY-MM-DD")]
pub struct BadDay(pub String);

impl Day {
    /// Returns the first instant of this day.
    pub fn start(self) -> Timestamp {
        let midnight = self.0.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
        Timestamp(midnight.map_or(i64::MAX, |z| z.timestamp().as_microsecond()))
    }

    /// Returns the first instant after this day. The state of the day is what was published before it.
    pub fn end(self) -> Timestamp {
        Timestamp(self.start().0.saturating_add(DAY))
    }

    /// Returns the number of days from 1970-01-01 to this day.
    pub fn number(self) -> i64 {
        self.start().day_number()
    }

    /// Returns the day that is `number` days after 1970-01-01. Numbers outside jiff's range are clamped to it.
    pub fn from_number(number: i64) -> Day {
        Timestamp(number.saturating_mul(DAY)).day()
    }
}

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Day, BadDay> {
        let error = || BadDay(text.chars().take(40).collect());
        let bytes = text.as_bytes();
        let is_well_formed = bytes.len() == 10
            && bytes.iter().enumerate().all(
                |(i, b)| {
                    if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() }
                },
            );
        if !is_well_formed {
            return Err(error());
        }
        text.parse().map(Day).map_err(|_| error())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

/// Parses a schedule: five cron fields, in UTC.
///
/// # Errors
/// The reason, in one line that continues a sentence about the text.
pub fn crontab(text: &str) -> Result<cronexpr::Crontab, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [_, _, day, _, weekday] = fields[..] else {
        let message = "must have five fields: minute, hour, day of month, month, weekday";
        return Err(format!("{message} (it has {})", fields.len()));
    };
    if weekday.split([',', '-']).any(|part| part.split('/').next() == Some("7")) {
        return Err("must have weekdays from 0 (Sunday) to 6 (Saturday)".to_owned());
    }
    // cronexpr 1.7 does not find the last day of December.
    if [day, weekday].iter().any(|field| field.contains('L')) {
        return Err("is not a schedule: L, the last day or weekday of a month, is not supported".to_owned());
    }
    // Without a name of a time zone: to find one, all folders of the time zones of the system would be read.
    let mut options = cronexpr::ParseOptions::default();
    options.fallback_timezone_option = cronexpr::FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(text, options).map_err(|error| {
        // The reason follows the text and a mark below it.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches([' ', '^']);
        format!("is not a schedule: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_half_open() {
        let day: Day = "2024-02-29".parse().expect("a leap day");
        assert_eq!(day.start().to_string(), "2024-02-29T00:00:00Z");
        assert_eq!(day.end().to_string(), "2024-03-01T00:00:00Z");
        assert_eq!(Timestamp(day.end().0 - 1).day(), day);
        assert_eq!(day.end().day().to_string(), "2024-03-01");
        assert_eq!([day.number(), Timestamp(-1).day_number()], [19_782, -1]);
        assert_eq!([Day::from_number(19_782), Day::from_number(-1)].map(Day::number), [19_782, -1]);
    }

    #[test]
    fn instants_beyond_the_range_are_its_ends() {
        let ends = [i64::MIN, 253_402_300_799 * SECOND, i64::MAX].map(|at| Timestamp(at).day().to_string());
        assert_eq!(ends, ["-9999-01-02", "9999-12-30", "9999-12-30"]);
        assert_eq!(Day::from_number(i64::MAX).to_string(), "9999-12-30");
    }

    #[test]
    fn a_day_has_only_one_spelling() {
        for bad in ["2024-2-29", "2023-02-29", "20240229", "2024-02-29 ", "+024-02-29", "2024-02-3é", ""] {
            assert!(bad.parse::<Day>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_instant_is_read_back_from_its_text() {
        for instant in [Timestamp(0), Timestamp(1_763_658_000 * SECOND), Timestamp(-1), Timestamp(1_500_000)]
        {
            assert_eq!(instant.to_string().parse(), Ok(instant));
        }
        for text in [
            "1970-01-01T00:00:00.000001Z",
            "2026-11-20T07:50:28Z",
            "2024-02-29T23:59:59.999999Z",
            "0001-02-03T04:05:06.070000Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), text);
        }
        assert_eq!(Timestamp(-62_198_755_200 * SECOND).to_string(), "-001-01-01T00:00:00Z");
        assert!("yesterday".parse::<Timestamp>().is_err() && "2026-11-20".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_with_durations_does_not_overflow() {
        let (instant, second) = (Timestamp(5 * SECOND), Duration::from_secs(1));
        assert_eq!([instant + second, instant - second], [Timestamp(6 * SECOND), Timestamp(4 * SECOND)]);
        assert_eq!(
            [instant + Duration::MAX, Timestamp(-2) - Duration::MAX].map(|at| at.0),
            [i64::MAX, i64::MIN]
        );
        assert_eq!(
            [(instant + second).since(instant), instant.since(instant + second)],
            [second, Duration::ZERO]
        );
        assert_eq!([instant.abs_diff(instant + second), instant.abs_diff(instant - second)], [second; 2]);
    }

    #[test]
    fn r_seconds_are_truncated_not_rounded() {
        assert_eq!(Timestamp::from_r_seconds(1.9), Some(Timestamp(SECOND)));
        assert_eq!(Timestamp::from_r_seconds(f64::NAN), None);
        assert_eq!(Timestamp::from_r_seconds(1e300), None);
    }
}
