//! `GET /__api__/metrics/packages`: what is downloaded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Downloads of one package, all versions and platforms together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDownloads {
    /// The package.
    pub name: String,
    /// `r` or `python`.
    pub source_type: String,
    /// Name of the source it came from.
    pub source: String,
    /// Downloads in the days asked for.
    pub count: i64,
}
