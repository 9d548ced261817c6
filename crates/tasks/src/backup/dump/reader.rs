//! Reads a dump. Bytes that are not a dump cause an error. At most one block of rows is in memory.

use std::io::{BufReader, Read};

use sha2::Digest;

use super::{
    DigestKey, DumpError, FORMAT, Head, MAGIC, MAX_FRAME, MAX_WINDOW, RowDigest, RowHasher, SCHEMAS,
    TableSummary, Tag,
};
use base::model::digest::Sha256;
use store::db::migrate::newest_migration;
use store::db::schema::Schema;
use store::db::transfer::row::RowBlock;
use store::db::transfer::tables::{self, Table};

pub struct DumpReader<R: Read> {
    input: R,
    head: Head,
    /// The tables that must follow, in this order.
    expected: std::vec::IntoIter<&'static Table>,
    tables: u32,
    table: Option<OpenTable>,
    content: Vec<u8>,
    block: RowBlock,
    is_at_end: bool,
}

struct OpenTable {
    table: &'static Table,
    hasher: RowHasher,
    sha256: sha2::Sha256,
}

/// A part of a dump.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Table(&'static Table),
    Rows(&'a RowBlock),
    /// The end of that table; its rows had these digests.
    EndOfTable(TableSummary),
}

impl<R: Read> DumpReader<zstd::Decoder<'static, BufReader<R>>> {
    /// Reads the beginning of a dump. Fails if format or tables are not those of this program.
    pub fn open(mut input: R) -> Result<DumpReader<zstd::Decoder<'static, BufReader<R>>>, DumpError> {
        let mut header = [0; MAGIC.len() + 2];
        input.read_exact(&mut header).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => super::DumpError::NotADump,
            _ => super::DumpError::Io(error),
        })?;
        let Some((magic, format)) = header.split_last_chunk() else { return Err(super::DumpError::NotADump) };
        if magic != MAGIC {
            return Err(super::DumpError::NotADump);
        }
        match u16::from_be_bytes(*format) {
            FORMAT => {}
            found => return Err(super::DumpError::Format { found, known: FORMAT }),
        }
        let mut frames = zstd::Decoder::new(input)?;
        frames.window_log_max(MAX_WINDOW)?;
        DumpReader::frames(frames)
    }
}

impl<R: Read> DumpReader<R> {
    /// Reads the beginning of a dump that has neither magic nor compression.
    pub fn frames(mut input: R) -> Result<DumpReader<R>, DumpError> {
        let mut content = Vec::new();
        if read_frame(&mut input, &mut content)? != Tag::Head {
            return Err(super::DumpError::damaged("the head is missing"));
        }
        let head = parse_head(&mut Content(&content))?;
        let expected: Vec<_> =
            head.levels.iter().flat_map(|(schema, level)| tables::tables_at(*schema, *level)).collect();
        Ok(DumpReader {
            input,
            head,
            expected: expected.into_iter(),
            tables: 0,
            table: None,
            content,
            block: RowBlock::default(),
            is_at_end: false,
        })
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Reads the next part; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, DumpError> {
        if self.is_at_end {
            return Ok(None);
        }
        let tag = read_frame(&mut self.input, &mut self.content)?;
        let mut content = Content(&self.content);
        match (tag, self.table.take()) {
            (Tag::Table, None) => {
                let table = parse_table(&mut content, self.expected.next())?;
                let hasher = RowHasher::new(self.head.key);
                self.table = Some(OpenTable { table, hasher, sha256: sha2::Sha256::new() });
                self.tables += 1;
                Ok(Some(Item::Table(table)))
            }
            (Tag::Rows, Some(mut open)) => {
                self.block.rows = u32::from_be_bytes(content.array()?);
                self.block.bytes.clear();
                self.block.bytes.extend_from_slice(content.0);
                let table = open.table;
                let result = self.block.for_each_row(table, |row| open.hasher.add(row));
                result.map_err(|reason| super::DumpError::Rows { table: table.name, reason })?;
                open.sha256.update(&self.block.bytes);
                self.table = Some(open);
                Ok(Some(Item::Rows(&self.block)))
            }
            (Tag::EndOfTable, Some(OpenTable { table, hasher, sha256 })) => {
                let (rows, bytes) =
                    (u64::from_be_bytes(content.array()?), u64::from_be_bytes(content.array()?));
                let digest = RowDigest { rows, bytes, sum: u128::from_be_bytes(content.array()?) };
                let expected = TableSummary { table, digest, sha256: Sha256(content.array()?) };
                content.end()?;
                let computed =
                    TableSummary { table, digest: hasher.digest(), sha256: Sha256(sha256.finalize().into()) };
                if expected != computed {
                    return Err(super::DumpError::Digest(table.name));
                }
                Ok(Some(Item::EndOfTable(computed)))
            }
            (Tag::End, None) => {
                let tables = u32::from_be_bytes(content.array()?);
                content.end()?;
                if tables != self.tables || self.expected.next().is_some() {
                    return Err(super::DumpError::damaged("tables are missing"));
                }
                if self.input.read(&mut [0])? != 0 {
                    return Err(super::DumpError::damaged("bytes follow the end"));
                }
                self.is_at_end = true;
                Ok(None)
            }
            (Tag::Head | Tag::Table | Tag::Rows | Tag::EndOfTable | Tag::End, _) => {
                Err(super::DumpError::damaged(format!("an unexpected frame ({})", tag as u8)))
            }
        }
    }
}

/// Reads a frame into `content` and returns its tag.
fn read_frame(input: &mut impl Read, content: &mut Vec<u8>) -> Result<Tag, DumpError> {
    let cut_off = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => super::DumpError::damaged("it is truncated"),
        _ => super::DumpError::Io(error),
    };
    let mut header = [0; 5];
    input.read_exact(&mut header).map_err(cut_off)?;
    let [tag, length @ ..] = header;
    let tags = [Tag::Head, Tag::Table, Tag::Rows, Tag::EndOfTable, Tag::End];
    let Some(tag) = tags.into_iter().find(|known| *known as u8 == tag) else {
        return Err(super::DumpError::damaged(format!("a frame has the unknown tag {tag}")));
    };
    let length = u32::from_be_bytes(length);
    if usize::try_from(length).is_ok_and(|length| length > MAX_FRAME) {
        return Err(super::DumpError::damaged(format!("a frame of {length} bytes")));
    }
    content.clear();
    // `content` grows with the bytes that are read, so a wrong length does not allocate memory.
    let size = input.take(length.into()).read_to_end(content)?;
    if size as u64 == u64::from(length) { Ok(tag) } else { Err(super::DumpError::damaged("it is truncated")) }
}

struct Content<'a>(&'a [u8]);

impl<'a> Content<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        let (array, rest) =
            self.0.split_first_chunk().ok_or_else(|| super::DumpError::damaged("a frame is too short"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, DumpError> {
        self.array().map(|[byte]| byte)
    }

    fn name(&mut self) -> Result<&'a str, DumpError> {
        let length = self.byte()?.into();
        let (name, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| super::DumpError::damaged("a name is truncated"))?;
        self.0 = rest;
        std::str::from_utf8(name).map_err(|_| super::DumpError::damaged("a name is not UTF-8"))
    }

    fn schema(&mut self) -> Result<Schema, DumpError> {
        let code = self.byte()?;
        let schema = SCHEMAS.iter().find(|(_, schema_code)| *schema_code == code).map(|(schema, _)| *schema);
        schema.ok_or_else(|| super::DumpError::damaged(format!("the unknown schema {code}")))
    }

    fn end(&self) -> Result<(), DumpError> {
        if self.0.is_empty() { Ok(()) } else { Err(super::DumpError::damaged("a frame is too long")) }
    }
}

fn parse_head(content: &mut Content<'_>) -> Result<Head, DumpError> {
    let key = DigestKey(content.array()?);
    let mut levels: Vec<(Schema, i64)> = Vec::new();
    for _ in 0..content.byte()? {
        let schema = content.schema()?;
        if levels.iter().any(|(known, _)| *known == schema) {
            return Err(super::DumpError::damaged("a schema is repeated"));
        }
        let level = i64::from_be_bytes(content.array()?);
        let known = newest_migration(schema);
        if level > known {
            return Err(super::DumpError::Schema { schema: schema.as_str(), found: level, known });
        }
        levels.push((schema, level));
    }
    content.end()?;
    Ok(Head { key, levels })
}

fn parse_table(
    content: &mut Content<'_>,
    expected: Option<&'static Table>,
) -> Result<&'static Table, DumpError> {
    let (schema, name) = (content.schema()?, content.name()?);
    let mut columns = Vec::new();
    for _ in 0..content.byte()? {
        columns.push((content.byte()?, content.name()?));
    }
    content.end()?;
    let table = expected.filter(|table| {
        let expected_columns = table.columns.iter().map(|column| (column.kind.code(), column.name));
        table.schema == schema && table.name == name && expected_columns.eq(columns.iter().copied())
    });
    table.ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        super::DumpError::Table {
            found: format!("{name} ({})", names.join(", ")),
            expected: expected.map_or("no further table".to_owned(), |table| {
                format!("{} ({})", table.name, table.column_list())
            }),
        }
    })
}
