//! Fixed URLs of repositories.

use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct CreateUrl {
    /// The Bioconductor version whose packages are fixed; absent for all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub version: Option<String>,
    /// The day, `YYYY-MM-DD`; absent for the newest state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "DAY", help = "The day, YYYY-MM-DD (default: the newest state)")]
    pub date: Option<String>,
    /// Sources whose snapshot differs from `date`.
    #[serde(default)]
    #[arg(
        long = "snapshot",
        value_delimiter = ',',
        value_name = "SOURCE:SNAPSHOT",
        help = "A source and the day or the transaction of its state; may be repeated"
    )]
    pub snapshots: Vec<SourceSnapshot>,
    /// Fix the subscriptions and the states of all sources.
    #[serde(default)]
    #[arg(long)]
    pub lock: bool,
    /// Return a URL with a day or a transaction, without creating an alias.
    #[serde(default)]
    #[arg(long, help = "Print a URL with a day or a transaction, without creating an alias")]
    pub no_alias: bool,
}

/// The state of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceSnapshot {
    pub source: String,
    /// A day or a transaction.
    pub snapshot: String,
}

impl FromStr for SourceSnapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceSnapshot, String> {
        match text.split_once(':') {
            Some((source, snapshot)) if !source.is_empty() && !snapshot.is_empty() => {
                Ok(SourceSnapshot { source: source.to_owned(), snapshot: snapshot.to_owned() })
            }
            _ => Err("give SOURCE:DAY or SOURCE:TRANSACTION, such as cran:2026-11-20".to_owned()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FixedUrl {
    /// The URL of the repository.
    pub url: String,
    /// The snapshot segment of the URL.
    pub snapshot: String,
    /// Whether `url` contains the address of the server, from `Server.Address` or the request; otherwise the URL
    /// is valid on the server's machine only.
    pub has_address: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_and_its_state_are_separated_by_the_first_colon() {
        let state = "cran:2026-11-20".parse::<SourceSnapshot>();
        assert_eq!(
            state,
            Ok(SourceSnapshot { source: "cran".to_owned(), snapshot: "2026-11-20".to_owned() })
        );
        for bad in ["", "cran", "cran:", ":2026-11-20"] {
            assert!(bad.parse::<SourceSnapshot>().is_err(), "{bad}");
        }
    }
}
