//! Reads and writes all rows of a table of SQLite.

use rusqlite::types::{ToSqlOutput, ValueRef};

use super::reading::{BlockBuilder, RowSink};
use super::row::{Field, Fields, RowBlock};
use super::tables::{Column, ColumnKind, Table};
use crate::db::DbError;
use crate::db::sqlite::{SqliteConn, map};

/// Reads a table. `no_nul` reports texts with a NUL character, which PostgreSQL does not store.
pub(super) fn read(
    c: &SqliteConn,
    table: &'static Table,
    no_nul: bool,
    sink: &mut dyn RowSink,
) -> Result<(), DbError> {
    let (connection, path) = c.parts();
    let sql = format!("SELECT {} FROM {} ORDER BY {}", table.column_list(), table.name, table.key_list());
    let mut statement = connection.prepare(&sql).map_err(|e| map(path, e))?;
    let mut rows = statement.query([]).map_err(|e| map(path, e))?;
    let mut builder = BlockBuilder::new(table, sink);
    while let Some(row) = rows.next().map_err(|e| map(path, e))? {
        for (index, column) in table.columns.iter().enumerate() {
            match field(column, row.get_ref(index).map_err(|e| map(path, e))?, no_nul) {
                Ok(field) => builder.push(field),
                Err(reason) => builder.push_problem(column, reason),
            }
        }
        builder.end_row()?;
    }
    builder.finish()
}

/// Converts a value; SQLite allows values of any type in any column.
fn field<'a>(column: &Column, value: ValueRef<'a>, no_nul: bool) -> Result<Field<'a>, String> {
    match (column.kind, value) {
        (_, ValueRef::Null) => Ok(Field::Null),
        (ColumnKind::Int, ValueRef::Integer(number)) => Ok(Field::Int(number)),
        (ColumnKind::Bytes, ValueRef::Blob(bytes)) => Ok(Field::Bytes(bytes)),
        (ColumnKind::Text, ValueRef::Text(text)) => {
            let text = std::str::from_utf8(text)
                .map_err(|error| format!("text that is not UTF-8 (byte {})", error.valid_up_to()))?;
            match memchr::memchr(0, text.as_bytes()).filter(|_| no_nul) {
                Some(at) => Err(format!("a NUL character (byte {at}), which PostgreSQL cannot store")),
                None => Ok(Field::Text(text)),
            }
        }
        (kind, value) => Err(format!("{} where {} is expected", type_name(value), kind_name(kind))),
    }
}

fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a floating-point number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "bytes",
    }
}

fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int => "an integer",
        ColumnKind::Text => "text",
        ColumnKind::Bytes => "bytes",
    }
}

pub(super) fn write(c: &SqliteConn, table: &'static Table, block: &RowBlock) -> Result<(), DbError> {
    let (connection, path) = c.parts();
    let placeholders = vec!["?"; table.columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({placeholders})", table.name, table.column_list());
    let mut statement = connection.prepare_cached(&sql).map_err(|e| map(path, e))?;
    let mut fields = Fields::new(&block.bytes);
    for _ in 0..block.rows {
        for index in 1..=table.columns.len() {
            let value = match fields.read()? {
                Field::Null => ValueRef::Null,
                Field::Int(number) => ValueRef::Integer(number),
                Field::Text(text) => ValueRef::Text(text.as_bytes()),
                Field::Bytes(bytes) => ValueRef::Blob(bytes),
            };
            statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(value)).map_err(|e| map(path, e))?;
        }
        statement.raw_execute().map_err(|e| map(path, e))?;
    }
    Ok(())
}
