//! The identity of the database: one row, which the schema migration creates.

use super::{Conn, DbError};
use base::model::identity::Identity;

/// Returns the identity of this database.
pub fn get(c: &mut dyn Conn) -> Result<Identity, DbError> {
    let rows = c.query("SELECT value FROM identity WHERE id = 1", &[])?;
    match rows.into_iter().next() {
        Some(mut row) => row.parse(0, "the identity of a database"),
        None => Err(DbError::Shape { column: 0, found: "no row", expected: "the identity of a database" }),
    }
}
