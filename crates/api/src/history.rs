//! The log of what the server published and served.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct InitHistory {
    /// The name of the log, without spaces and '+'; absent for HOST/__log__, with the host of Server.Address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "NAME",
        help = "Name of the log, which never changes (default: HOST/__log__ of Server.Address)"
    )]
    pub origin: Option<String>,
    /// Whether the existing log ends and another one with another key follows, whose default name has a number at its end.
    #[serde(default)]
    #[arg(
        long,
        help = "End the existing log, and begin another one with another key (default name: with /2, /3, … at its end)"
    )]
    pub new_log: bool,
}

/// The state of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryStatus {
    /// Its name.
    pub origin: String,
    /// Its public key, NAME+ID+KEY, for policies of auditors.
    pub key: String,
    /// The public key before it, if that one signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_key: Option<String>,
    /// Until when the key before it signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_key_until: Option<String>,
    /// The public key with which this server cosigns other logs, for their section [History].
    #[serde(default)]
    pub witness_key: String,
    /// The number of entries.
    pub entries: u64,
    /// The number of entries of the newest signed checkpoint.
    pub signed: u64,
    /// The newest transaction that has an entry.
    pub transaction: i64,
    /// The number of transactions without an entry.
    pub waiting: usize,
    /// The states of the days before this time have entries.
    pub closed_until: String,
    /// The newest signed checkpoint; empty before the first one.
    pub checkpoint: String,
    /// Why nothing is appended or signed; absent if the log is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
    /// Why the last attempt to write the log failed, if this server is the one that writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The witnesses of the section [History].
    #[serde(default)]
    pub witnesses: Vec<HistoryWitness>,
}

/// What a witness cosigned, as far as this server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryWitness {
    pub name: String,
    /// The number of entries of the newest checkpoint that it cosigned; 0 if there is none.
    pub size: u64,
    /// The time of its newest cosignature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigned_at: Option<String>,
    /// Why the last request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

query! {
    /// The query of `GET /history/checkpoint`.
    #[derive(Args)]
    #[group(skip)]
    ShowCheckpoint {
        /// Print the request for a witness without a connection, which cosigned this number of entries last
        #[arg(long, value_name = "ENTRIES")]
        old: Option<usize>,
    }
}

/// A signed checkpoint, the request of a log to a witness, or the answer of a witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryText {
    pub text: String,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct ExportHistory {
    /// The folder, an absolute path or `s3://bucket/prefix`.
    #[arg(
        long,
        value_name = "FOLDER",
        help = "The folder, a directory that the server's user may write or s3://bucket/prefix"
    )]
    pub to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddState {
    /// Name of the repository.
    pub repository: String,
    /// A day that is over (`YYYY-MM-DD`), or the number of a transaction.
    pub snapshot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedHistory {
    /// The number of entries.
    pub entries: u64,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct RecoverHistory {
    /// A copy of the log: an absolute path, `s3://bucket/prefix` or a URL; absent for `History.ExportPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "COPY",
        help = "A copy of the log: a directory, s3://bucket/prefix or a URL (default: History.ExportPath)"
    )]
    pub from: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveredHistory {
    /// The number of entries that the database lacked.
    pub entries: usize,
    /// Keys of the log that these entries announce, and that this server does not have.
    pub keys: Vec<String>,
}
