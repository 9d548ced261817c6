//! Changes to a restored database: it has a new `clock.history`, markers of storage that are unconfirmed, and no nodes,
//! leases, holds, sessions or uploads.

use super::author::Author;
use super::{Conn, DbError, audit};
use base::model::identity::Identity;
use base::model::time::Timestamp;

/// The migration that creates the audit trail: a restored database may have an older schema.
const AUDIT_MIGRATION: i64 = 14;
/// The migration that creates the tables of sessions and sign-ins.
const SESSION_MIGRATION: i64 = 15;
/// The migration that creates the table of uploads.
const UPLOAD_MIGRATION: i64 = 17;

/// Removes the data about running servers, their leases and holds, and the uploads, which no client will use. Also
/// removes sessions and sign-ins, because some of them may have been ended after the backup.
pub fn remove_servers(c: &mut dyn Conn) -> Result<(), DbError> {
    c.execute("DELETE FROM node", &[])?;
    c.execute("DELETE FROM lease", &[])?;
    let level = level(c)?;
    if level >= SESSION_MIGRATION {
        c.execute("DELETE FROM session", &[])?;
        c.execute("DELETE FROM login", &[])?;
        c.execute("DELETE FROM device_login", &[])?;
    }
    if level >= UPLOAD_MIGRATION {
        c.execute("DELETE FROM upload", &[])?;
    }
    c.execute("DELETE FROM hold", &[]).map(drop)
}

/// Returns the newest migration of the database.
fn level(c: &mut dyn Conn) -> Result<i64, DbError> {
    c.query("SELECT MAX(number) FROM migration", &[])?.first().map_or(Ok(0), |row| row.int(0))
}

/// Returns the number of the newest row of the audit trail; 0 for a schema without one.
pub fn last_audit_row(c: &mut dyn Conn) -> Result<i64, DbError> {
    if level(c)? < AUDIT_MIGRATION {
        return Ok(0);
    }
    c.query("SELECT last FROM audit_head WHERE id = 1", &[])?.first().map_or(Ok(0), |row| row.int(0))
}

/// Begins a new history of transactions, and records that the markers of all storage classes are unconfirmed.
pub fn begin_history(c: &mut dyn Conn, history: Identity) -> Result<(), DbError> {
    c.execute("UPDATE storage_class SET marked = 0", &[])?;
    c.execute("UPDATE clock SET history = $1 WHERE id = 1", &[history.to_string().into()])?;
    if level(c)? < AUDIT_MIGRATION {
        return Ok(());
    }
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let author = Author::job("rspm backup restore", now);
    audit::record_by(c, &author, "restore", ("server", ""), (audit::SUCCESS, &format!("history {history}")))
}
