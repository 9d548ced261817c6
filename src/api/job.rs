//! Jobs: work that takes longer than an answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartSync {
    /// `cran`, `bioconductor` or `pypi`, `sysreqs` for the rules of system requirements, or `vulns`
    /// for the advisories about packages; any case.
    #[serde(rename = "type")]
    pub kind: String,
    /// One version of Bioconductor, `release` or `devel`; without, every one that its mirror has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Under way.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
}

/// A job; the answer to `POST /sync` and `GET /jobs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Number since the server's start.
    pub id: u64,
    /// What it does: `sync:cran`.
    pub key: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// True when the request found it already under way.
    pub attached: bool,
    /// Where it stands.
    pub status: JobStatus,
    /// The phase under way, or the closing sentence.
    pub message: String,
    /// Steps done.
    pub done: u64,
    /// Steps in all, where known.
    pub total: Option<u64>,
}
