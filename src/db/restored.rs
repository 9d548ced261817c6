//! What differs between a restored database and the one that was backed up.

use super::{Conn, DbError};
use crate::model::identity::Identity;

/// Begins a new history of transactions, and removes the data about running servers: nodes, leases, holds, and the
/// statements that the storage classes have their markers.
pub fn begin_history(c: &mut dyn Conn, history: Identity) -> Result<(), DbError> {
    c.execute("DELETE FROM node", &[])?;
    c.execute("DELETE FROM lease", &[])?;
    c.execute("DELETE FROM hold", &[])?;
    c.execute("UPDATE storage_class SET marked = 0", &[])?;
    c.execute("UPDATE clock SET history = $1 WHERE id = 1", &[history.to_string().into()]).map(drop)
}
