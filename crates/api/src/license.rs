//! Types of licenses.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /license-types`.
    #[derive(Args)]
    ListLicenseTypes {
        /// Only types of R packages that sources list now, with the number of packages
        #[arg(long)]
        current: bool,
    }
}

/// A type of license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LicenseType {
    /// The SPDX identifier; `Unknown` for licenses without one.
    pub id: String,
    /// The name of the license in the SPDX license list.
    pub name: String,
    /// Number of listed R packages with the license, each counted once per source; only if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<u64>,
}
