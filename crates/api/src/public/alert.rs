//! `GET /__api__/alerts`: current problems, without confidential details.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A current problem. Details are in the server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// `job` (failed), `database` (read-only), `storage` (a class is unavailable or full), `storage-owner` (a class
    /// belongs to another database), `storage-sweep` (a sweep needs confirmation), `storage-lost` (objects are
    /// missing), `storage-damage` (objects are damaged), `backup` (the last backup or its test failed or is old),
    /// `clock` (transactions cannot be published), `system-requirements` (rules have patterns that this version does
    /// not support), `promoted-repository` (rules or advisories started or ceased to withhold versions in a repository that
    /// changes by promotion only, in the last 30 days), `name-guard` (a mirror lists a guarded name; for administrators only).
    #[serde(rename = "type")]
    pub kind: String,
    /// The subject, such as a job: `sync:cran`.
    pub name: String,
    /// The problem as a sentence.
    pub message: String,
    /// Start of the problem, RFC 3339; `null` if unknown.
    pub since: Option<String>,
}
