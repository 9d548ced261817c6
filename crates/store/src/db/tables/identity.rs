//! The identity of the database: one row, which the schema migration creates.

use super::{Conn, DbError};
use base::model::identity::Identity;

pub fn get(c: &mut dyn Conn) -> Result<Identity, DbError> {
    let missing = DbError::Shape { column: 0, found: "no row", expected: "the identity of a database" };
    c.first("SELECT value FROM identity WHERE id = 1", &[])?.ok_or(missing)
}
