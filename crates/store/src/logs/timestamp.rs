//! Timestamps of log lines, formatted once per second and thread instead of once per line.

use std::cell::RefCell;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Capacity for the longest of the formats below.
const LENGTH: usize = 32;

/// A format of a timestamp, with seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimestampFormat {
    /// `10/Oct/2000:13:55:36 -0700`, the format of Apache.
    Apache,
    /// `2017/11/28 13:41:59`.
    Text,
    /// `2017-11-28T13:41:59`; the zone should be UTC.
    Iso,
}

impl TimestampFormat {
    fn pattern(self) -> &'static str {
        match self {
            TimestampFormat::Apache => "%d/%b/%Y:%H:%M:%S %z",
            TimestampFormat::Text => "%Y/%m/%d %H:%M:%S",
            TimestampFormat::Iso => "%Y-%m-%dT%H:%M:%S",
        }
    }
}

struct CachedTimestamp {
    second: i64,
    format: TimestampFormat,
    /// Compared, so that one thread can write logs in several zones.
    zone: TimeZone,
    text: String,
}

thread_local! {
    static CACHE: RefCell<Option<CachedTimestamp>> = const { RefCell::new(None) };
}

/// Appends the timestamp of `micros` since the epoch. A time outside of the calendar's range is `-`.
pub(super) fn push(line: &mut Vec<u8>, micros: i64, format: TimestampFormat, zone: &TimeZone) {
    let second = micros.div_euclid(1_000_000);
    CACHE.with_borrow_mut(|cache| {
        if let Some(cached) = cache
            .as_ref()
            .filter(|cached| cached.second == second && cached.format == format && cached.zone == *zone)
        {
            return line.extend_from_slice(cached.text.as_bytes());
        }
        let mut text = String::with_capacity(LENGTH);
        match Timestamp::from_second(second) {
            Ok(time) => text.push_str(&time.to_zoned(zone.clone()).strftime(format.pattern()).to_string()),
            Err(_) => text.push('-'),
        }
        line.extend_from_slice(text.as_bytes());
        *cache = Some(CachedTimestamp { second, format, zone: zone.clone(), text });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(micros: i64, format: TimestampFormat, zone: &TimeZone) -> String {
        let mut line = Vec::new();
        push(&mut line, micros, format, zone);
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn each_format_is_correct_after_any_previous_one() {
        let zone = TimeZone::fixed(jiff::tz::offset(-7));
        let micros = 971_211_336_999_999;
        assert_eq!(timestamp(micros, TimestampFormat::Apache, &zone), "10/Oct/2000:13:55:36 -0700");
        assert_eq!(timestamp(micros, TimestampFormat::Apache, &TimeZone::UTC), "10/Oct/2000:20:55:36 +0000");
        assert_eq!(timestamp(micros, TimestampFormat::Text, &TimeZone::UTC), "2000/10/10 20:55:36");
        assert_eq!(timestamp(micros + 1, TimestampFormat::Text, &TimeZone::UTC), "2000/10/10 20:55:37");
        assert_eq!(timestamp(-1, TimestampFormat::Iso, &TimeZone::UTC), "1969-12-31T23:59:59");
        assert_eq!(timestamp(i64::MAX, TimestampFormat::Iso, &TimeZone::UTC), "-");
    }
}
