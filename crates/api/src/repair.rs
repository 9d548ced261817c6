//! Repairs of the server's data.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::day;

/// `POST /repair/clock`.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[command(
    after_help = "Example: rspm repair clock --today=$(date -u +%F) --dry-run, if the output of `date` is correct"
)]
pub struct RepairClock {
    /// The current day in UTC, `YYYY-MM-DD`; the request is refused if the server's clock disagrees.
    #[arg(long, value_name = "DATE", value_parser = day, help = "Today's date in UTC; the command is refused if the server's clock has another date")]
    pub today: String,
    /// Only report what would be changed.
    #[serde(default)]
    #[arg(long, help = "Print what would change and change nothing")]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairedClock {
    /// The result as a sentence.
    pub message: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The transactions whose time was corrected, by id.
    pub transactions: Vec<CorrectedTransaction>,
}

/// A transaction with a new time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CorrectedTransaction {
    pub id: i64,
    /// Its previous time, RFC 3339.
    pub from: String,
    /// Its new time, RFC 3339.
    pub to: String,
}
