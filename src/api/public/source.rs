//! `GET /__api__/sources…`: sources and what happened to them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Row number; 1 is CRAN.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// `CRAN`, `Local`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// One published change. Old clients use `id` (a snapshot segment) and `published_to` of every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// A snapshot segment.
    pub id: i64,
    /// RFC 3339.
    pub created: String,
    /// The day, `YYYY-MM-DD`.
    pub completed: String,
    /// What was changed: `source`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free text.
    pub tag: String,
    /// The source.
    pub source_id: i64,
    /// Unique text.
    pub guid: String,
    /// Packages listed that were not before.
    pub packages_added: i64,
    /// Packages whose listed version changed.
    pub packages_updated: i64,
    /// Releases moved to the archive.
    pub packages_archived: i64,
    /// Packages no longer listed.
    pub packages_removed: i64,
    /// `Sync`, `Add`, `Remove`, …
    pub action: String,
    /// RFC 3339.
    pub published_from: String,
    /// RFC 3339.
    pub published_to: String,
    /// Empty when all went well.
    pub result: String,
}
