//! Metadata of packages that administrators set.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::row::Row;

use crate::query::query;

query! {
    /// The query of `GET /metadata`.
    #[derive(Args)]
    ListMetadata {
        /// Only of this package
        #[arg(long)]
        package_name as "package": Option<String>,
        /// Only this key
        #[arg(long)]
        key: Option<String>,
        /// Only metadata limited to this source
        #[arg(long)]
        source: Option<String>,
        /// Only metadata limited to this repository
        #[arg(long)]
        repo: Option<String>,
    }
}

/// A key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Metadata {
    pub id: i64,
    pub package_name: String,
    /// The version; absent for every version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The source; absent for every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The repository; absent for every repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    pub key: String,
    pub value: String,
    /// The administrator who set the value.
    pub actor: String,
    /// Time at which the value was set (RFC 3339).
    pub changed: String,
}

/// A value to set: the fields of [`Metadata`] that can be set. The output of a list is accepted as input.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[serde(deny_unknown_fields)]
pub struct MetadataRecord {
    /// Ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub id: Option<i64>,
    /// The package.
    #[arg(long)]
    pub package_name: String,
    /// The version; every version if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "Only this version (default: every version)")]
    pub version: Option<String>,
    /// The source; every source if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "Only in this source (default: in every source)")]
    pub source: Option<String>,
    /// The repository; every repository if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "Only in this repository (default: in every repository)")]
    pub repo: Option<String>,
    /// The key: 1 to 100 characters, without line breaks and `=`.
    #[arg(long, help = "The key; web pages show the key 'status' first")]
    pub key: String,
    /// The value: text of at most 4096 bytes.
    #[arg(long, help = "The value")]
    pub value: String,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub actor: Option<String>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub changed: Option<String>,
}

/// Sets values, in one transaction.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct SetMetadata {
    /// The values, at most 2000. A value that cannot be read is refused like one that is not valid.
    #[schema(value_type = Vec<MetadataRecord>)]
    #[arg(skip)]
    pub records: Vec<Row>,
    /// Set no value if one is refused.
    #[serde(default)]
    #[arg(skip)]
    pub fail_all: bool,
    /// Keep the values of existing keys, and treat this as success.
    #[serde(default)]
    #[arg(long, conflicts_with = "update_existing", help = "Leave the value of an existing key and succeed")]
    pub succeed_on_existing: bool,
    /// Replace the values of existing keys.
    #[serde(default)]
    #[arg(long, help = "Replace the value of an existing key")]
    pub update_existing: bool,
}

/// The result of a [`SetMetadata`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetadataResult {
    /// Keys that are new.
    pub created: Vec<Metadata>,
    /// Keys whose values were replaced.
    pub updated: Vec<Metadata>,
    /// Keys that existed and were not changed.
    pub unchanged: Vec<Metadata>,
    /// Values that were refused.
    pub refused: Vec<RefusedMetadata>,
}

/// A value that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedMetadata {
    /// Its position in the request, from 0.
    pub index: usize,
    /// The reason.
    pub error: String,
}

/// Deletes keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeleteMetadata {
    /// Ids of the keys.
    #[serde(default)]
    pub ids: Vec<i64>,
    /// Delete all keys.
    #[serde(default)]
    pub all: bool,
}
