//! Storage classes: whose objects they have, and what was removed from them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /storage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Storage {
    /// Identity of this server's database.
    pub database: String,
    /// Days after which removed objects are deleted for good.
    pub grace_days: u64,
    /// The classes.
    pub classes: Vec<StorageState>,
}

/// How a class stands to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageOwner {
    /// Not compared yet.
    Unchecked,
    /// It belongs to this database.
    Own,
    /// It belongs to another one.
    Foreign,
    /// It belongs to this database, and a copy of it has used it.
    Contested,
    /// It has neither its marker nor the objects that this database names.
    Missing,
    /// Its marker names no database.
    Unreadable,
    /// It has objects that this database does not name, and no owner.
    Unclaimed,
    /// The comparison failed.
    Unknown,
}

/// One storage class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageState {
    /// The class.
    pub class: String,
    /// Its directory, or `s3://bucket/prefix`.
    pub place: String,
    /// Whether it belongs to this database.
    pub owner: StorageOwner,
    /// Identity of the database it belongs to, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Removed objects that can be brought back.
    pub trash_objects: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// When the first of them was removed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash_since: Option<String>,
    /// Damaged objects that were set aside and have not been stored again.
    pub damaged: u64,
    /// Objects that this database names and that are not in storage; counted where no mirror has them.
    #[serde(default)]
    pub lost: u64,
    /// A clean-up that waits for a confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingSweep>,
}

/// A clean-up that would remove more than a small share of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingSweep {
    /// Objects it would remove.
    pub objects: u64,
    /// Objects in the class.
    pub of: u64,
}

/// `POST /storage/adopt` and `POST /storage/restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageSelection {
    /// Names of classes; none: all.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// The answer to `POST /storage/adopt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedStorage {
    /// Classes that belong to this database now and did not before.
    pub classes: Vec<String>,
}

/// `POST /storage/sweep`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SweepStorage {
    /// Classes from which any number of objects may be removed.
    #[serde(default)]
    pub confirm: Vec<String>,
}
