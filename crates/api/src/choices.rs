//! The values from which administrators choose: distributions, versions of Bioconductor, types of licenses.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

/// A distribution that binaries can be served for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Distribution {
    /// Unique name.
    pub name: String,
    /// `linux`, `windows`, `macOS`.
    pub os: String,
    /// The segment after `__linux__`; distributions that share binaries share it. Empty for Windows and macOS.
    pub url: String,
    /// Display name.
    pub display: String,
    /// Its name in system requirements.
    pub distribution: String,
    /// Its release in system requirements.
    pub release: String,
    /// Architectures.
    pub arch: Vec<String>,
    /// The version of R for which the distribution is configured, if any.
    pub r_version: Option<String>,
    /// Whether R versions other than `r_version` get no binaries.
    pub forced: bool,
    /// Whether it is hidden in user interfaces.
    pub hidden: bool,
    /// Other names that are valid in URLs.
    pub aliases: Vec<String>,
}

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
