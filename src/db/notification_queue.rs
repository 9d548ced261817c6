//! The fill level of PostgreSQL's notification queue, before a server starts.

use std::sync::Arc;

use super::postgres::PgSession;
use super::schema::Schema;
use super::target::{ServerLock, Target};
use super::{Conn, DbError};
use crate::config::{Config, Provider};

/// Returns the used part of the notification queue in per mille (`pg_notification_queue_usage()`, PostgreSQL manual
/// 9.26); `None` with SQLite, which has no queue. All databases of a PostgreSQL server share the queue; a transaction
/// that notifies fails at its commit if the queue is full. Blocks.
///
/// # Errors
/// The database cannot be reached.
pub fn usage(config: &Config) -> Result<Option<i64>, DbError> {
    const USAGE: &str = "SELECT CAST(pg_notification_queue_usage() * 1000 AS BIGINT)";
    match config.database.provider {
        Provider::Sqlite => Ok(None),
        Provider::Postgres => {
            let mut target =
                Target::parse(&config.postgres, Schema::Core, config.database.connection_timeout)?;
            target.lock = ServerLock::None;
            let mut session = PgSession::new(Arc::new(target));
            session.connection()?.run_outside(|connection| {
                connection.query(USAGE, &[])?.first().map(|row| row.int(0)).transpose()
            })
        }
    }
}
