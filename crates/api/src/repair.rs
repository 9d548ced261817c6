//! Repairs of the server's data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /repair/clock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairClock {
    /// The current day in UTC, `YYYY-MM-DD`; the request is refused if the server's clock disagrees.
    pub today: String,
    /// Only report what would be changed.
    #[serde(default)]
    pub dry_run: bool,
}

/// Response to [`RepairClock`].
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
    /// Its id.
    pub id: i64,
    /// Its previous time, RFC 3339.
    pub from: String,
    /// Its new time, RFC 3339.
    pub to: String,
}
