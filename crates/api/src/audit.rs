//! The audit trail on the admin API.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::time;
use crate::query::query;

query! {
    /// The query of `GET /audit`.
    #[derive(Args)]
    #[group(skip)]
    ListAudit {
        /// oldest (default) or newest: the order of the rows
        #[arg(skip)]
        order: Option<String>,
        /// Only rows after the one with this number
        #[arg(skip)]
        after: Option<usize>,
        /// Maximum number of rows, at most 10000; default 100
        #[arg(skip)]
        limit: Option<usize>,
        /// Rows from this time on (RFC 3339)
        #[arg(
            long,
            value_parser = time,
            value_name = "TIME",
            help = "Rows from this time on: a day (YYYY-MM-DD, in UTC) or a time (2026-11-22T12:00:00Z)"
        )]
        since: Option<String>,
        /// Rows before this time (RFC 3339)
        #[arg(long, value_parser = time, value_name = "TIME", help = "Rows before this time")]
        until: Option<String>,
        /// Rows of this user
        #[arg(long)]
        actor: Option<String>,
        /// Rows with this action
        #[arg(long, help = "Rows with this action, such as 'create source'")]
        action: Option<String>,
        /// Rows about the object with this name
        #[arg(long)]
        object: Option<String>,
        /// Rows with this outcome: success or refused
        #[arg(long, value_parser = outcomes(), help = "Rows with this outcome")]
        outcome: Option<String>,
    }
}

/// Accepts the outcomes of changes.
fn outcomes() -> PossibleValuesParser {
    PossibleValuesParser::new([
        PossibleValue::new("success").help("The change was made"),
        PossibleValue::new("refused")
            .help("The change was refused: a scope is missing, or a token was used before"),
    ])
}

query! {
    /// The query of `GET /audit/verify`.
    #[derive(Args)]
    VerifyAudit {
        /// Number of a row that was recorded on another system
        #[arg(long, requires = "sha256")]
        row: Option<usize>,
        /// Digest of that row
        #[arg(long, requires = "row")]
        sha256: Option<String>,
    }
}

/// A row of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// The number of the row: from 1, without gaps.
    pub id: i64,
    /// Time of the request for the change, RFC 3339.
    pub time: String,
    /// `socket`, `token`, `session` or `job`.
    pub actor_kind: String,
    /// The actor: a user, a token or the server itself.
    pub actor: String,
    /// The address of the client; empty for requests on the administration socket and for changes by the server
    /// itself.
    pub address: String,
    /// The action, such as `create source`.
    pub action: String,
    /// The kind of the object.
    pub object_kind: String,
    /// The name of the object at that time.
    pub object: String,
    /// `success` or `refused`.
    pub outcome: String,
    /// Details of the change; may be empty.
    pub detail: String,
    /// The SHA-256 digest of the previous row.
    pub previous: String,
    /// The SHA-256 digest of this row.
    pub sha256: String,
}

query! {
    /// The query of `GET /audit/salts`.
    ListSalts {
        /// The number of the log; the newest one by default
        log: Option<usize>,
        /// The number of the first entry
        first: Option<usize>,
    }
}

/// The salt with which an entry of the log of history names a row: SHA-256 of the salt and of the digits of the row's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditSalt {
    /// The number of the log.
    pub log: i64,
    /// The number of the entry.
    pub entry: u64,
    /// The number of the row.
    pub row: u64,
    /// 32 bytes in hexadecimal digits.
    pub salt: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    /// Number of rows.
    pub rows: i64,
    /// The number of the newest row; 0 if there is none.
    pub last: i64,
    /// The digest of the newest row. Record it on another system, for a later verification.
    pub sha256: String,
    /// The errors found, as sentences; at most a hundred.
    pub problems: Vec<String>,
}
