//! The servers that share a database.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::seconds;

/// A server: a row of `GET /nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterNode {
    /// Random id, new with each start of the server.
    pub id: String,
    /// Host name; a second server with the same host name has a number: `pm1 (2)`.
    pub name: String,
    /// IP address and port of its first listener.
    pub address: String,
    /// Version of the program.
    pub version: String,
    /// The newest schema of the database that the program supports.
    pub schema: i64,
    /// `starting`, `online`, `draining`, `offline`, `broken`; `gone` if its last heartbeat is over 30 seconds old.
    pub mode: String,
    /// Whether it runs the schedules.
    pub leader: bool,
    /// Whether other servers are missing from the list, because the database does not answer.
    #[serde(default)]
    pub lacks_others: bool,
    /// Whether it is the server that answers this request.
    pub own: bool,
    /// Start time (RFC 3339), like the other times by the clock of the database.
    pub started: String,
    /// Time of its last heartbeat.
    pub last_seen: String,
    /// Start time of its current mode.
    pub since: String,
    /// What the server waits for, or the reason why it cannot serve or did not change its mode.
    pub message: String,
    /// Differences from the server that answers, as predicates whose subject is the server, such as
    /// `has another configuration: CRAN.URL`.
    pub differences: Vec<String>,
    /// The last mode that an administrator requested.
    pub requested: Option<RequestedMode>,
    /// The time (`at` of the requested mode) of the last request that the server completed or failed to complete.
    #[serde(rename = "answered")]
    pub completed_request: Option<String>,
}

/// A mode that an administrator requested for a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestedMode {
    /// `online` or `offline`.
    pub mode: String,
    /// The administrator.
    pub by: String,
    /// Time of the request, which identifies the request.
    pub at: String,
}

/// `POST /nodes/online`, `POST /nodes/offline`.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct ChangeNodes {
    /// Names of servers, as in `GET /nodes`.
    #[arg(
        long,
        value_delimiter = ',',
        required = true,
        value_name = "NAMES",
        help = "Names of servers, as `rspm cluster nodes` shows them, separated by commas; all: --nodes='*'"
    )]
    pub nodes: Vec<String>,
    /// Seconds that running requests and jobs may take.
    #[arg(long, default_value = "60s", value_parser = seconds, value_name = "TIME", help = "Time limit for requests and jobs in progress: seconds, or 90s, 5m, 1h")]
    pub timeout: u64,
}

/// Response to `POST /nodes/online` and `POST /nodes/offline`. The servers complete the request afterwards; then
/// `answered` of each server in `GET /nodes` equals `at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedRequest {
    /// Time of the request, which identifies the request.
    pub at: String,
    /// The servers that the request names.
    pub nodes: Vec<NodeName>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeName {
    pub id: String,
    pub name: String,
}
