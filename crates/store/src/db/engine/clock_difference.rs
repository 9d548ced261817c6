//! The difference between the clocks of this machine and of the database's host, before a server starts.

use super::postgres::PgSession;
use super::schema::Schema;
use super::{Conn, DbError};
use base::config::{Config, Provider};

/// Returns the lead of this machine's clock over the clock of the database's host, in microseconds; `None` with SQLite,
/// which has no other host. Blocks.
pub fn measure(config: &Config) -> Result<Option<i64>, DbError> {
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
