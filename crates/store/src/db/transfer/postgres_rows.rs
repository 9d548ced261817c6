//! Reads and writes all rows of a table of PostgreSQL, with `COPY … (FORMAT binary)`.

use std::error::Error;
use std::pin::Pin;

use bytes::BytesMut;
use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::reading::{BlockBuilder, RowSink};
use super::row::{Field, Fields, RowBlock};
use super::tables::{ColumnKind, Table};
use crate::db::DbError;
use crate::db::pgconn::PgConn;
use crate::db::pgerror::map;

pub(super) fn read(c: &PgConn, table: &'static Table, sink: &mut dyn RowSink) -> Result<(), DbError> {
    let (runtime, client, target) = c.parts();
    let sql = format!(
        "COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT binary)",
        table.column_list(),
        table.name,
        table.key_list()
    );
    runtime.block_on(async {
        let stream = client.copy_out(&sql).await.map_err(|e| map(target, e))?;
        let rows = BinaryCopyOutStream::new(stream, &types(table));
        pin_mut!(rows);
        let mut builder = BlockBuilder::new(table, sink);
        // It ends with the trailer; without one, the end is an error.
        while let Some(row) = rows.try_next().await.map_err(|e| map(target, e))? {
            for (index, column) in table.columns.iter().enumerate() {
                match row.try_get(index) {
                    Ok(field) => builder.push(field),
                    Err(_) => builder.push_problem(column, malformed(column.kind)),
                }
            }
            builder.end_row()?;
        }
        builder.finish()
    })
}

fn malformed(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int => "no BIGINT",
        ColumnKind::Text => "text that is not UTF-8",
        ColumnKind::Bytes => "no bytes",
    }
}

fn types(table: &Table) -> Vec<Type> {
    let types = table.columns.iter().map(|column| match column.kind {
        ColumnKind::Int => Type::INT8,
        ColumnKind::Text => Type::TEXT,
        ColumnKind::Bytes => Type::BYTEA,
    });
    types.collect()
}

impl<'a> FromSql<'a> for Field<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Field<'a>, Box<dyn Error + Sync + Send>> {
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Field::Int),
            Type::TEXT => <&str>::from_sql(ty, raw).map(Field::Text),
            _ => <&[u8]>::from_sql(ty, raw).map(Field::Bytes),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Field<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Field::Null)
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }
}

impl ToSql for Field<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Field::Null => Ok(IsNull::Yes),
            Field::Int(number) => number.to_sql(ty, out),
            Field::Text(text) => text.to_sql(ty, out),
            Field::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        <Field<'_> as FromSql<'_>>::accepts(ty)
    }

    to_sql_checked!();
}

/// A running COPY into a table.
pub(super) struct CopyIn {
    writer: Pin<Box<BinaryCopyInWriter>>,
}

impl CopyIn {
    /// Begins a COPY. The table was created or truncated in this transaction, which FREEZE requires; with it, the first
    /// vacuum need not write the rows again.
    pub(super) fn begin(c: &PgConn, table: &'static Table) -> Result<CopyIn, DbError> {
        let (runtime, client, target) = c.parts();
        let sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary, FREEZE)", table.name, table.column_list());
        let sink = runtime.block_on(client.copy_in(&sql)).map_err(|e| map(target, e))?;
        Ok(CopyIn { writer: Box::pin(BinaryCopyInWriter::new(sink, &types(table))) })
    }

    pub(super) fn write(
        &mut self,
        c: &PgConn,
        table: &'static Table,
        block: &RowBlock,
    ) -> Result<(), DbError> {
        let (runtime, _, target) = c.parts();
        let mut fields = Fields::new(&block.bytes);
        runtime.block_on(async {
            for _ in 0..block.rows {
                let row: Vec<Field<'_>> =
                    table.columns.iter().map(|_| fields.read()).collect::<Result<_, _>>()?;
                self.writer.as_mut().write_raw(row).await.map_err(|e| map(target, e))?;
            }
            Ok(())
        })
    }

    pub(super) fn finish(mut self, c: &PgConn) -> Result<(), DbError> {
        let (runtime, _, target) = c.parts();
        runtime.block_on(self.writer.as_mut().finish()).map(drop).map_err(|e| map(target, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_both_ways() {
        for (ty, field) in [
            (Type::INT8, Field::Int(i64::MIN)),
            (Type::TEXT, Field::Text("é")),
            (Type::TEXT, Field::Text("")),
            (Type::BYTEA, Field::Bytes(b"\0\xff")),
        ] {
            let mut bytes = BytesMut::new();
            assert!(matches!(field.to_sql_checked(&ty, &mut bytes), Ok(IsNull::No)));
            assert_eq!(Field::from_sql(&ty, &bytes).ok(), Some(field));
            assert!(matches!(Field::Null.to_sql_checked(&ty, &mut bytes), Ok(IsNull::Yes)));
            assert_eq!(Field::from_sql_null(&ty).ok(), Some(Field::Null));
        }
        assert!(Field::from_sql(&Type::INT8, b"short").is_err());
        assert!(Field::from_sql(&Type::TEXT, b"\xff").is_err());
        // A value of another type than its column is refused, not written.
        assert!(Field::Text("1").to_sql_checked(&Type::JSON, &mut BytesMut::new()).is_err());
    }
}
