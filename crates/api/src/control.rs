//! The server process: mode, reload, log level and log files.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::backup::LastBackupResult;
use crate::flag_values::{SuggestedValues, seconds};

/// The mode of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Starting.
    Starting,
    /// Serving.
    Online,
    /// Serving, and finishing running requests and jobs before going offline.
    Draining,
    /// Taken offline.
    Offline,
    /// Not serving, because a required resource is unusable; the start is retried automatically.
    Broken,
}

/// This server: response to `GET /status`, `POST /online` and `POST /offline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Host name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    pub mode: Mode,
    /// The state as a sentence: what it serves, or why it cannot serve.
    pub message: String,
    /// Whether this server runs the schedules.
    pub leader: bool,
    /// Number of running requests that delay going offline.
    pub requests: usize,
    /// Keys of running jobs.
    pub jobs: Vec<String>,
    /// Problems that need an administrator, with the remedy.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The encryption key: its location and the first digits of its fingerprint. Absent if there is none, or while the
    /// server does not serve.
    #[serde(default)]
    pub encryption_key: Option<String>,
    /// The last backup, and the last test of a backup, of each folder.
    #[serde(default)]
    pub backups: Vec<LastBackupResult>,
    /// Scheduled tasks; empty while the server does not serve or the database does not answer.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
}

/// A scheduled task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// `cran`, `bioconductor`, `pypi`, `sysreqs`, `vulns`, `usage data`.
    pub name: String,
    /// Five cron fields, UTC.
    pub cron: String,
    /// The last successful run, scheduled or manual (RFC 3339); absent before the first.
    pub last: Option<String>,
    /// The next run (RFC 3339); absent if there is none.
    pub next: Option<String>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct GoOffline {
    /// Seconds that running requests and jobs may take.
    #[arg(long, default_value = "60s", value_parser = seconds, value_name = "TIME", help = "Time limit for requests and jobs in progress: seconds, or 90s, 5m, 1h")]
    pub timeout: u64,
}

/// A property whose value in the file differs from the previous one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The name of the property, such as `CRAN.URL`.
    pub property: String,
    /// The previous value, set or default; secrets are `***`.
    pub from: String,
    /// The value in the file, or the default if the file does not set the property; may be empty.
    pub to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// Applied changes.
    pub applied: Vec<Change>,
    /// Properties that were removed from the file; their active value is kept.
    pub ignored: Vec<Change>,
    /// Changes that need a restart, or going offline and online.
    pub restart: Vec<Change>,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetDebugRegions {
    /// Names of regions.
    pub regions: Vec<String>,
    /// Whether their debug events are written at every level.
    pub active: bool,
}

/// A region: an element of the responses to `GET /log/regions` and `PUT /log/regions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DebugRegion {
    pub name: String,
    /// Which events belong to it.
    pub description: String,
    /// Whether its debug events are written at every level.
    pub active: bool,
}

/// `PUT /log/level`, and its response.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct LogLevel {
    /// `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`; any case.
    #[arg(long, value_parser = SuggestedValues(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]), help = "Lowest severity that is logged; case-insensitive")]
    pub level: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReopenResult {
    /// Paths of the reopened files. Earlier lines are in the renamed files.
    pub files: Vec<String>,
}
