//! Ended jobs of all servers; the oldest are deleted.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::time::Timestamp;

/// Maximum number of ended jobs.
pub const MAX_JOBS: i64 = 1_000;
/// Maximum length of a message, in characters.
const MAX_MESSAGE: usize = 2_000;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct JobRun from "job_run" {
        /// Random text, which identifies it.
        pub id: String,
        /// The operation: `sync:cran`.
        pub key: String,
        /// Host name of the server.
        pub node: String,
        pub started_at: Timestamp,
        pub ended_at: Timestamp,
        pub succeeded: bool,
        /// The result as a sentence, or why it failed.
        pub message: String,
    }
}

/// Inserts a job, and deletes those beyond the newest [`MAX_JOBS`].
pub fn insert(c: &mut dyn Conn, run: &JobRun) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO job_run (id, key, node, started_at, ended_at, succeeded, message) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    const PRUNE: &str = "DELETE FROM job_run WHERE ended_at < (SELECT min(newest.ended_at) FROM \
        (SELECT ended_at FROM job_run ORDER BY ended_at DESC, id LIMIT $1) AS newest)";
    let message: String = run.message.chars().take(MAX_MESSAGE).collect();
    let params = [
        run.id.as_str().into(),
        run.key.as_str().into(),
        run.node.as_str().into(),
        run.started_at.into(),
        run.ended_at.into(),
        i64::from(run.succeeded).into(),
        Value::message(&message),
    ];
    c.execute(INSERT, &params)?;
    c.execute(PRUNE, &[MAX_JOBS.into()]).map(drop)
}

/// Returns the last failed run of a job, if the database still has it.
pub fn last_failure(c: &mut dyn Conn, key: &str) -> Result<Option<JobRun>, DbError> {
    const LAST: &str = select!(JobRun, "WHERE key = $1 AND succeeded = 0 ORDER BY ended_at DESC, id LIMIT 1");
    c.first(LAST, &[key.into()])
}

/// Returns the number of runs that failed since a time.
pub fn failed_since(c: &mut dyn Conn, since: Timestamp) -> Result<i64, DbError> {
    const COUNT: &str = "SELECT count(*) FROM job_run WHERE succeeded = 0 AND ended_at >= $1";
    Ok(c.first(COUNT, &[since.into()])?.unwrap_or_default())
}

/// Returns the newest jobs, at most `limit`, the newest first.
pub fn newest(c: &mut dyn Conn, limit: i64) -> Result<Vec<JobRun>, DbError> {
    const NEWEST: &str = select!(JobRun, "ORDER BY ended_at DESC, id LIMIT $1");
    c.all(NEWEST, &[limit.into()])
}
