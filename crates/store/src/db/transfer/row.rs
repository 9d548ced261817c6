//! Rows in the encoding of dumps, which is the same for both databases: each value is a type byte, followed by eight
//! bytes for an integer, and by a length of four bytes and the bytes for a text or bytes. Numbers are big-endian.

use super::tables::{ColumnKind, Table};
use crate::db::DbError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    /// BLOB or BYTEA.
    Bytes(&'a [u8]),
}

/// The type byte of NULL; those of the other values are [`ColumnKind::code`].
const NULL: u8 = 0;

impl Field<'_> {
    /// Returns whether it may be a value of a column of this type.
    pub fn fits(&self, kind: ColumnKind) -> bool {
        match self {
            Field::Null => true,
            Field::Int(_) => kind == ColumnKind::Int,
            Field::Text(_) => kind == ColumnKind::Text,
            Field::Bytes(_) => kind == ColumnKind::Bytes,
        }
    }
}

/// The reason why bytes are not rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRows {
    #[error("a value is truncated")]
    CutOff,
    #[error("a value has the unknown type {0}")]
    Type(u8),
    #[error("a text is not UTF-8")]
    Text,
    #[error("column {0} has a value of another type")]
    Column(&'static str),
    #[error("bytes follow the last row")]
    TooLong,
}

impl From<MalformedRows> for DbError {
    fn from(error: MalformedRows) -> DbError {
        DbError::refuse(error)
    }
}

/// Reads the values of encoded rows in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Creates a reader of encoded rows.
    pub fn new(rows: &'a [u8]) -> Fields<'a> {
        Fields { rest: rows }
    }

    /// Returns the bytes after the values that were read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn read(&mut self) -> Result<Field<'a>, MalformedRows> {
        let (&[code], rest) = self.rest.split_first_chunk::<1>().ok_or(MalformedRows::CutOff)?;
        self.rest = rest;
        match code {
            NULL => Ok(Field::Null),
            code if code == ColumnKind::Int.code() => {
                let (number, rest) = self.rest.split_first_chunk().ok_or(MalformedRows::CutOff)?;
                self.rest = rest;
                Ok(Field::Int(i64::from_be_bytes(*number)))
            }
            code if code == ColumnKind::Text.code() => {
                std::str::from_utf8(self.length_prefixed()?).map(Field::Text).map_err(|_| MalformedRows::Text)
            }
            code if code == ColumnKind::Bytes.code() => self.length_prefixed().map(Field::Bytes),
            code => Err(MalformedRows::Type(code)),
        }
    }

    fn length_prefixed(&mut self) -> Result<&'a [u8], MalformedRows> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(MalformedRows::CutOff)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MalformedRows::CutOff)?;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(MalformedRows::CutOff)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a row of `table` and returns its bytes.
    ///
    /// # Errors
    /// The bytes are not a row of that table.
    pub fn read_row(&mut self, table: &'static Table) -> Result<&'a [u8], MalformedRows> {
        let rows = self.rest;
        for column in table.columns {
            if !self.read()?.fits(column.kind) {
                return Err(MalformedRows::Column(column.name));
            }
        }
        Ok(&rows[..rows.len() - self.rest.len()])
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowBlock {
    pub rows: u32,
    pub bytes: Vec<u8>,
}

impl RowBlock {
    /// Size of a block, in bytes, from which no more rows are added.
    pub const FULL: usize = 256 << 10;
    /// Maximum size of a row, in bytes.
    pub const MAX_ROW: usize = 64 << 20;
    /// Maximum size of a block, in bytes.
    pub const MAX: usize = RowBlock::FULL + RowBlock::MAX_ROW;

    /// Appends a value of the current row. The length of texts and bytes above 4 GB is clamped; their row is refused
    /// because it exceeds [`RowBlock::MAX_ROW`].
    pub fn push(&mut self, field: Field<'_>) {
        let (kind, bytes) = match field {
            Field::Null => return self.bytes.push(NULL),
            Field::Int(number) => {
                self.bytes.push(ColumnKind::Int.code());
                return self.bytes.extend_from_slice(&number.to_be_bytes());
            }
            Field::Text(text) => (ColumnKind::Text, text.as_bytes()),
            Field::Bytes(bytes) => (ColumnKind::Bytes, bytes),
        };
        self.bytes.push(kind.code());
        self.bytes.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    pub fn clear(&mut self) {
        self.rows = 0;
        self.bytes.clear();
        // Frees the memory of a single large row before the other rows of the table are written.
        self.bytes.shrink_to(4 * RowBlock::FULL);
    }

    /// Calls `each` with the bytes of every row.
    ///
    /// # Errors
    /// The bytes are not [`RowBlock::rows`] rows of `table`.
    pub fn for_each_row(
        &self,
        table: &'static Table,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), MalformedRows> {
        let mut fields = Fields::new(&self.bytes);
        for _ in 0..self.rows {
            each(fields.read_row(table)?);
        }
        if fields.rest().is_empty() { Ok(()) } else { Err(MalformedRows::TooLong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::transfer::tables::TABLES;
    use proptest::prelude::*;

    #[test]
    fn a_row_is_read_back() {
        let table = TABLES.iter().find(|table| table.name == "detail").expect("a table");
        let all = [Field::Int(i64::MIN), Field::Bytes(b"\0\xff"), Field::Text(""), Field::Null];
        let mut block = RowBlock { rows: 2, bytes: Vec::new() };
        for field in all.iter().chain(&all) {
            block.push(*field);
        }
        let mut rows = Vec::new();
        block.for_each_row(table, |row| rows.push(row.to_vec())).expect("two rows");
        assert_eq!((rows.len(), &rows[0]), (2, &rows[1]));
        let mut fields = Fields::new(&rows[0]);
        assert_eq!([(); 4].map(|()| fields.read().expect("a value")), all);
        block.rows = 1;
        assert_eq!(block.for_each_row(table, |_| {}), Err(MalformedRows::TooLong));
        block.rows = 3;
        assert_eq!(block.for_each_row(table, |_| {}), Err(MalformedRows::CutOff));
        let other_table = TABLES.iter().find(|table| table.name == "repo").expect("a table");
        assert_eq!(block.for_each_row(other_table, |_| {}), Err(MalformedRows::Column("name")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64), rows in 0..5_u32) {
            for table in TABLES {
                let _ = RowBlock { rows, bytes: bytes.clone() }.for_each_row(table, |_| {});
            }
        }
    }
}
