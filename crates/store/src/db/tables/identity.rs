//! The identity of the database: one row, which the schema migration creates; and the changes to a restored database: it has
//! a new `clock.history`, markers of storage that are unconfirmed, and no nodes, leases, holds, sessions or uploads.

use super::{Conn, DbError, audit};
use crate::db::engine::author::Author;
use base::model::ids::Identity;
use base::model::time::Timestamp;

pub fn get(c: &mut dyn Conn) -> Result<Identity, DbError> {
    let missing = DbError::Shape { column: 0, found: "no row", expected: "the identity of a database" };
    c.first("SELECT value FROM identity WHERE id = 1", &[])?.ok_or(missing)
}

/// Removes the data about running servers, their leases and holds, and the uploads, which no client will use. Also
/// removes sessions and sign-ins, because some of them may have been ended after the backup.
pub fn remove_servers(c: &mut dyn Conn) -> Result<(), DbError> {
    const STATEMENTS: [&str; 7] = [
        "DELETE FROM node",
        "DELETE FROM lease",
        "DELETE FROM session",
        "DELETE FROM login",
        "DELETE FROM device_login",
        "DELETE FROM upload",
        "DELETE FROM hold",
    ];
    STATEMENTS.iter().try_for_each(|sql| c.execute(sql, &[]).map(drop))
}

/// Returns the number of the newest row of the audit trail.
pub fn last_audit_row(c: &mut dyn Conn) -> Result<i64, DbError> {
    Ok(c.first("SELECT last FROM audit_head WHERE id = 1", &[])?.unwrap_or_default())
}

/// Begins a new history of transactions, and records that the markers of all storage classes are unconfirmed.
pub fn begin_history(c: &mut dyn Conn, history: Identity) -> Result<(), DbError> {
    c.execute("UPDATE storage_class SET marked = 0", &[])?;
    c.execute("UPDATE clock SET history = $1 WHERE id = 1", &[history.to_string().into()])?;
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let author = Author::job("rspm backup restore", now);
    audit::record_by(c, &author, "restore", "server", "", audit::SUCCESS, &format!("history {history}"))
}
