//! Writes a dump, table by table, without keeping rows in memory.

use std::io::{self, Write};

use sha2::Digest;

use super::{DigestKey, FORMAT, Head, MAGIC, RowHasher, TableSummary, Tag, schema_code};
use base::model::digest::Sha256;
use store::db::transfer::row::RowBlock;
use store::db::transfer::tables::Table;

const LEVEL: i32 = 1;

pub struct DumpWriter<W: Write> {
    out: W,
    key: DigestKey,
    table: Option<UnfinishedTable>,
    tables: u32,
}

struct UnfinishedTable {
    table: &'static Table,
    hasher: RowHasher,
    sha256: sha2::Sha256,
}

impl<W: Write> DumpWriter<zstd::Encoder<'static, W>> {
    /// Writes the beginning of a dump.
    pub fn create(mut out: W, head: &Head) -> io::Result<DumpWriter<zstd::Encoder<'static, W>>> {
        out.write_all(MAGIC)?;
        out.write_all(&FORMAT.to_be_bytes())?;
        DumpWriter::frames(zstd::Encoder::new(out, LEVEL)?, head)
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.out.finish()
    }
}

impl<W: Write> DumpWriter<W> {
    /// Writes the beginning of a dump that has neither magic nor compression.
    pub fn frames(out: W, head: &Head) -> io::Result<DumpWriter<W>> {
        let mut writer = DumpWriter { out, key: head.key, table: None, tables: 0 };
        let mut content = head.key.0.to_vec();
        content.push(u8::try_from(head.levels.len()).map_err(io::Error::other)?);
        for (schema, level) in &head.levels {
            content.push(schema_code(*schema));
            content.extend_from_slice(&level.to_be_bytes());
        }
        writer.frame(Tag::Head, &[&content])?;
        Ok(writer)
    }

    fn frame(&mut self, tag: Tag, content: &[&[u8]]) -> io::Result<()> {
        let length: usize = content.iter().map(|part| part.len()).sum();
        self.out.write_all(&[tag as u8])?;
        self.out.write_all(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes())?;
        content.iter().try_for_each(|part| self.out.write_all(part))
    }

    pub fn begin_table(&mut self, table: &'static Table) -> io::Result<()> {
        let mut content = vec![schema_code(table.schema)];
        put_name(&mut content, table.name)?;
        content.push(u8::try_from(table.columns.len()).map_err(io::Error::other)?);
        for column in table.columns {
            content.push(column.kind.code());
            put_name(&mut content, column.name)?;
        }
        self.frame(Tag::Table, &[&content])?;
        let hasher = RowHasher::new(self.key);
        self.table = Some(UnfinishedTable { table, hasher, sha256: sha2::Sha256::new() });
        self.tables += 1;
        Ok(())
    }

    /// Writes rows of the table, which must match its columns.
    pub fn rows(&mut self, block: &RowBlock) -> io::Result<()> {
        let UnfinishedTable { table, hasher, sha256 } = self.table.as_mut().ok_or_else(no_table)?;
        block.for_each_row(table, |row| hasher.add(row)).map_err(io::Error::other)?;
        sha256.update(&block.bytes);
        self.frame(Tag::Rows, &[&block.rows.to_be_bytes(), &block.bytes])
    }

    pub fn end_table(&mut self) -> io::Result<TableSummary> {
        let UnfinishedTable { table, hasher, sha256 } = self.table.take().ok_or_else(no_table)?;
        let (digest, sha256) = (hasher.digest(), Sha256(sha256.finalize().into()));
        let numbers = [digest.rows.to_be_bytes(), digest.bytes.to_be_bytes()].concat();
        self.frame(Tag::EndOfTable, &[&numbers, &digest.sum.to_be_bytes(), &sha256.0])?;
        Ok(TableSummary { table, digest, sha256 })
    }

    /// Writes the last frame, and returns the output.
    pub fn into_frames(mut self) -> io::Result<W> {
        self.end()?;
        Ok(self.out)
    }

    fn end(&mut self) -> io::Result<()> {
        self.frame(Tag::End, &[&self.tables.to_be_bytes()])
    }
}

fn put_name(content: &mut Vec<u8>, name: &str) -> io::Result<()> {
    content.push(u8::try_from(name.len()).map_err(io::Error::other)?);
    content.extend_from_slice(name.as_bytes());
    Ok(())
}

fn no_table() -> io::Error {
    io::Error::other("no table was begun")
}
