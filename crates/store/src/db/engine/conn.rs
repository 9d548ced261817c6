//! The interface of both databases: parameter values, rows and a connection inside a transaction.

use std::str::FromStr;

use super::error::DbError;
use base::model::time::Timestamp;

/// A parameter or a column. Times are microseconds, booleans 0 and 1, digests text, stanzas bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    /// BLOB or BYTEA.
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

/// A connection inside a transaction. Placeholders are `$1…` and first appear in ascending order.
pub trait Conn {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let mut rows = Vec::new();
        self.each(sql, params, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Calls `row` for each row, in order, without collecting them.
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        row: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError>;

    /// Runs a query once for each row of parameters and returns the results in the same order; pipelined on PostgreSQL.
    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError>;

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError>;

    /// Runs a statement for each row of parameters and returns the total of affected rows; pipelined on PostgreSQL.
    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError>;

    /// Notifies other nodes at the commit that the catalog changed. Does nothing on SQLite, which has no other nodes.
    fn announce(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    /// Notifies other nodes at the commit that a row of [`node`](crate::db::tables::node) changed. Does nothing on SQLite.
    fn announce_nodes(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    /// Inserts rows: by a prepared statement on SQLite; on PostgreSQL many by COPY, and one by a statement, which is a message
    /// less.
    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError>;

    /// Returns the time of the database's host; `None` if that is this host.
    fn host_time(&mut self) -> Result<Option<Timestamp>, DbError>;
}

/// Returns the statement that inserts one row.
pub(in crate::db) fn insertion(table: &str, columns: &[&str]) -> String {
    let placeholders: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), placeholders.join(", "))
}

impl dyn Conn + '_ {
    /// Returns the time of the database's host; with SQLite, which has no other host, `clock`.
    pub(in crate::db) fn time(&mut self, clock: Timestamp) -> Result<Timestamp, DbError> {
        Ok(self.host_time()?.unwrap_or(clock))
    }

    pub(in crate::db) fn all<T: Columns>(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Vec<T>, DbError> {
        let mut all = Vec::new();
        self.each(sql, params, &mut |row| {
            all.push(row.decode()?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Returns the decoded first row of a query.
    pub(in crate::db) fn first<T: Columns>(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Option<T>, DbError> {
        self.query(sql, params)?.into_iter().next().map(Row::decode).transpose()
    }

    /// Returns the decoded rows of a query for each row of parameters, in the same order; see [`Conn::query_many`].
    pub(in crate::db) fn many<T: Columns>(
        &mut self,
        sql: &'static str,
        params: &[Vec<Value>],
    ) -> Result<Vec<Vec<T>>, DbError> {
        let results = self.query_many(sql, params)?.into_iter();
        results.map(|rows| rows.into_iter().map(Row::decode).collect()).collect()
    }

    pub(in crate::db) fn finds(&mut self, sql: &'static str, params: &[Value]) -> Result<bool, DbError> {
        Ok(!self.query(sql, params)?.is_empty())
    }
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Int(_) => "an integer",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
        }
    }

    /// Returns the text of a value such as a digest or a name, or NULL.
    pub fn opt_text(value: Option<impl ToString>) -> Value {
        value.map_or(Value::Null, |v| Value::Text(v.to_string()))
    }

    /// Returns a message. It may quote a file or a response, so NUL characters are replaced, which no database stores.
    pub(in crate::db) fn message(text: &str) -> Value {
        Value::Text(text.replace('\0', "\u{fffd}"))
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Value {
        Value::Int(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Int(i64::from(v))
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::Text(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::Text(v)
    }
}

impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Value {
        Value::Bytes(v.to_owned())
    }
}

impl From<Timestamp> for Value {
    fn from(v: Timestamp) -> Value {
        Value::Int(v.0)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}

macro_rules! from_id {
    ($($id:ident)*) => {$(
        impl From<base::model::ids::$id> for Value {
            fn from(id: base::model::ids::$id) -> Value {
                Value::Int(id.0)
            }
        }
    )*};
}
from_id!(SourceId TreeId RepoId PackageId ReleaseId FileId TokenId TxId Seq);

/// The columns of a row that are not decoded yet.
pub struct Cells {
    row: Row,
    next: usize,
}

/// A value of one or several consecutive columns.
pub trait Columns: Sized {
    /// Decodes the next columns; [`DbError::Shape`] if one contains something else.
    fn decode(cells: &mut Cells) -> Result<Self, DbError>;
}

impl Cells {
    /// Decodes the next column with a function of [`Row`].
    pub(in crate::db) fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Row, usize) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.next += 1;
        read(&mut self.row, self.next - 1)
    }

    /// Decodes the next columns with a function.
    pub(in crate::db) fn with<T>(
        &mut self,
        decode: impl FnOnce(&mut Cells) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        decode(self)
    }

    /// Parses the text of the next column.
    pub(in crate::db) fn parse<T: FromStr>(&mut self, expected: &'static str) -> Result<T, DbError> {
        self.next(|row, column| row.parse(column, expected))
    }

    /// Returns the error that the last decoded column contains something else.
    pub(in crate::db) fn shape(&self, found: &'static str, expected: &'static str) -> DbError {
        DbError::Shape { column: self.next.saturating_sub(1), found, expected }
    }

    /// Skips the next column if it is NULL.
    pub(in crate::db) fn skip_null(&mut self) -> bool {
        let is_null = self.row.0.get(self.next) == Some(&Value::Null);
        self.next += usize::from(is_null);
        is_null
    }
}

impl Row {
    pub fn decode<T: Columns>(self) -> Result<T, DbError> {
        T::decode(&mut Cells { row: self, next: 0 })
    }

    fn shape(&self, column: usize, expected: &'static str) -> DbError {
        DbError::Shape { column, found: self.0.get(column).map_or("nothing", Value::type_name), expected }
    }

    pub fn int(&self, column: usize) -> Result<i64, DbError> {
        match self.0.get(column) {
            Some(Value::Int(v)) => Ok(*v),
            _ => Err(self.shape(column, "an integer")),
        }
    }

    pub fn time(&self, column: usize) -> Result<Timestamp, DbError> {
        self.int(column).map(Timestamp)
    }

    /// Moves a text out of the row.
    pub fn text(&mut self, column: usize) -> Result<String, DbError> {
        match self.0.get_mut(column) {
            Some(Value::Text(v)) => Ok(std::mem::take(v)),
            _ => Err(self.shape(column, "text")),
        }
    }

    /// Moves bytes out of the row.
    pub fn bytes(&mut self, column: usize) -> Result<Vec<u8>, DbError> {
        match self.0.get_mut(column) {
            Some(Value::Bytes(v)) => Ok(std::mem::take(v)),
            _ => Err(self.shape(column, "bytes")),
        }
    }

    /// Parses a text: a digest, a word of an enum.
    pub fn parse<T: FromStr>(&mut self, column: usize, expected: &'static str) -> Result<T, DbError> {
        self.text(column)?.parse().map_err(|_| DbError::Shape { column, found: "other text", expected })
    }
}
