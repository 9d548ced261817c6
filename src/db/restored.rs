//! Changes to a restored database: rows of servers, the history, and the records of storage markers.

use super::{Conn, DbError};
use crate::model::identity::Identity;

/// Removes the data about running servers: nodes, leases and holds.
pub fn remove_servers(c: &mut dyn Conn) -> Result<(), DbError> {
    c.execute("DELETE FROM node", &[])?;
    c.execute("DELETE FROM lease", &[])?;
    c.execute("DELETE FROM hold", &[]).map(drop)
}

/// Begins a new history of transactions, and records that the markers of all storage classes are unconfirmed.
pub fn begin_history(c: &mut dyn Conn, history: Identity) -> Result<(), DbError> {
    c.execute("UPDATE storage_class SET marked = 0", &[])?;
    c.execute("UPDATE clock SET history = $1 WHERE id = 1", &[history.to_string().into()]).map(drop)
}
