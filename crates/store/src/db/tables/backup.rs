//! The last backup and the last test of a backup in each folder, and whether they succeeded; and holds.
//!
//! While a hold has not expired, no object is removed from storage, because a backup reads the objects that the rows of its
//! snapshot refer to. Times of holds are those of the database host's clock; with SQLite, of the server's clock. The row is
//! checked in the transaction that removes the row of an object.

use std::time::Duration;

use super::{Conn, DbError};
use crate::db::engine::columns::{column, row, select};
use base::model::ids::Identity;
use base::model::recorded_words::RecordedCommand;
use base::model::time::Timestamp;

column! {
    RecordedCommand = "a command",
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct BackupResult from "backup_result" {
        pub folder: String = "place",
        pub command: RecordedCommand,
        /// Start time of the backup, or end time of the test.
        pub at: Timestamp,
        /// The reason why it failed; `None` if it succeeded.
        pub error: Option<String> = "nullif(error, '')",
        /// The value of `at` for the last run that succeeded; `None` if there is none.
        pub succeeded_at: Option<Timestamp> = "nullif(succeeded_at, 0)",
        /// Number of files that storage lacked during the last backup.
        pub missing: u64 => |cells| i64::decode(cells).map(|count| u64::try_from(count).unwrap_or_default()),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// Success, with the number of files that storage lacked.
    Success(u64),
    /// Failure, with the reason, which is not empty.
    Failure(String),
}

pub fn record(
    c: &mut dyn Conn,
    folder: &str,
    command: RecordedCommand,
    at: Timestamp,
    result: &CommandResult,
) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO backup_result (place, command, at, error, succeeded_at, missing) VALUES ($1, $2, \
        $3, $4, $5, $6) ON CONFLICT (place, command) DO UPDATE SET at = excluded.at, error = excluded.error, \
        missing = excluded.missing, succeeded_at = CASE WHEN excluded.error = '' THEN excluded.succeeded_at \
        ELSE backup_result.succeeded_at END";
    let (error, succeeded_at, missing) = match result {
        CommandResult::Success(missing) => ("", at, i64::try_from(*missing).unwrap_or(i64::MAX)),
        CommandResult::Failure(error) => (error.as_str(), Timestamp(0), 0),
    };
    let (name, missing) = (command.as_str().into(), missing.into());
    c.execute(RECORD, &[folder.into(), name, at.into(), error.into(), succeeded_at.into(), missing]).map(drop)
}

/// Returns the time of the last successful backup in a folder; `None` if there is none.
pub fn last_success(c: &mut dyn Conn, folder: &str) -> Result<Option<Timestamp>, DbError> {
    const FIND: &str = "SELECT succeeded_at FROM backup_result WHERE place = $1 AND command = 'create' \
        AND succeeded_at > 0";
    c.first(FIND, &[folder.into()])
}

/// Returns all results, by folder.
pub fn results(c: &mut dyn Conn) -> Result<Vec<BackupResult>, DbError> {
    // Others are commands of a later version.
    const ALL: &str = select!(BackupResult, "WHERE command IN ('create', 'test') ORDER BY place, command");
    c.all(ALL, &[])
}

/// Duration of a hold without renewal.
const HOLD_TERM: Duration = Duration::from_secs(600);
/// Maximum time until the end of a hold. One that ends later was taken before the clock was set back: it is expired.
const MAX_AHEAD: Duration = Duration::from_secs(2 * HOLD_TERM.as_secs());

/// Takes a hold, and removes those that have expired.
pub fn take_hold(c: &mut dyn Conn, id: Identity, clock: Timestamp) -> Result<(), DbError> {
    const TAKE: &str = "INSERT INTO hold (id, until) VALUES ($1, $2)";
    const EXPIRED: &str = "DELETE FROM hold WHERE until <= $1 OR until > $2";
    let now = c.time(clock)?;
    c.execute(EXPIRED, &[now.into(), (now + MAX_AHEAD).into()])?;
    c.execute(TAKE, &[id.to_string().into(), (now + HOLD_TERM).into()]).map(drop)
}

/// Renews a hold. Returns false if it has expired: objects may have been removed since.
pub fn renew_hold(c: &mut dyn Conn, id: Identity, clock: Timestamp) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE hold SET until = $1 WHERE id = $2 AND until > $3 AND until <= $4";
    let now = c.time(clock)?;
    let params = [(now + HOLD_TERM).into(), id.to_string().into(), now.into(), (now + MAX_AHEAD).into()];
    Ok(c.execute(RENEW, &params)? == 1)
}

pub fn release_hold(c: &mut dyn Conn, id: Identity) -> Result<(), DbError> {
    c.execute("DELETE FROM hold WHERE id = $1", &[id.to_string().into()]).map(drop)
}

/// Returns the time until which objects may not be removed; `None` if they may be removed now. Call it in the
/// transaction that removes the row of an object: interactive writes run one at a time, so no hold can be taken
/// between this check and the removal.
pub fn held_until(c: &mut dyn Conn, clock: Timestamp) -> Result<Option<Timestamp>, DbError> {
    const SELECT: &str =
        "SELECT until FROM hold WHERE until > $1 AND until <= $2 ORDER BY until DESC LIMIT 1";
    let now = c.time(clock)?;
    c.first(SELECT, &[now.into(), (now + MAX_AHEAD).into()])
}
