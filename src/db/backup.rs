//! The last backup and the last test of a backup in each folder, and whether they succeeded.

use super::{Conn, DbError};
use crate::model::time::Timestamp;

/// A command whose result is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedCommand {
    /// `rspm backup create`.
    Create,
    /// `rspm backup test`.
    Test,
}

impl RecordedCommand {
    /// The word in the column `command`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordedCommand::Create => "create",
            RecordedCommand::Test => "test",
        }
    }
}

/// The last result of a command in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupResult {
    /// The folder.
    pub place: String,
    /// The command.
    pub command: RecordedCommand,
    /// When the backup began, or the test ended.
    pub at: Timestamp,
    /// Why it failed; `None` if it succeeded.
    pub error: Option<String>,
    /// The same of the last one that succeeded.
    pub succeeded_at: Option<Timestamp>,
}

/// Records the result of a command.
pub fn record(
    c: &mut dyn Conn,
    place: &str,
    command: RecordedCommand,
    at: Timestamp,
    error: Option<&str>,
) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO backup_result (place, command, at, error, succeeded_at) \
        VALUES ($1, $2, CAST($3 AS BIGINT), $4, CAST($5 AS BIGINT)) \
        ON CONFLICT (place, command) DO UPDATE SET at = excluded.at, error = excluded.error, \
        succeeded_at = CASE WHEN excluded.error = '' THEN excluded.succeeded_at ELSE backup_result.succeeded_at END";
    // For servers of earlier versions on the same database.
    const MADE: &str = "INSERT INTO backup (place, made_at) VALUES ($1, CAST($2 AS BIGINT)) \
        ON CONFLICT (place) DO UPDATE SET made_at = excluded.made_at";
    let succeeded_at = if error.is_none() { at } else { Timestamp(0) };
    let params = [
        place.into(),
        command.as_str().into(),
        at.into(),
        error.unwrap_or_default().into(),
        succeeded_at.into(),
    ];
    c.execute(RECORD, &params)?;
    if command == RecordedCommand::Create && error.is_none() {
        c.execute(MADE, &[place.into(), at.into()])?;
    }
    Ok(())
}

/// Whether a backup in the folder was attempted with this database.
pub fn has_place(c: &mut dyn Conn, place: &str) -> Result<bool, DbError> {
    const FIND: &str = "SELECT at FROM backup_result WHERE place = $1 AND command = 'create'";
    Ok(!c.query(FIND, &[place.into()])?.is_empty())
}

/// Returns all results, by folder.
pub fn results(c: &mut dyn Conn) -> Result<Vec<BackupResult>, DbError> {
    const ALL: &str =
        "SELECT place, command, at, error, succeeded_at FROM backup_result ORDER BY place, command";
    let mut results = Vec::new();
    for mut row in c.query(ALL, &[])? {
        let command = match row.text(1)?.as_str() {
            "create" => RecordedCommand::Create,
            "test" => RecordedCommand::Test,
            // Of a later version.
            _ => continue,
        };
        results.push(BackupResult {
            place: row.text(0)?,
            command,
            at: row.time(2)?,
            error: Some(row.text(3)?).filter(|error| !error.is_empty()),
            succeeded_at: Some(row.time(4)?).filter(|at| at.0 != 0),
        });
    }
    Ok(results)
}
