//! What PostgreSQL is asked before a server starts.

use super::postgres::PgSession;
use super::schema::Schema;
use super::{Conn, DbError};
use base::config::{Config, Provider};

/// Returns the used part of the notification queue in per mille (`pg_notification_queue_usage()`, PostgreSQL manual
/// 9.26); `None` with SQLite, which has no queue. All databases of a PostgreSQL server share the queue; a transaction
/// that notifies fails at its commit if the queue is full. Blocks.
pub fn notification_queue_usage(config: &Config) -> Result<Option<i64>, DbError> {
    const USAGE: &str = "SELECT CAST(pg_notification_queue_usage() * 1000 AS BIGINT)";
    if config.database.provider == Provider::Sqlite {
        return Ok(None);
    }
    PgSession::unlocked(config, Schema::Core)?
        .connection()?
        .run_outside(|connection| connection.query(USAGE, &[])?.first().map(|row| row.int(0)).transpose())
}

/// Returns the lead of this machine's clock over the clock of the database's host, in microseconds; `None` with SQLite,
/// which has no other host. Blocks.
pub fn clock_difference(config: &Config) -> Result<Option<i64>, DbError> {
    if config.database.provider == Provider::Sqlite {
        return Ok(None);
    }
    PgSession::unlocked(config, Schema::Core)?.connection()?.run_outside(|connection| {
        // The first call prepares the statement.
        connection.host_time()?;
        let before = jiff::Timestamp::now().as_microsecond();
        let host = connection.host_time()?;
        let after = jiff::Timestamp::now().as_microsecond();
        Ok(host.map(|host| before.midpoint(after).saturating_sub(host.0)))
    })
}
