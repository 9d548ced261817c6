//! The health of a server: what needs an administrator, and the facts beside it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::backup::LastBackupResult;
use super::control::Schedule;

/// The health of this server. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The time of this report.
    pub at: String,
    /// What needs an administrator; at most 50.
    pub problems: Vec<HealthProblem>,
    /// The number of all problems.
    pub problem_count: usize,
    pub requests: RecentRequests,
    pub storage: Vec<StorageDirectory>,
    pub work: JobNumbers,
    /// The valid tokens that end within 30 days, except those with a lifetime of less than four weeks; the first 20.
    pub tokens: Vec<EndingToken>,
    /// Whether there are more than 20.
    pub more_tokens: bool,
    /// The end of the HTTPS certificate in use; absent without HTTPS.
    pub certificate_end: Option<String>,
    /// The last backup, and the last test of a backup, of each folder.
    pub backups: Vec<LastBackupResult>,
    /// The log of what was published; absent if there is none.
    pub history: Option<HistoryHealth>,
    /// Scheduled syncs; empty if the database does not answer.
    pub schedules: Vec<Schedule>,
}

/// A problem, and the command that mends it or shows the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthProblem {
    /// As in the alerts of the public API.
    #[serde(rename = "type")]
    pub kind: String,
    /// The subject, such as a job: `sync:cran`.
    pub name: String,
    /// The problem as a sentence, with the reason.
    pub message: String,
    /// A command for the server's machine.
    pub command: String,
    /// Start of the problem; absent if unknown.
    pub since: Option<String>,
}

/// The requests of the last 24 hours that this process answered on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecentRequests {
    /// The time from which they are counted: at most 24 hours ago, and not before the start of the process.
    pub since: String,
    /// The last 24 hours, the current one last.
    pub hours: Vec<HourOfRequests>,
    /// The kinds of addresses that were requested, those whose requests took longest first.
    pub kinds: Vec<KindOfRequests>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HourOfRequests {
    pub start: String,
    /// The number of all responses.
    pub requests: u64,
    /// The number of responses with a status of 4xx.
    pub client_errors: u64,
    /// The number of responses with a status of 5xx.
    pub server_errors: u64,
}

/// The requests for addresses of a kind. Durations are from the head of a request to the last byte of the response, in
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindOfRequests {
    /// What clients request there.
    pub name: String,
    /// A path of this kind.
    pub example: String,
    pub requests: u64,
    /// The number of responses with a status of 5xx.
    pub server_errors: u64,
    /// A duration that half of the requests did not exceed.
    pub half_within: u64,
    /// A duration that 95 % of the requests did not exceed.
    pub most_within: u64,
    /// The duration of the slowest request.
    pub slowest: u64,
    /// The path of the slowest request, without its query.
    pub slowest_path: String,
    /// The time of the slowest request.
    pub slowest_at: Option<String>,
}

/// A directory of storage classes, or a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageDirectory {
    pub classes: Vec<String>,
    /// The directory, or the address of the bucket.
    pub location: String,
    /// Size of its files at the last scan, in bytes; absent for a bucket and before the first scan.
    pub used: Option<u64>,
    /// Size of its file system, in bytes; absent for a bucket.
    pub size: Option<u64>,
    /// Space that the server can still write, in bytes; absent for a bucket.
    pub free: Option<u64>,
}

/// Jobs and builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobNumbers {
    /// Jobs that run in this process.
    pub running_jobs: usize,
    /// Runs of jobs that failed within 24 hours, on all servers of the database.
    pub failed_jobs: i64,
    /// Builds from git that wait, on all servers of the database.
    pub waiting_builds: i64,
    /// Builds from git that run.
    pub running_builds: i64,
    /// Builds from git that failed within 24 hours.
    pub failed_builds: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndingToken {
    pub guid: String,
    /// The first and last characters of the token.
    pub excerpt: String,
    pub description: String,
    pub user: String,
    pub expires: String,
    /// The last day on which it was used; absent if it was not.
    pub last_used: Option<String>,
}

/// The log of what was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryHealth {
    pub origin: String,
    pub entries: u64,
    /// The number of entries of the newest signed checkpoint.
    pub signed: u64,
    /// The number of transactions without an entry.
    pub waiting: usize,
    /// Why nothing is appended or signed; absent if the log is not paused.
    pub pause: Option<String>,
    /// The number of witnesses.
    pub witnesses: usize,
    /// The time of the oldest of the newest cosignatures of the witnesses; absent if one has not cosigned, or there is none.
    pub cosigned_at: Option<String>,
}
