//! Collects the rows that a driver reads into blocks, and reports values that the other database cannot store.

use super::row::{Field, Fields, RowBlock};
use super::tables::{Column, Table};
use crate::db::DbError;

/// A value that cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, row {row}, column {column}: {reason}")]
pub struct Problem {
    pub table: &'static str,
    /// The primary key of the row: `id = 5`.
    pub row: String,
    pub column: &'static str,
    /// The reason why the value cannot be copied.
    pub reason: String,
}

/// Receives the rows of a database.
pub trait RowSink {
    /// Receives rows of a table, in the order of its primary key. Any error stops the read.
    fn rows(&mut self, table: &'static Table, block: &RowBlock) -> Result<(), DbError>;

    /// Receives a value that cannot be copied; its row has NULL instead.
    fn problem(&mut self, problem: Problem) -> Result<(), DbError> {
        Err(DbError::refuse(problem))
    }
}

/// Builds the blocks of a table.
pub(super) struct BlockBuilder<'a> {
    table: &'static Table,
    sink: &'a mut dyn RowSink,
    block: RowBlock,
    /// The offset of the current row in the block.
    row_start: usize,
    /// The columns of the current row whose values cannot be copied, with the reasons.
    problems: Vec<(&'static str, String)>,
}

impl<'a> BlockBuilder<'a> {
    pub(super) fn new(table: &'static Table, sink: &'a mut dyn RowSink) -> BlockBuilder<'a> {
        BlockBuilder { table, sink, block: RowBlock::default(), row_start: 0, problems: Vec::new() }
    }

    pub(super) fn push(&mut self, field: Field<'_>) {
        self.block.push(field);
    }

    /// Writes NULL for a value that cannot be copied.
    pub(super) fn push_problem(&mut self, column: &'static Column, reason: impl Into<String>) {
        self.problems.push((column.name, reason.into()));
        self.block.push(Field::Null);
    }

    pub(super) fn end_row(&mut self) -> Result<(), DbError> {
        let length = self.block.bytes.len() - self.row_start;
        if length > RowBlock::MAX_ROW {
            let reason = format!("the row has {length} bytes; at most {} can be copied", RowBlock::MAX_ROW);
            self.problems.push((self.table.columns[0].name, reason));
        }
        for (column, reason) in std::mem::take(&mut self.problems) {
            let row = self.row_name();
            self.sink.problem(Problem { table: self.table.name, row, column, reason })?;
        }
        if length > RowBlock::MAX_ROW {
            self.block.bytes.truncate(self.row_start);
            return Ok(());
        }
        self.block.rows += 1;
        self.row_start = self.block.bytes.len();
        if self.row_start >= RowBlock::FULL { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DbError> {
        self.sink.rows(self.table, &self.block)?;
        self.block.clear();
        self.row_start = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), DbError> {
        if self.block.rows > 0 { self.flush() } else { Ok(()) }
    }

    /// Returns the primary key of the current row.
    fn row_name(&self) -> String {
        let mut fields = Fields::new(&self.block.bytes[self.row_start..]);
        let key = self.table.columns.iter().take(self.table.key).map(|column| {
            let value = match fields.read() {
                Ok(Field::Int(number)) => number.to_string(),
                Ok(Field::Text(text)) => format!("{:?}", text.chars().take(80).collect::<String>()),
                Ok(Field::Null | Field::Bytes(_)) | Err(_) => "?".to_owned(),
            };
            format!("{} = {value}", column.name)
        });
        key.collect::<Vec<_>>().join(", ")
    }
}
