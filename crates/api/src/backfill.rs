//! Back-fill of a source's older history.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartBackfill {
    /// The source's name: `cran`.
    pub source: String,
    /// The oldest day to fill in, `YYYY-MM-DD`.
    pub since: String,
    /// Maximum number of requests to the mirror per second; 8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Only report what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoppedBackfill {
    /// The result as a sentence.
    pub message: String,
}
