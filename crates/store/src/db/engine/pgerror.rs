//! Errors of the PostgreSQL driver: their text, and their classification.

use std::error::Error;
use std::fmt;

use tokio_postgres::error::SqlState;

use super::error::NulText;
use super::target::PostgresTarget;
use super::{Conn, DbError};

/// An error of the driver. Its text has the message and the SQLSTATE code of the server, or the causes of an error that
/// the server did not report. The driver's own text contains neither.
#[derive(Debug)]
pub(in crate::db) struct PgError(tokio_postgres::Error);

impl PgError {
    pub(in crate::db) fn boxed(error: tokio_postgres::Error) -> super::error::Source {
        Box::new(PgError(error))
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(db) = self.0.as_db_error() {
            return write!(f, "{} (SQLSTATE {})", db.message(), db.code().code());
        }
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

// The text contains those of the causes, so there is no `source`.
impl Error for PgError {}

/// Returns whether the server aborted a transaction that may succeed when it is repeated.
pub(in crate::db) fn is_retryable(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<PgError>().and_then(|error| error.0.code());
    code.is_some_and(|c| *c == SqlState::T_R_SERIALIZATION_FAILURE || *c == SqlState::T_R_DEADLOCK_DETECTED)
}

/// Classifies the errors of an open connection.
pub(in crate::db) fn map(target: &PostgresTarget, error: tokio_postgres::Error) -> DbError {
    if let Some(nul) = error.source().and_then(|cause| cause.downcast_ref::<NulText>()) {
        return nul.clone().into();
    }
    let database = target.database_name();
    let Some(db) = error.as_db_error() else {
        let is_lost = error.is_closed() || error.source().is_some_and(|s| s.is::<std::io::Error>());
        let source = PgError::boxed(error);
        return if is_lost { DbError::Lost(source) } else { DbError::Driver { database, source } };
    };
    let code = db.code().clone();
    let source = PgError::boxed(error);
    match code.code() {
        c if c.starts_with("23") => DbError::Conflict(source.to_string()),
        c if c.starts_with("53")
            && code != SqlState::TOO_MANY_CONNECTIONS
            && code != SqlState::OUT_OF_MEMORY =>
        {
            DbError::Full { database, source }
        }
        "55P03" => DbError::RowLocked(source),
        // The server is shutting down, or an administrator terminated the session.
        "57P01" | "57P02" | "57P03" | "25P03" => DbError::Lost(source),
        "25006" => read_only(
            target,
            format!(
                "{source}; if the server is a standby, {}; otherwise {}",
                primary_remedy(target),
                reset_remedy(target)
            ),
        ),
        _ => DbError::Driver { database, source },
    }
}

pub(in crate::db) fn connect_error(target: &PostgresTarget, error: tokio_postgres::Error) -> DbError {
    let (servers, property) = (target.server_names(), target.property);
    if let Some(db) = error.as_db_error() {
        return match db.code() {
            code if code.code().starts_with("28") => {
                let user = target.user.clone();
                DbError::Authentication { property, servers, user, source: PgError::boxed(error) }
            }
            code if *code == SqlState::INVALID_CATALOG_NAME => {
                let (host, port) = target.servers.first().cloned().unwrap_or_default();
                DbError::DatabaseMissing { servers, host, port, database: target.database.clone() }
            }
            code if code.code().starts_with("57") || *code == SqlState::TOO_MANY_CONNECTIONS => {
                unreachable_error(target, PgError::boxed(error))
            }
            _ => map(target, error),
        };
    }
    // The driver distinguishes these errors only by text: its message states the kind, that of its source details.
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    if error.to_string().contains("TLS") {
        return DbError::Tls { servers, mode: target.ssl_mode.as_str(), reason };
    }
    if reason.contains("password") || error.to_string().contains("authentication") {
        let user = target.user.clone();
        return DbError::Authentication { property, servers, user, source: PgError::boxed(error) };
    }
    unreachable_error(target, PgError::boxed(error))
}

/// Returns the error for a server that cannot be reached.
pub(in crate::db) fn unreachable_error(target: &PostgresTarget, source: super::error::Source) -> DbError {
    DbError::Unreachable {
        property: target.property,
        servers: target.server_names(),
        database: target.database.clone(),
        source,
    }
}

/// Checks that new transactions may write. Fails with [`DbError::ReadOnly`] on a standby, and while
/// `default_transaction_read_only` is on.
pub(in crate::db) fn check_writable(c: &mut dyn Conn, target: &PostgresTarget) -> Result<(), DbError> {
    // The parameter `transaction_read_only` would be on in every transaction that only reads.
    const STATE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END, \
        CASE WHEN current_setting('default_transaction_read_only') = 'on' THEN 1 ELSE 0 END";
    let rows = c.query(STATE, &[])?;
    let Some(row) = rows.first() else { return Ok(()) };
    if row.int(0)? == 1 {
        return Err(read_only(target, format!("the server is a standby; {}", primary_remedy(target))));
    }
    if row.int(1)? == 1 {
        let user = &target.user;
        let reason =
            format!("default_transaction_read_only is on for user '{user}'; {}", reset_remedy(target));
        return Err(read_only(target, reason));
    }
    Ok(())
}

fn read_only(target: &PostgresTarget, reason: String) -> DbError {
    DbError::ReadOnly { database: target.database_name(), reason }
}

/// Returns the remedy for a standby.
fn primary_remedy(target: &PostgresTarget) -> String {
    format!("set {} to the primary server, or promote this one: SELECT pg_promote()", target.property)
}

/// Returns the remedy for `default_transaction_read_only`.
fn reset_remedy(target: &PostgresTarget) -> String {
    let PostgresTarget { user, database, .. } = target;
    format!(
        "remove the setting where it was made: ALTER DATABASE \"{database}\" RESET default_transaction_read_only, \
         ALTER ROLE \"{user}\" RESET …, ALTER SYSTEM RESET …, or postgresql.conf"
    )
}
