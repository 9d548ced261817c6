//! Older history of a source.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /backfill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartBackfill {
    /// The source's name: `cran`.
    pub source: String,
    /// The oldest day, `YYYY-MM-DD`.
    pub since: String,
    /// Requests to the mirror in a second, at most; 8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Only say what there is to do.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to `DELETE /backfill/{source}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoppedBackfill {
    /// A sentence for people.
    pub message: String,
}
