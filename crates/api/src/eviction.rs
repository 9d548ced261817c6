//! Evictions: removal of stored package files that are fetched again on request.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
