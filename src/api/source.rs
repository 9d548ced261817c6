//! Sources on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Row id; CRAN is 1.
    pub id: i64,
    /// Unique among sources.
    pub name: String,
    /// `local`, `cran`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The word people read: `Local`, `CRAN`.
    pub type_label: String,
    /// RFC 3339.
    pub created: String,
    /// Packages listed now.
    pub packages: i64,
    /// The newest transaction, if any.
    pub last_transaction: Option<Transaction>,
}

/// A transaction, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// Its number.
    pub id: i64,
    /// When it was published, RFC 3339.
    pub at: String,
    /// Packages that became listed.
    pub added: i64,
    /// Packages whose version changed.
    pub updated: i64,
    /// Releases that moved to the archive.
    pub archived: i64,
    /// Packages gone from the list.
    pub removed: i64,
}

/// `POST /sources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateSource {
    /// Its name.
    pub name: String,
    /// Its type, `local` when absent.
    #[serde(rename = "type", default = "local")]
    pub kind: String,
    /// An existing source of that name and type is a success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

fn local() -> String {
    "local".to_owned()
}

/// `PATCH /sources/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditSource {
    /// Its new name.
    pub new_name: String,
}

/// `POST /sources/{name}/packages`: make uploads part of a local source, one transaction for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddPackages {
    /// Numbers of earlier uploads.
    pub uploads: Vec<u64>,
    /// Replace versions that exist.
    #[serde(default)]
    pub replace: bool,
    /// Versions that exist stay and are a success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// New in the source.
    Added,
    /// The version has other bytes now.
    Replaced,
    /// The version was there and stays.
    Existing,
}

/// One line of the answer to [`AddPackages`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedPackage {
    /// The file as it was given.
    pub file: String,
    /// Package.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the bytes that are served.
    pub sha256: String,
    /// Their size.
    pub size: u64,
    /// What happened.
    pub outcome: Outcome,
}

/// The answer to [`AddPackages`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedPackages {
    /// The transaction, absent when nothing changed.
    pub transaction: Option<i64>,
    /// One entry for each upload.
    pub packages: Vec<AddedPackage>,
}

/// `POST /sources/{name}/packages/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovePackage {
    /// The package.
    pub name: String,
    /// `all`, `current` or a version.
    pub scope: String,
    /// Kept with the transaction.
    #[serde(default)]
    pub comment: String,
}

/// The answer to [`RemovePackage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedPackage {
    /// The package.
    pub name: String,
    /// Versions that are gone from now on; older snapshots still serve them.
    pub versions: Vec<String>,
}
