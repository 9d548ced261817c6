//! Versions of Bioconductor on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version of Bioconductor, as its mirror declares it and as far as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BioconductorVersion {
    /// `3.20`
    pub version: String,
    /// The version of R it is for.
    pub r_version: String,
    /// `devel`, `release`, or `out-of-date`.
    pub status: String,
    /// The snapshot of CRAN that goes with it: `latest`, or a day.
    pub cran_snapshot: String,
    /// Packages in all its repositories; absent while it was never synced.
    pub packages: Option<i64>,
    /// When it changed last, RFC 3339.
    pub changed: Option<String>,
}
