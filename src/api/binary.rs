//! Adding binary packages on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::Outcome;

/// `POST /sources/{name}/binaries`: make uploads of binary packages part of a local source, one transaction for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddBinaries {
    /// Numbers of earlier uploads.
    pub uploads: Vec<u64>,
    /// The distribution they are built for, by name.
    pub distribution: String,
    /// Replace builds that exist.
    #[serde(default)]
    pub replace: bool,
    /// Builds that exist stay and are a success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

/// One line of the answer to [`AddBinaries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedBinary {
    /// The file as it was given.
    pub file: String,
    /// Package.
    pub name: String,
    /// Version.
    pub version: String,
    /// The distribution.
    pub distribution: String,
    /// The minor version of R.
    pub r_version: String,
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// SHA-256 of the bytes that are served.
    pub sha256: String,
    /// Their size.
    pub size: u64,
    /// What happened.
    pub outcome: Outcome,
}

/// The answer to [`AddBinaries`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedBinaries {
    /// The transaction, absent when nothing changed.
    pub transaction: Option<i64>,
    /// One entry for each upload.
    pub packages: Vec<AddedBinary>,
}

/// `POST /sources/{name}/binaries/remove`: remove the builds of one version for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemoveBinary {
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// The platform as `X-Package-Binary-Tag` names it: `4.5-noble-arm64`.
    pub platform: String,
    /// Kept with the transaction.
    #[serde(default)]
    pub comment: String,
}

/// The answer to [`RemoveBinary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedBinary {
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// The platform.
    pub platform: String,
    /// Builds that are gone from now on, the newest first; older snapshots still serve them.
    pub builds: Vec<RemovedBuild>,
}

/// One line of [`RemovedBinary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedBuild {
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// SHA-256 of its bytes.
    pub sha256: Option<String>,
}

/// One build: `GET /sources/{name}/binaries?package=` of the admin API, `GET /repos/{repo}/packages/{name}/builds` of the
/// public one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binary {
    /// Version.
    pub version: String,
    /// The platform as `X-Package-Binary-Tag` names it.
    pub platform: String,
    /// The minor version of R.
    pub r_version: String,
    /// The distribution; `windows` or `macos` for those.
    pub distribution: String,
    /// `x86_64`, `arm64`, or `any`.
    pub arch: String,
    /// The file's name in URLs.
    pub file: String,
    /// SHA-256 of its bytes, where known.
    pub sha256: Option<String>,
    /// Their number, where known.
    pub size: Option<i64>,
    /// When it was listed first, RFC 3339.
    pub published: String,
    /// The address of these very bytes, below any snapshot that has the build; where the digest is known.
    pub address: Option<String>,
    /// Its bytes are in storage; others are fetched when they are asked for.
    pub stored: bool,
}
