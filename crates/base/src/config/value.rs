//! The value types and their parsers: booleans, numbers, durations, sizes, paths, addresses, schedules.
//!
//! Every parser is pure; its error is a clause that follows the property and its value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::problem::nearest;
use crate::model::time::crontab;

/// An address to listen on: `:4242` (every address, IPv6 and IPv4) or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The host; empty for every address; IPv6 without brackets.
    pub host: String,
    /// The port; 0 lets the system choose (used by tests).
    pub port: u16,
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    Stdout,
    Stderr,
    File(PathBuf),
}

/// Parses git's words for true and false, ignoring case.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is not a boolean; write true, yes, on, 1 or false, no, off, 0".to_owned()),
    }
}

/// Parses a whole number between two inclusive bounds.
pub(super) fn integer(text: &str, min: i64, max: i64) -> Result<i64, String> {
    let number: i64 = text.parse().map_err(|_| "is not a whole number".to_owned())?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else if max == i64::MAX {
        Err(format!("must be at least {min}"))
    } else {
        Err(format!("must be between {min} and {max}"))
    }
}

/// Parses `3.14`, `7.`, `2`, `.217`, `-1`.
pub(super) fn decimal(text: &str) -> Result<f64, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    text.parse().ok().filter(|_| is_plain).ok_or_else(|| "is not a decimal number such as 3.14".to_owned())
}

const INVALID_DURATION: &str = "is not a duration; write for example 500ms, 1m15s, 72h or 30d";

/// Checks a host, optionally with a port; returns it in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let host = text.trim().to_ascii_lowercase();
    let parsed = url::Url::parse(&format!("https://{host}/")).map_err(|error| error.to_string());
    let is_plain = |url: &url::Url| {
        url.path() == "/" && url.username().is_empty() && url.password().is_none() && url.query().is_none()
    };
    match parsed {
        Ok(url) if is_plain(&url) && !host.contains(['/', '@', '?', '#']) => Ok(host),
        Ok(_) | Err(_) => Err("must be a host such as files.example.org, or host:port".to_owned()),
    }
}

/// Parses Go's durations (`1h15m30.5s`; ns us µs ms s m h) and days (`30d`); a bare whole number is nanoseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("must not be negative".to_owned());
    }
    let invalid = || INVALID_DURATION.to_owned();
    let too_long = || "is longer than 292 years".to_owned();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let nanos = text.parse().ok().filter(|&n: &u64| i64::try_from(n).is_ok()).ok_or_else(too_long)?;
        return Ok(Duration::from_nanos(nanos));
    }
    let (mut rest, mut nanos) = (text, 0_u128);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(invalid()),
        };
        nanos = scale(number, unit).ok_or_else(invalid)?.checked_add(nanos).ok_or_else(too_long)?;
        rest = tail;
    }
    match i64::try_from(nanos) {
        Ok(_) => Ok(Duration::from_nanos(u64::try_from(nanos).map_err(|_| too_long())?)),
        Err(_) => Err(too_long()),
    }
}

/// Returns `whole[.fraction]` times `unit`, rounded down and saturating; `None` if the text is not a number.
fn scale(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u128::MAX) };
    // Fifteen digits of a fraction of a day are more precise than a nanosecond.
    let fraction = &fraction[..fraction.len().min(15)];
    let power = u32::try_from(fraction.len()).ok()?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole.saturating_mul(unit).saturating_add(part * unit / 10_u128.pow(power)))
}

/// Parses a size in bytes: `32KB`, `1.5M`, `2 GiB`, `512`. Units are powers of 1024, with or without `i` and `B`.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let invalid = || "is not a size; write for example 512, 32KB or 2MB (1 KB is 1024 bytes)".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u128 = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err(invalid()),
    };
    let bytes = scale(number, unit).ok_or_else(invalid)?;
    match u64::try_from(bytes) {
        Ok(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!("must be between {min} and {max} bytes")),
    }
}

/// Parses an absolute path and resolves `.` and `..` lexically.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err("must be an absolute path (one that begins with /)".to_owned());
    }
    let mut resolved = PathBuf::from("/");
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => {
                resolved.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(resolved)
}

/// Parses `STDOUT`, `STDERR` (ignoring case) or an absolute path.
pub(super) fn log_destination(text: &str) -> Result<LogDestination, String> {
    match text.to_ascii_uppercase().as_str() {
        "STDOUT" => Ok(LogDestination::Stdout),
        "STDERR" => Ok(LogDestination::Stderr),
        _ => match path(text) {
            Ok(path) => Ok(LogDestination::File(path)),
            Err(_) => Err("must be STDOUT, STDERR or an absolute path".to_owned()),
        },
    }
}

/// Parses `:port`, `host:port` or `[IPv6]:port`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let invalid = || "is not an address to listen on; write :4242, host:4242 or [::1]:4242".to_owned();
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => format!("must have a colon before the port: write :{port}"),
            Err(_) => invalid(),
        });
    };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let port = port.parse().map_err(|_| "must have a port between 0 and 65535".to_owned())?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or_else(invalid)?;
            inner.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address between its brackets".to_owned())?;
            inner
        }
        None if text.parse::<Ipv6Addr>().is_ok() || host.contains(':') => {
            return Err("must have brackets around an IPv6 address: write [::1]:4242".to_owned());
        }
        None if is_host(host) || host.is_empty() => host,
        None => return Err(invalid()),
    };
    Ok(Listen { host: host.to_owned(), port })
}

/// Parses `192.0.2.1`, `2001:db8::1` or `10.0.0.0/8`.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    let invalid =
        |_| "is neither an IP address nor a network; write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32".to_owned();
    address.or_else(|_| text.parse::<IpNet>()).map_err(invalid)
}

/// Returns whether a text is a host name or an IPv4 address. A text of digits and dots must be an address.
fn is_host(text: &str) -> bool {
    let is_numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_numeric {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// Checks a schedule and returns it with single spaces.
pub(super) fn cron(text: &str) -> Result<String, String> {
    let normalized = text.split_whitespace().collect::<Vec<_>>().join(" ");
    crontab(&normalized)?;
    Ok(normalized)
}

/// Parses one of `words`, ignoring case; returns the word as listed.
pub(super) fn choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
    let choice = words.iter().copied().find(|word| word.eq_ignore_ascii_case(text));
    choice.ok_or_else(|| {
        let suggestion = nearest(text, words.iter().copied());
        let hint = suggestion.map_or_else(String::new, |word| format!("; did you mean {word}?"));
        format!("must be one of {}{hint}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_those_of_git() {
        for (text, expected) in [("true", true), ("Yes", true), ("ON", true), ("1", true)] {
            assert_eq!(boolean(text), Ok(expected));
        }
        for text in ["false", "no", "off", "0"] {
            assert_eq!(boolean(text), Ok(false));
        }
        for text in ["", "maybe", "2", "t"] {
            assert!(boolean(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn integers_have_bounds() {
        assert_eq!(integer("-123", i64::MIN, i64::MAX), Ok(-123));
        assert_eq!(integer("9", 1, 9), Ok(9));
        assert_eq!(integer("10", 1, 9), Err("must be between 1 and 9".to_owned()));
        assert_eq!(integer("-1", 0, i64::MAX), Err("must be at least 0".to_owned()));
        assert!(integer("3.0", 0, 9).is_err() && integer("", 0, 9).is_err() && integer("0x1", 0, 9).is_err());
    }

    #[test]
    fn decimals_may_lack_digits_on_either_side_of_the_point() {
        for (text, expected) in [("3.25", 3.25), ("7.", 7.0), ("2", 2.0), (".217", 0.217), ("-1", -1.0)] {
            assert_eq!(decimal(text), Ok(expected));
        }
        for text in ["", ".", "inf", "NaN", "1e5", "1,5"] {
            assert!(decimal(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_may_have_a_port() {
        for (good, expected) in [
            ("files.example.org", "files.example.org"),
            ("Files.Example.org:8080", "files.example.org:8080"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(host(good).as_deref(), Ok(expected));
        }
        for bad in ["", "https://h", "h/x", "me@h", "h:port", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_go_style_with_days_and_bare_nanoseconds() {
        let nanos = |text| duration(text).map(|d| d.as_nanos());
        assert_eq!(nanos("500ms"), Ok(500_000_000));
        assert_eq!(nanos("1m15s"), Ok(75_000_000_000));
        assert_eq!(nanos("72h"), Ok(72 * 3_600_000_000_000));
        assert_eq!(nanos("30d"), Ok(30 * 86_400_000_000_000));
        assert_eq!(nanos("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(nanos(".5s"), Ok(500_000_000));
        assert_eq!(nanos("1\u{b5}s2us3\u{3bc}s4ns"), Ok(6_004));
        assert_eq!(nanos("1000000000"), Ok(1_000_000_000));
        assert_eq!(nanos("0"), Ok(0));
    }

    #[test]
    fn invalid_durations_are_refused() {
        for text in ["", "5 m", "m", "1x", ".", ".s", "1.2.3s", "5m 3s", "1h-3m", "five"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert_eq!(duration("-5m"), Err("must not be negative".to_owned()));
        assert!(duration("9223372036854775808").is_err());
        assert!(duration("99999999999999999999999999999999999999999999999999h").is_err());
        assert!(duration("200000d").is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let bytes = |text| size(text, 1, 1 << 40);
        for text in ["32768", "32KB", "32K", "32KiB", "32kb", "32 KB", "32768B", "0.03125M"] {
            assert_eq!(bytes(text), Ok(32_768), "{text:?}");
        }
        assert_eq!(bytes("2MB"), Ok(2 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        for text in ["", "KB", "1TB", "1.2.3K", "x", "-1", "0x10"] {
            assert!(bytes(text).expect_err("is refused").starts_with("is not a size"), "{text:?}");
        }
        assert_eq!(bytes("0"), Err("must be between 1 and 1099511627776 bytes".to_owned()));
        assert!(bytes("99999999999999999999999999G").expect_err("is refused").starts_with("must be between"));
    }

    #[test]
    fn paths_are_absolute_and_normalized() {
        assert_eq!(path("/a/./b/../c/"), Ok(PathBuf::from("/a/c")));
        assert_eq!(path("/.."), Ok(PathBuf::from("/")));
        assert!(path("a/b").is_err() && path("").is_err() && path("~/x").is_err());
    }

    #[test]
    fn listen_addresses_have_a_port_and_an_optional_host() {
        for (text, host, port) in [
            (":4242", "", 4242),
            ("0.0.0.0:80", "0.0.0.0", 80),
            ("localhost:0", "localhost", 0),
            ("[::1]:443", "::1", 443),
            ("a-b.example.org:65535", "a-b.example.org", 65535),
        ] {
            assert_eq!(listen(text), Ok(Listen { host: host.to_owned(), port }), "{text:?}");
        }
    }

    #[test]
    fn invalid_listen_addresses_are_refused_with_the_remedy() {
        assert_eq!(listen("4242"), Err("must have a colon before the port: write :4242".to_owned()));
        assert!(listen("::1").expect_err("is refused").contains("brackets"));
        assert!(listen("fe80::2:80").expect_err("is refused").contains("brackets"));
        assert!(listen(":65536").expect_err("is refused").contains("between 0 and 65535"));
        assert!(listen("[x]:80").expect_err("is refused").contains("no IPv6 address"));
        for text in ["", ":", "host", "host:", ":http", "a b:80", "300.1.1.1:80", "[::1:80", ":+80"] {
            assert!(listen(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn schedules_have_five_fields_and_weekdays_to_6() {
        assert_eq!(cron("0  0 * *\t*"), Ok("0 0 * * *".to_owned()));
        assert!(cron("*/15 1-5 1,15 * 0-6").is_ok());
        assert!(cron("0 0 * *").expect_err("is refused").contains("it has 4"));
        assert!(cron("0 0 0 * * *").expect_err("is refused").contains("it has 6"));
        assert!(cron("0 0 * * 7").expect_err("is refused").contains("0 (Sunday)"));
        assert!(cron("0 0 * * 1-7").is_err());
        for text in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "x * * * *", "@daily"] {
            assert!(cron(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_misspelt_word_gets_a_suggestion() {
        assert_eq!(choice("INFO", &["info", "warn"]), Ok("info"));
        assert_eq!(
            choice("postgers", &["sqlite", "postgres"]),
            Err("must be one of sqlite, postgres; did you mean postgres?".to_owned())
        );
    }

    proptest! {
        #[test]
        fn any_text_is_validated_without_a_panic(text in "[0-9a-zA-Z.:/\\[\\]\\- µ*,]{0,30}|\\PC{0,20}") {
            let _ = (boolean(&text), integer(&text, 0, 9), decimal(&text), duration(&text), size(&text, 0, 9));
            let _ = (path(&text), log_destination(&text), listen(&text), cron(&text));
        }

        #[test]
        fn durations_written_as_nanoseconds_are_read_back(nanos in 0..=i64::MAX as u64) {
            prop_assert_eq!(duration(&format!("{nanos}ns")), Ok(Duration::from_nanos(nanos)));
            prop_assert_eq!(duration(&nanos.to_string()), Ok(Duration::from_nanos(nanos)));
        }
    }
}
