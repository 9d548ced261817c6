//! `GET /__api__/alerts`: current problems, without confidential details.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A current problem. Details are in the server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// `job`, `storage`, `storage-owner`, `storage-sweep`, `storage-lost`, `storage-damage`, `clock`,
    /// `system-requirements`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The affected object: `sync:cran`.
    pub name: String,
    /// The problem as a sentence.
    pub message: String,
    /// Start of the problem, RFC 3339; `null` if unknown.
    pub since: Option<String>,
}
