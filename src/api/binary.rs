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
