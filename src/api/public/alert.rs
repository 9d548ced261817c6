//! `GET /__api__/alerts`: what an administrator should look at, in words for anybody.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that is not as it should be. Details are in the server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// `job`, `storage`, `storage-owner`, `storage-sweep`, `storage-lost`, `storage-damage`, `clock`, `system-requirements`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: `sync:cran`.
    pub name: String,
    /// A sentence.
    pub message: String,
    /// Since when, RFC 3339; `null` where that is not known.
    pub since: Option<String>,
}
