//! Alarms about repositories that change by promotion: what rules and advisories started or ceased to withhold there.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::ids::RepoId;
use base::model::time::{SECOND, Timestamp};

/// Time after which an alarm ends, in microseconds: 30 days.
pub const DURATION: i64 = 30 * 86_400 * SECOND;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WithheldAlarm from "withheld_alarm" {
        pub repo: RepoId = "repo_id",
        pub at: Timestamp,
        /// A sentence without the name of the repository.
        pub message: String,
    }
}

/// Writes an alarm, and removes those that have ended.
pub fn add(c: &mut dyn Conn, alarm: &WithheldAlarm) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO withheld_alarm (repo_id, at, message) VALUES ($1, $2, $3) ON CONFLICT (repo_id, \
        at) DO UPDATE SET message = excluded.message";
    let ended = Timestamp(alarm.at.0.saturating_sub(DURATION));
    c.execute("DELETE FROM withheld_alarm WHERE at <= $1", &[ended.into()])?;
    c.execute(INSERT, &[alarm.repo.into(), alarm.at.into(), alarm.message.as_str().into()]).map(drop)
}

/// Returns the alarms at `now`, the newest first.
pub fn list(c: &mut dyn Conn, now: Timestamp) -> Result<Vec<WithheldAlarm>, DbError> {
    const SELECT: &str = select!(WithheldAlarm, "WHERE at > $1 ORDER BY at DESC, repo_id LIMIT 100");
    c.all(SELECT, &[Timestamp(now.0.saturating_sub(DURATION)).into()])
}
