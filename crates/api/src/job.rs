//! Jobs: work that continues after the response.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::SuggestedValues;

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StartSync {
    /// `cran`, `bioconductor` or `pypi`, `sysreqs` for the rules for system requirements, or `vulns`
    /// for the advisories about packages; any case.
    #[serde(rename = "type")]
    #[arg(long = "type", default_value = "CRAN", value_name = "TYPE", value_parser = SuggestedValues(&["CRAN", "Bioconductor", "PyPI", "sysreqs", "vulns"]), help = "Data to sync: packages of CRAN, Bioconductor or PyPI, rules for system requirements (sysreqs), security advisories (vulns)")]
    pub kind: String,
    /// One Bioconductor version, `release` or `devel`; if absent, all versions of its mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        help = "A version of Bioconductor, or release or devel (default: every version of the mirror)"
    )]
    pub version: Option<String>,
    /// Whether to accept a project list of PyPI that lacks earlier projects or has lower serials than the last sync.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[arg(
        long,
        help = "Accept a project list of PyPI that lacks earlier projects or has lower serials than the last sync"
    )]
    pub accept_serial: bool,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct ClearSource {
    /// `cran`; any case.
    #[serde(rename = "type")]
    #[arg(long = "type", default_value = "cran", value_name = "TYPE", value_parser = SuggestedValues(&["cran"]), help = "The source")]
    pub kind: String,
    /// Confirms the removal; without it, the request is refused with an error that states the consequences.
    #[serde(default)]
    #[arg(long, help = "Clear the source; without this flag, only check whether it can be cleared")]
    pub confirm: bool,
}

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Still running.
    Running,
    /// Succeeded.
    Done,
    /// Failed.
    Failed,
}

/// A job: response to `POST /sync` and `GET /jobs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Id, unique since the server's start.
    pub id: u64,
    /// The operation: `sync:cran`.
    pub key: String,
    /// Start time, RFC 3339.
    pub started: String,
    /// Whether the job was already running at the time of the request.
    pub attached: bool,
    pub status: JobStatus,
    /// The current phase, or the result as a sentence.
    pub message: String,
    /// Number of completed steps.
    pub done: u64,
    /// Total number of steps, where known.
    pub total: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartBackfill {
    /// The source's name: `cran`.
    pub source: String,
    /// The oldest day to fill in, `YYYY-MM-DD`.
    pub since: String,
    /// Maximum number of requests to the mirror per second; 8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Only report what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoppedBackfill {
    /// The result as a sentence.
    pub message: String,
}
