//! `GET /__api__/repos…`: repositories and the days on which they changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::{Order, query};

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
pub struct Repo {
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
