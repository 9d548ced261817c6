//! The server itself: its mode, the nodes of a cluster, reloads, the log level.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// In which mode a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Opening what it needs.
    Starting,
    /// Serving.
    Online,
    /// Serving, and finishing what is under way to go offline.
    Leaving,
    /// Asked not to serve.
    Offline,
    /// Something it needs cannot be used; it tries again by itself.
    Broken,
}

/// One server; the answer to `GET /status`, `POST /online` and `POST /offline`, and an entry of `GET /nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Host name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// Its mode.
    pub mode: Mode,
    /// The mode in a sentence: what it serves, or why it does not.
    pub message: String,
    /// True when this server runs the schedules.
    pub leader: bool,
    /// Requests that keep it from going offline.
    pub requests: usize,
    /// Keys of jobs under way.
    pub jobs: Vec<String>,
    /// What needs an administrator, with the way out.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What runs by schedule; empty while nothing is served, and where the database does not answer.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
}

/// What runs by schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// `cran`, `bioconductor`, `sysreqs`, `vulns`, `usage data`.
    pub name: String,
    /// Five cron fields, UTC.
    pub cron: String,
    /// The last success, by schedule or by hand (RFC 3339); absent before the first.
    pub last: Option<String>,
    /// The next run (RFC 3339); absent when there is none.
    pub next: Option<String>,
}

/// `POST /offline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GoOffline {
    /// How long what is under way may take, in seconds.
    pub timeout: u64,
}

/// A property whose value in the file is not the one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `CRAN.URL`.
    pub property: String,
    /// In force before; secrets are `***`.
    pub from: String,
    /// In the file; empty when it is not there any more.
    pub to: String,
}

/// What a reload did; the answer to `POST /reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// In force now.
    pub applied: Vec<Change>,
    /// No longer written: the value in force is kept.
    pub ignored: Vec<Change>,
    /// In force after a restart, or after going offline and online.
    pub restart: Vec<Change>,
    /// What else an administrator should know.
    pub warnings: Vec<String>,
}

/// `PUT /log/level`, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevel {
    /// `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`; any case.
    pub level: String,
}
