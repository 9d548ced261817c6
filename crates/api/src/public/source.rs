//! `GET /__api__/sources…`: sources and their transactions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /sources/{source}/transactions`.
    ListTransactions {
        /// rows per page
        limit as "_limit": Option<usize>,
        /// page number, from 1
        page as "_page": Option<usize>,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Row id; CRAN is 1.
    pub id: i64,
    /// Unique among sources.
    pub name: String,
    /// Creation time, RFC 3339.
    pub created: String,
    /// `CRAN`, `Local`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// A transaction of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// The id of the transaction; it can be used as the snapshot in a URL.
    pub id: i64,
    /// Time of publication, RFC 3339.
    pub created: String,
    /// Day of publication, `YYYY-MM-DD`.
    pub completed: String,
    /// The changed object: `source`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free text.
    pub tag: String,
    pub source_id: i64,
    /// A text that identifies the transaction.
    pub guid: String,
    /// Packages that became listed.
    pub packages_added: i64,
    /// Packages whose listed version changed.
    pub packages_updated: i64,
    /// Releases that moved to the archive.
    pub packages_archived: i64,
    /// Packages that are no longer listed.
    pub packages_removed: i64,
    /// `Sync`, `Add`, `Remove`, …
    pub action: String,
    /// The oldest upstream publication time of the new releases, RFC 3339.
    pub published_from: String,
    /// The newest upstream publication time of the new releases, RFC 3339.
    pub published_to: String,
    /// Empty on success.
    pub result: String,
}
