//! Repositories and sources: transactions, days of changes, snapshots and the packages that differ between them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::{Order, query};
use base::model::snapshot::Snapshot;

query! {
    /// The query of `GET /repos`.
    ListRepos {
        /// R, Bioconductor or Python
        kind as "type": Option<String>,
    }
}

query! {
    /// The query of `GET /repos/{repo}/transaction-dates`.
    ListDates {
        /// date
        sort as "_sort": Option<String>,
        /// asc or desc; default desc
        order as "_order": Option<Order>,
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Repo)]
pub struct PublicRepo {
    /// Id; URLs of the API accept the id or the name.
    pub id: i64,
    /// The first segment of its URLs.
    pub name: String,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Free text.
    pub description: String,
    /// `R`, `Bioconductor`, `Python`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether reading requires a token.
    pub auth: bool,
    /// Whether the repository is hidden from lists.
    pub hidden: bool,
}

/// A day on which the repository changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionDate {
    pub repo_id: i64,
    /// The snapshot in URLs: `2026-10-05`, or `latest`.
    pub alias: String,
    /// The day as a time, RFC 3339.
    pub date: String,
}

/// `POST /url`: a request for the snapshot at a given time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotQuery {
    pub repo: String,
    /// The time, in UTC: `2022-01-04T00:00:00Z`, or a day.
    pub snapshot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Snapshot)]
pub struct SnapshotUrl {
    /// The snapshot segment of the URL.
    pub upsi: String,
    /// The URL of the repository at that snapshot.
    pub url: String,
}

query! {
    /// The query of `GET /repos/{repo}/diff`.
    Compare {
        /// a day or a transaction
        from: Option<Snapshot>,
        /// latest (default), a day or a transaction
        to: Option<Snapshot>,
        /// added, removed, updated, downgraded, replaced or moved; default all
        kind: Option<String>,
        /// csv, or json (default)
        format: Option<String>,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
    }
}

/// One row of `GET /repos/{r}/diff`: a package that differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDifference {
    pub name: String,
    /// `added`, `removed`, `updated`, `downgraded`, `replaced` (different bytes under the same version) or `moved` (the
    /// same version from another source).
    pub kind: String,
    /// The version in the first snapshot; `null` if it does not list the package.
    pub from_version: Option<String>,
    /// Name of the source in the first snapshot.
    pub from_source: Option<String>,
    /// The version in the second snapshot; `null` if it does not list the package.
    pub to_version: Option<String>,
    /// Name of the source in the second snapshot.
    pub to_source: Option<String>,
    /// Publication time of `to_version`, RFC 3339, if known.
    pub published: Option<String>,
}

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
#[schema(as = Source)]
pub struct PublicSource {
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
