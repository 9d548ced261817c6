//! `GET /__api__/metrics/packages`: download counts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Downloads of one package, over all versions and platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDownloads {
    /// The package.
    pub name: String,
    /// `r` or `python`.
    pub source_type: String,
    /// Name of its source.
    pub source: String,
    /// Number of downloads in the requested days.
    pub count: i64,
}
