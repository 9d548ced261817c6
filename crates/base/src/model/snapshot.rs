//! The snapshot segment of a URL.

use std::fmt;
use std::str::FromStr;

use super::ids::TxId;
use super::time::Day;

/// A snapshot, as named in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// `latest`: the newest state.
    Latest,
    /// `YYYY-MM-DD`: the state at the end of that UTC day. A `+suffix`, as in old URLs, is ignored.
    Date(Day),
    /// Only digits: the state directly after that transaction.
    Transaction(TxId),
    /// `YYYY-MM-DD-NNNNNN`: the state that a fixed URL of the repository selects.
    Alias(Alias),
}

/// The name of a fixed URL: the day of its creation and a number. Clients accept only digits and hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias {
    day: Day,
    number: u32,
}

impl Alias {
    /// The largest number, which has nine digits.
    const MAX: u32 = 999_999_999;

    /// Creates a name; `None` if the number is negative or has more than nine digits.
    pub fn new(day: Day, number: i64) -> Option<Alias> {
        let number = u32::try_from(number).ok().filter(|number| *number <= Alias::MAX)?;
        Some(Alias { day, number })
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}", self.day, self.number)
    }
}

impl FromStr for Alias {
    type Err = BadSnapshot;

    fn from_str(text: &str) -> Result<Alias, BadSnapshot> {
        let parse = || {
            let (day, number) = text.rsplit_once('-')?;
            let is_number = number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit());
            let alias = Alias::new(day.parse().ok()?, number.parse().ok().filter(|_| is_number)?)?;
            // Only the canonical spelling is accepted.
            (alias.to_string() == text).then_some(alias)
        };
        parse().ok_or_else(|| BadSnapshot(text.chars().take(60).collect()))
    }
}

/// A segment that does not name a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a snapshot: use latest, a date (YYYY-MM-DD) or a transaction id")]
pub struct BadSnapshot(pub String);

impl FromStr for Snapshot {
    type Err = BadSnapshot;

    /// Parses a percent-decoded path segment.
    fn from_str(text: &str) -> Result<Snapshot, BadSnapshot> {
        let error = || BadSnapshot(text.chars().take(60).collect());
        if text == "latest" {
            return Ok(Snapshot::Latest);
        }
        if !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(|id| Snapshot::Transaction(TxId(id))).map_err(|_| error());
        }
        // Until about 2022, URLs of Posit Package Manager contained `date+base64`; Dockerfiles still do.
        let date = text.split_once('+').map_or(text, |(date, _)| date);
        match (date.parse(), text.parse()) {
            (Ok(day), _) => Ok(Snapshot::Date(day)),
            (Err(_), alias) => alias.map(Snapshot::Alias),
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Snapshot::Latest => f.write_str("latest"),
            Snapshot::Date(day) => day.fmt(f),
            Snapshot::Transaction(id) => id.fmt(f),
            Snapshot::Alias(alias) => alias.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_snapshot_is_read() {
        assert_eq!("latest".parse(), Ok(Snapshot::Latest));
        assert_eq!("5".parse(), Ok(Snapshot::Transaction(TxId(5))));
        let alias = Alias::new("2026-11-24".parse().expect("a day"), 7).expect("small");
        assert_eq!("2026-11-24-000007".parse(), Ok(Snapshot::Alias(alias)));
        assert_eq!(Snapshot::Alias(alias).to_string(), "2026-11-24-000007");
        assert_eq!(
            "2026-11-24-1234567".parse::<Alias>().map(|alias| alias.to_string()),
            Ok("2026-11-24-1234567".to_owned())
        );
        let day = Snapshot::Date("2022-08-01".parse().expect("a day"));
        assert_eq!("2022-08-01".parse(), Ok(day));
        assert_eq!("2022-08-01+Y3JhbiwyOjQ1MjYyMTU7RTY0MEEyRTM".parse(), Ok(day));
    }

    #[test]
    fn anything_else_is_not_a_snapshot() {
        for bad in [
            "",
            "Latest",
            "2022-13-01",
            "2022-08",
            "-1",
            "+5",
            "9999999999999999999",
            "2022-08-01x",
            "2022-08-01-",
            "2022-08-01-00007",
            "2022-08-01-0000007",
            "2022-08-01-1234567890",
            "2022-08-01-00000a",
            "2022-13-01-000007",
        ] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }
}
