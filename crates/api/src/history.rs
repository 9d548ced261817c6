//! The log of what the server published and served.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
}

/// The state of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryStatus {
    /// Its name.
    pub origin: String,
    /// Its public key, NAME+ID+KEY, for policies of auditors.
    pub key: String,
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
}
