//! Reads and writes all rows of a table of PostgreSQL, with `COPY … (FORMAT binary)`; its format is documented with the
//! statement.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::CopyInSink;

use super::reading::{BlockBuilder, RowSink};
use super::row::{Field, Fields, RowBlock};
use super::tables::{Column, ColumnKind, Table};
use crate::db::DbError;
use crate::db::pgconn::PgConn;
use crate::db::pgerror::map;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Size of the header: the signature, the flags, and the length of the extension, which is empty.
const HEAD: usize = SIGNATURE.len() + 8;
/// The number of columns in the trailer.
const END: i16 = -1;
/// The length field of NULL.
const NULL: i32 = -1;

/// Reads a table.
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
        pin_mut!(stream);
        let mut parser =
            Parser { builder: BlockBuilder::new(table, sink), table, has_head: false, is_complete: false };
        let mut rest = BytesMut::new();
        while let Some(chunk) = stream.try_next().await.map_err(|e| map(target, e))? {
            rest.extend_from_slice(&chunk);
            let length = parser.parse(&rest)?;
            let _ = rest.split_to(length);
        }
        match parser.is_complete && rest.is_empty() {
            true => parser.builder.finish(),
            false => Err(unexpected("the end of the rows")),
        }
    })
}

fn unexpected(expected: &'static str) -> DbError {
    DbError::Shape { column: 0, found: "other bytes of COPY", expected }
}

/// Parses the bytes of COPY.
struct Parser<'a> {
    builder: BlockBuilder<'a>,
    table: &'static Table,
    /// Whether the header was read.
    has_head: bool,
    /// Whether the trailer was read.
    is_complete: bool,
}

impl Parser<'_> {
    /// Converts all complete rows and returns their length in bytes.
    fn parse(&mut self, bytes: &[u8]) -> Result<usize, DbError> {
        let mut rest = bytes;
        if !self.has_head {
            let Some((head, rows)) = rest.split_at_checked(HEAD) else { return Ok(0) };
            if head != [SIGNATURE, &[0; 8]].concat() {
                return Err(unexpected("the signature"));
            }
            (self.has_head, rest) = (true, rows);
        }
        while let Some(row) = complete_row(rest) {
            let (count, mut values) = row.split_first_chunk().ok_or_else(|| unexpected("a row"))?;
            rest = &rest[row.len()..];
            if i16::from_be_bytes(*count) == END {
                self.is_complete = true;
                continue;
            }
            if usize::try_from(i16::from_be_bytes(*count)) != Ok(self.table.columns.len()) {
                return Err(unexpected("the columns of the table"));
            }
            for column in self.table.columns {
                let value = next_value(&mut values).ok_or_else(|| unexpected("a value"))?;
                match value.map_or(Ok(Field::Null), |value| field(column, value)) {
                    Ok(field) => self.builder.push(field),
                    Err(reason) => self.builder.push_problem(column, reason),
                }
            }
            self.builder.end_row()?;
        }
        Ok(bytes.len() - rest.len())
    }
}

/// Returns the first row or the trailer; `None` if it is not complete.
fn complete_row(bytes: &[u8]) -> Option<&[u8]> {
    let (count, mut rest) = bytes.split_first_chunk()?;
    for _ in 0..i16::from_be_bytes(*count) {
        next_value(&mut rest)?;
    }
    Some(&bytes[..bytes.len() - rest.len()])
}

/// Removes and returns the first value of `rest`; `None` if `rest` is malformed, `Some(None)` for NULL.
fn next_value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_first_chunk()?;
    let length = i32::from_be_bytes(*length);
    if length == NULL {
        *rest = after;
        return Some(None);
    }
    let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(value))
}

fn field<'a>(column: &Column, value: &'a [u8]) -> Result<Field<'a>, &'static str> {
    match column.kind {
        ColumnKind::Int => {
            value.try_into().map(|number| Field::Int(i64::from_be_bytes(number))).map_err(|_| "no BIGINT")
        }
        ColumnKind::Text => std::str::from_utf8(value).map(Field::Text).map_err(|_| "text that is not UTF-8"),
        ColumnKind::Bytes => Ok(Field::Bytes(value)),
    }
}

/// A running COPY into a table.
pub(super) struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

impl CopyIn {
    /// Begins a COPY. The table was created or truncated in this transaction, which FREEZE requires; with it, the first
    /// vacuum need not write the rows again.
    pub(super) fn begin(c: &PgConn, table: &'static Table) -> Result<CopyIn, DbError> {
        let (runtime, client, target) = c.parts();
        let sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary, FREEZE)", table.name, table.column_list());
        let result = runtime.block_on(async {
            let mut sink = Box::pin(client.copy_in(&sql).await?);
            let head = [SIGNATURE, &[0; 8]].concat();
            sink.send(head.into()).await?;
            Ok(CopyIn { sink })
        });
        result.map_err(|e| map(target, e))
    }

    pub(super) fn write(
        &mut self,
        c: &PgConn,
        table: &'static Table,
        block: &RowBlock,
    ) -> Result<(), DbError> {
        let (runtime, _, target) = c.parts();
        let encoded = encode(table, block)?;
        runtime.block_on(self.sink.send(encoded)).map_err(|e| map(target, e))
    }

    pub(super) fn finish(mut self, c: &PgConn) -> Result<(), DbError> {
        let (runtime, _, target) = c.parts();
        let result = runtime.block_on(async {
            self.sink.send(Bytes::copy_from_slice(&END.to_be_bytes())).await?;
            self.sink.as_mut().finish().await
        });
        result.map(drop).map_err(|e| map(target, e))
    }
}

fn encode(table: &'static Table, block: &RowBlock) -> Result<Bytes, DbError> {
    let mut out = BytesMut::with_capacity(block.bytes.len() + block.bytes.len() / 4);
    let columns = i16::try_from(table.columns.len()).unwrap_or(i16::MAX);
    let mut fields = Fields::new(&block.bytes);
    for _ in 0..block.rows {
        out.put_i16(columns);
        for _ in table.columns {
            match fields.read()? {
                Field::Null => out.put_i32(NULL),
                Field::Int(number) => {
                    out.put_i32(8);
                    out.put_i64(number);
                }
                Field::Text(text) => put_length_prefixed(&mut out, text.as_bytes()),
                Field::Bytes(bytes) => put_length_prefixed(&mut out, bytes),
            }
        }
    }
    Ok(out.freeze())
}

fn put_length_prefixed(out: &mut BytesMut, bytes: &[u8]) {
    // Rows are at most `RowBlock::MAX_ROW` long.
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::transfer::tables::TABLES;

    #[derive(Default)]
    struct BlockSink(RowBlock);

    impl RowSink for BlockSink {
        fn rows(&mut self, _: &'static Table, block: &RowBlock) -> Result<(), DbError> {
            self.0.rows += block.rows;
            self.0.bytes.extend_from_slice(&block.bytes);
            Ok(())
        }
    }

    #[test]
    fn rows_are_converted_both_ways_however_the_bytes_are_split() {
        let table = TABLES.iter().find(|table| table.name == "detail").expect("a table");
        let mut block = RowBlock { rows: 2, bytes: Vec::new() };
        for field in [Field::Int(i64::MAX), Field::Bytes(b"\0"), Field::Text("é"), Field::Null] {
            block.push(field);
        }
        block.bytes.extend_from_within(..);
        let rows = encode(table, &block).expect("rows");
        let all = [SIGNATURE, &[0; 8], &rows, &END.to_be_bytes()].concat();
        for size in [1, 7, all.len()] {
            let mut sink = BlockSink::default();
            let builder = BlockBuilder::new(table, &mut sink);
            let mut parser = Parser { builder, table, has_head: false, is_complete: false };
            let mut rest = Vec::new();
            for chunk in all.chunks(size) {
                rest.extend_from_slice(chunk);
                let length = parser.parse(&rest).expect("rows");
                rest.drain(..length);
            }
            assert!(parser.is_complete && rest.is_empty());
            parser.builder.finish().expect("the sink takes all");
            assert_eq!(sink.0, block, "in pieces of {size}");
        }
    }
}
