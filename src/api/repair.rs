//! Repairs of the server's data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /repair/clock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairClock {
    /// The day it is, in UTC, `YYYY-MM-DD`: nothing is changed when the server's clock says another one.
    pub today: String,
    /// Only say what would be changed.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairedClock {
    /// A sentence for people.
    pub message: String,
    /// True when nothing was changed.
    pub dry_run: bool,
    /// Transactions with another time, by number.
    pub transactions: Vec<Restamped>,
}

/// A transaction that gets another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restamped {
    /// Its number.
    pub id: i64,
    /// Its time before, RFC 3339.
    pub from: String,
    /// Its time afterwards.
    pub to: String,
}
