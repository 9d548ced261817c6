//! What differs between a restored database and the one that was backed up.

use super::{Conn, DbError};
use crate::model::identity::Identity;

/// Begins a new history of transactions, and removes what servers wrote about themselves: nodes, leases, holds, and
/// where they saw the markers of storage classes.
pub fn begin_history(c: &mut dyn Conn, history: Identity) -> Result<(), DbError> {
    c.execute("DELETE FROM node", &[])?;
    c.execute("DELETE FROM lease", &[])?;
    c.execute("DELETE FROM hold", &[])?;
    c.execute("UPDATE storage_class SET marked = 0", &[])?;
    c.execute("UPDATE clock SET history = $1 WHERE id = 1", &[history.to_string().into()]).map(drop)
}
