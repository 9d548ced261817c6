//! The snapshot segment of a URL.

use std::fmt;
use std::str::FromStr;

use super::ids::TxId;
use super::time::Day;

/// A snapshot as a URL names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// `latest`: the newest state.
    Latest,
    /// `YYYY-MM-DD`, also with an old-style `+suffix` that is ignored: the state at the end of that UTC day.
    Date(Day),
    /// Digits only: the state right after that transaction.
    Transaction(TxId),
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
        // Until about 2022 Posit Package Manager issued `date+base64`; many Dockerfiles still contain such URLs.
        let date = text.split_once('+').map_or(text, |(date, _)| date);
        date.parse().map(Snapshot::Date).map_err(|_| error())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Snapshot::Latest => f.write_str("latest"),
            Snapshot::Date(day) => day.fmt(f),
            Snapshot::Transaction(id) => id.fmt(f),
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
        let day = Snapshot::Date("2022-08-01".parse().expect("a day"));
        assert_eq!("2022-08-01".parse(), Ok(day));
        assert_eq!("2022-08-01+Y3JhbiwyOjQ1MjYyMTU7RTY0MEEyRTM".parse(), Ok(day));
    }

    #[test]
    fn anything_else_is_not_a_snapshot() {
        for bad in ["", "Latest", "2022-13-01", "2022-08", "-1", "+5", "9999999999999999999", "2022-08-01x"] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }
}
