//! Storage classes: owner, trash, damage, and evictions.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use base::model::kind::StorageClass;

/// Accepts the names of all storage classes.
fn classes() -> PossibleValuesParser {
    PossibleValuesParser::new(StorageClass::WORDS)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Storage {
    /// Identity of this server's database.
    pub database: String,
    /// Days after which removed objects are deleted permanently.
    pub grace_days: u64,
    pub classes: Vec<StorageState>,
}

/// The owner of a class, relative to this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageOwner {
    /// The owner marker of the class has not been compared yet.
    Unchecked,
    /// The class belongs to this database.
    Own,
    /// The class belongs to another database.
    Foreign,
    /// The class belongs to this database, but a copy of the database has used it.
    Contested,
    /// The class has neither an owner marker nor the objects that this database references.
    Missing,
    /// The owner marker names no database.
    Unreadable,
    /// The class has objects that this database does not reference, and no owner.
    Unclaimed,
    /// The owner marker could not be compared.
    Unknown,
}

/// One storage class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageState {
    pub class: String,
    /// Its directory, or `s3://bucket/prefix`.
    pub location: String,
    pub owner: StorageOwner,
    /// Identity of the database that owns the class, if it is not this server's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The reason why the location cannot be read; the numbers of the trash are then 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Number of objects that the database references, except usage data, rules and advisories.
    #[serde(default)]
    pub files: u64,
    /// Size in bytes of the objects that `files` counts.
    #[serde(default)]
    pub bytes: u64,
    /// Number of removed objects that can be restored.
    pub trash_objects: u64,
    /// Size in bytes of the objects that `trash_objects` counts.
    pub trash_bytes: u64,
    /// Time at which the oldest object in the trash was removed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash_since: Option<String>,
    /// Number of damaged objects that were moved to the directory `damaged` and not stored again.
    pub damaged: u64,
    /// Number of objects that this database references, but that are not in storage and that no mirror provides.
    #[serde(default)]
    pub lost: u64,
    /// A sweep that needs confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingSweep>,
}

/// A sweep that needs confirmation, because it would remove more than a small share of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingSweep {
    /// Number of objects that the sweep would remove.
    pub objects: u64,
    /// Number of objects in the class.
    pub of: u64,
}

/// `POST /storage/adopt` and `POST /storage/restore`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StorageSelection {
    /// Names of classes; empty for all.
    #[serde(default)]
    #[arg(long = "class", value_delimiter = ',', value_parser = classes(), hide_possible_values = true, value_name = "CLASS", help = "Storage classes, comma separated or repeated (default: all)")]
    pub classes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedStorage {
    /// Classes newly adopted by this database.
    pub classes: Vec<String>,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct SweepStorage {
    /// Classes from which any number of objects may be removed.
    #[serde(default)]
    #[arg(long, value_delimiter = ',', value_parser = classes(), hide_possible_values = true, value_name = "CLASS", help = "Classes from which any number of objects may be removed, comma separated or repeated")]
    pub confirm: Vec<String>,
}

/// The files that an eviction selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EvictionKind {
    /// Files of mirrors that were not requested for 30 days.
    #[default]
    Normal,
    /// Objects to which the database does not refer, in the storage classes of mirrors.
    Sweep,
    /// Objects to which the database does not refer, in the storage class `packages`.
    Packages,
    /// All files of mirrors.
    Clear,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StartEviction {
    /// The files to remove.
    #[serde(default)]
    #[arg(long = "type", value_enum, default_value = "normal", ignore_case = true, value_name = "TYPE")]
    pub kind: EvictionKind,
    /// Only count the files.
    #[serde(default)]
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Eviction {
    /// The result, as a sentence.
    pub message: String,
    /// The files that were selected.
    pub kind: EvictionKind,
    /// Whether the files were only counted.
    pub dry_run: bool,
    /// Number of removed files.
    pub files: u64,
    /// Size of the removed files, in bytes.
    pub bytes: u64,
    /// Number of selected files that were not removed because they are in use.
    pub in_use: u64,
    /// Reasons why selected files were not removed.
    pub notes: Vec<String>,
}
