//! Parsers of the values of flags: times and sizes with a unit, days, yes or no, texts with suggestions.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, Command};

use base::model::time::{BadDay, Day};

/// Parses a duration of at most 24 hours; returns seconds.
///
/// # Errors
/// The text has another form; the message describes the accepted one.
pub fn seconds(text: &str) -> Result<u64, String> {
    let syntax_error = || "give seconds, or a number with s, m or h: 90s, 5m, 1h".to_owned();
    let (digits, unit) = match text.char_indices().last() {
        Some((length, 's')) => (&text[..length], 1),
        Some((length, 'm')) => (&text[..length], 60),
        Some((length, 'h')) => (&text[..length], 3600),
        Some(_) | None => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| syntax_error())?;
    number.checked_mul(unit).filter(|seconds| *seconds <= 86_400).ok_or_else(|| "give at most 24h".to_owned())
}

/// Parses a number of bytes, above 0.
///
/// # Errors
/// The text has another form; the message describes the accepted one.
pub fn bytes(text: &str) -> Result<u64, String> {
    let syntax_error = || "give bytes, or a number with kB, MB or GB: 100MB".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" | "k" | "K" => 1_000,
        "MB" | "M" => 1_000_000,
        "GB" | "G" => 1_000_000_000,
        _ => return Err(syntax_error()),
    };
    let number: u64 = digits.parse().map_err(|_| syntax_error())?;
    if number == 0 {
        return Err("give at least 1 byte; without the flag there is no limit".to_owned());
    }
    number.checked_mul(unit).ok_or_else(syntax_error)
}

/// Parses the lifetime of a token: returns seconds, or `None` if it never expires.
///
/// # Errors
/// The text is not a lifetime; the message describes the accepted form.
pub fn lifetime(text: &str) -> Result<Option<i64>, String> {
    let syntax_error = || "give a number with s, m, h or d, or never: 12h, 90d".to_owned();
    if text == "never" {
        return Ok(None);
    }
    let (length, unit) = text.char_indices().last().ok_or_else(syntax_error)?;
    let unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(syntax_error()),
    };
    let number: u64 = text[..length].parse().map_err(|_| syntax_error())?;
    let seconds = number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(syntax_error)?;
    Ok(Some(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// Checks a day, `YYYY-MM-DD`.
///
/// # Errors
/// The text is not a day.
pub fn day(text: &str) -> Result<String, BadDay> {
    text.parse::<Day>().map(|day| day.to_string())
}

/// Parses a day or a time; returns the time in the form that the API expects.
///
/// # Errors
/// The text has another form; the message describes the accepted ones.
pub fn time(text: &str) -> Result<String, String> {
    if let Ok(day) = text.parse::<Day>() {
        return Ok(day.start().to_string());
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| time.to_string())
        .map_err(|_| "write a day such as 2026-11-22, or a time such as 2026-11-22T12:00:00Z".to_owned())
}

/// Returns the parser of a filter.
pub fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    let values = [
        PossibleValue::new("yes").help("Only tokens with the property"),
        PossibleValue::new("no").help("Only tokens without the property"),
    ];
    PossibleValuesParser::new(values).map(|word| word == "yes")
}

/// A value parser that accepts any text and suggests these values.
#[derive(Clone, Copy, Debug)]
pub struct SuggestedValues(pub &'static [&'static str]);

impl TypedValueParser for SuggestedValues {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_or_an_instant() {
        assert_eq!(time("2026-11-22").as_deref(), Ok("2026-11-22T00:00:00Z"));
        assert_eq!(time("2026-11-22T12:00:00+01:00").as_deref(), Ok("2026-11-22T11:00:00Z"));
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn sizes_have_decimal_units() {
        for (text, expected) in
            [("1", 1), ("500kB", 500_000), ("100MB", 100_000_000), ("2G", 2_000_000_000), ("7B", 7)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "MB", "0", "1TB", "1.5MB", "-1", "99999999999999999999", "20000000000GB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lifetime_is_a_number_with_a_unit_or_never() {
        for (text, expected) in [
            ("never", None),
            ("1s", Some(1)),
            ("5m", Some(300)),
            ("2h", Some(7_200)),
            ("90d", Some(7_776_000)),
        ] {
            assert_eq!(lifetime(text), Ok(expected), "{text}");
        }
        for bad in
            ["", "0s", "5", "5w", "-1d", "d", "1.5h", "99999999999999999999d", "18446744073709551615d", "5é"]
        {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
