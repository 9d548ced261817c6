//! `GET /__api__/metrics/packages`: download counts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /metrics/packages`.
    ListDownloads {
        /// r or python; default both
        source_type as "_sourceType": Option<String>,
        /// number of days up to today, at most 366; default 7
        days as "_days": Option<usize>,
        /// rows per page, at most 1000
        limit as "_limit": Option<usize>,
        /// page number, from 1
        page as "_page": Option<usize>,
    }
}

/// Downloads of one package, over all versions and platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDownloads {
    pub name: String,
    /// `r` or `python`.
    pub source_type: String,
    /// Name of its source.
    pub source: String,
    /// Number of downloads in the requested days.
    pub count: i64,
}
