//! Binaries: rows of both APIs; adding and removing on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::AddOutcome;

use crate::query::query;

query! {
    /// The query of `GET /sources/{name}/binaries`.
    #[derive(Args)]
    #[group(skip)]
    ListBinaries {
        /// The package
        #[arg(long = "name", required = true, value_name = "NAME")]
        package: Option<String>,
    }
}

/// `POST /sources/{name}/binaries`: adds uploaded binaries to a local source in one transaction.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct AddBinaries {
    /// Ids of earlier uploads.
    #[arg(skip)]
    pub uploads: Vec<u64>,
    /// Name of the distribution for which the binaries are built.
    #[arg(
        long,
        value_name = "NAME",
        help = "The distribution of the binaries; `rspm list distributions` shows the names"
    )]
    pub distribution: String,
    /// Replace existing binaries.
    #[serde(default)]
    #[arg(long, conflicts_with = "succeed_on_existing", help = "Replace binaries that exist")]
    pub replace: bool,
    /// Keep existing binaries and count them as success.
    #[serde(default)]
    #[arg(long, help = "Leave existing binaries unchanged and succeed")]
    pub succeed_on_existing: bool,
}

/// One row of [`AddedBinaries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedBinary {
    /// The file name of the upload.
    pub file: String,
    /// Package.
    pub name: String,
    pub version: String,
    pub distribution: String,
    /// The minor version of R.
    pub r_version: String,
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// SHA-256 of the served bytes.
    pub sha256: String,
    /// Size of the served file, in bytes.
    pub size: u64,
    /// The change that the upload made.
    pub outcome: AddOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedBinaries {
    /// The transaction; absent if nothing changed.
    pub transaction: Option<i64>,
    /// One row per upload.
    pub packages: Vec<AddedBinary>,
}

/// `POST /sources/{name}/binaries/remove`: removes the binaries of one version for one platform.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct RemoveBinary {
    /// The package.
    #[arg(long)]
    pub name: String,
    #[arg(long, help = "The version of the package")]
    pub version: String,
    /// The platform as `X-Package-Binary-Tag` names it: `4.5-noble-arm64`.
    #[arg(long, help = "The platform as `rspm list binaries` shows it: 4.5-noble, 4.5-noble-arm64, 4.5-win")]
    pub platform: String,
    /// Comment of the transaction.
    #[serde(default)]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        help = "The reason, stored with the transaction"
    )]
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedBinary {
    /// The package.
    pub name: String,
    pub version: String,
    pub platform: String,
    /// The removed binaries, newest first; older snapshots still serve them.
    pub binaries: Vec<RemovedBinaryFile>,
}

/// One row of [`RemovedBinary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedBinaryFile {
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// SHA-256 of its bytes.
    pub sha256: Option<String>,
}

/// One binary: `GET /sources/{name}/binaries?package=` of the admin API, `GET /repos/{repo}/packages/{name}/builds` of
/// the public API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binary {
    pub version: String,
    /// The platform as `X-Package-Binary-Tag` names it.
    pub platform: String,
    /// The minor version of R.
    pub r_version: String,
    /// The distribution; `windows` or `macos` for binaries of these systems.
    pub distribution: String,
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// The file's name in URLs.
    pub file: String,
    /// SHA-256 of its bytes, where known.
    pub sha256: Option<String>,
    /// Size in bytes, where known.
    pub size: Option<i64>,
    /// Time at which it was first listed, RFC 3339.
    pub published: String,
    /// Permanent path of its bytes, relative to the URL of any snapshot that has it; absent if the digest is unknown.
    pub address: Option<String>,
    /// Whether its bytes are in storage; others are fetched on request.
    pub stored: bool,
}
