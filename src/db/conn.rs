//! The narrow door to either database: values in, rows out.

use super::error::DbError;

/// A parameter or a column. Times are microseconds, booleans 0 and 1, digests text, stanzas bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BLOB or BYTEA.
    Bytes(Vec<u8>),
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

/// A connection inside a transaction. Placeholders are `$1…` and first appear in ascending order.
pub trait Conn {
    /// All rows of a query.
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError>;

    /// Calls `row` for each row, in order, without collecting them.
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        row: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError>;

    /// Runs a statement and returns how many rows it touched.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError>;

    /// Inserts many rows: prepared statements on SQLite, COPY on PostgreSQL.
    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError>;
}
