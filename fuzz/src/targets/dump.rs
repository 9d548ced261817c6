//! Target for dumps of the database.

use std::io::Read;

use rstudio_pm::backup::dump::reader::{DumpReader, Item};
use rstudio_pm::backup::dump::writer::DumpWriter;
use rstudio_pm::backup::dump::{DigestKey, DumpError, Head};
use rstudio_pm::db::migrate::newest_migration;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::row::{Fields, RowBlock};
use rstudio_pm::db::transfer::tables;

/// A dump that is read and written again has the same bytes; rows are read back unchanged.
pub fn dump(data: &[u8]) {
    let _ = copy(DumpReader::open(data));
    if let Ok(frames) = copy(DumpReader::frames(data)) {
        assert_eq!(frames, data);
    }
    let (index, bytes) = super::choice(data);
    let selected_table = &tables::TABLES[usize::from(index) % tables::TABLES.len()];
    let (mut fields, mut block) = (Fields::new(bytes), RowBlock::default());
    while let Ok(row) = fields.read_row(selected_table) {
        block.bytes.extend_from_slice(row);
        block.rows += 1;
    }
    let levels = [Schema::Core, Schema::Usage].map(|schema| (schema, newest_migration(schema)));
    let head = Head { key: DigestKey([1; 32]), levels: levels.into() };
    let mut writer = DumpWriter::frames(Vec::new(), &head).expect("writing to a Vec succeeds");
    for table in tables::TABLES {
        writer.begin_table(table).expect("writing to a Vec succeeds");
        if table == selected_table {
            writer.rows(&block).expect("rows of the table");
        }
        writer.end_table().expect("writing to a Vec succeeds");
    }
    let frames = writer.into_frames().expect("writing to a Vec succeeds");
    assert_eq!(copy(DumpReader::frames(frames.as_slice())).expect("what is written can be read"), frames);
}

/// Reads a dump and writes its frames.
fn copy<R: Read>(reader: Result<DumpReader<R>, DumpError>) -> Result<Vec<u8>, DumpError> {
    let mut reader = reader?;
    let mut writer = DumpWriter::frames(Vec::new(), reader.head())?;
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Table(table) => writer.begin_table(table)?,
            Item::Rows(block) => writer.rows(block)?,
            Item::EndOfTable(summary) => assert_eq!(writer.end_table()?, summary),
        }
    }
    Ok(writer.into_frames()?)
}
