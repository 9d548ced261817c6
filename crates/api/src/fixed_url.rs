//! Fixed URLs of repositories.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /repos/{name}/urls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateUrl {
    /// The Bioconductor version whose packages are fixed; absent for all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The day, `YYYY-MM-DD`; absent for the newest state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Sources whose snapshot differs from `date`.
    #[serde(default)]
    pub snapshots: Vec<SourceSnapshot>,
    /// Fix the subscriptions and the states of all sources.
    #[serde(default)]
    pub lock: bool,
    /// Return a URL with a day or a transaction, without creating an alias.
    #[serde(default)]
    pub no_alias: bool,
}

/// The state of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceSnapshot {
    /// The source.
    pub source: String,
    /// A day or a transaction.
    pub snapshot: String,
}

/// Response to `POST /repos/{name}/urls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FixedUrl {
    /// The URL of the repository.
    pub url: String,
    /// The snapshot segment of the URL.
    pub snapshot: String,
    /// Whether `url` contains the address of the server, from `Server.Address` or the request; otherwise the URL
    /// is valid on the server's machine only.
    pub has_address: bool,
}
