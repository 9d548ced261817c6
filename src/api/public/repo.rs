//! `GET /__api__/repos…`: repositories and the days they have a state of.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// Row number; addresses take it or the name.
    pub id: i64,
    /// The first segment of its URLs.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// Free text.
    pub description: String,
    /// `R`, `Bioconductor`, `Python`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Reading asks for a token.
    pub auth: bool,
    /// Not listed.
    pub hidden: bool,
}

/// A day on which the repository changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionDate {
    /// The repository.
    pub repo_id: i64,
    /// What a URL says: `2026-10-05`, or `latest`.
    pub alias: String,
    /// When the state was published, RFC 3339.
    pub date: String,
}
