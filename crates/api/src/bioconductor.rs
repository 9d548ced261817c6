//! Bioconductor versions on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A Bioconductor version as declared by its mirror, and its status on this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BioconductorVersion {
    /// The version, such as `3.20`.
    pub version: String,
    /// The version of R it is for.
    pub r_version: String,
    /// `devel`, `release`, or `out-of-date`.
    pub status: String,
    /// Its CRAN snapshot: `latest`, or a day.
    pub cran_snapshot: String,
    /// Number of packages in all its repositories; absent before the first sync.
    pub packages: Option<i64>,
    /// Time of its last change, RFC 3339.
    pub changed: Option<String>,
}
