//! The format of dumps.

use std::process::Command;

use rstudio_pm::backup::dump::DigestKey;
use rstudio_pm::backup::dump::reader::{DumpReader, Item};
use rstudio_pm::backup::dump::writer::DumpWriter;
use rstudio_pm::backup::dump::{DumpError, Head};
use rstudio_pm::backup::migrate::dump;
use rstudio_pm::config::Provider;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::row::{Field, RowBlock};
use rstudio_pm::db::transfer::source::TransferSource;
use rstudio_pm::db::transfer::tables::{ColumnKind, tables_at};

use super::installation::{Installation, other};

fn dump_of(installation: &Installation, provider: Provider) -> Vec<u8> {
    let config = installation.config(provider);
    let mut source = TransferSource::open(&config, provider, other(provider)).expect("it opens");
    let key = DigestKey::of(source.conn().expect("packages")).expect("an identity");
    let head = Head { key, levels: source.schema_versions().to_vec() };
    let mut bytes = Vec::new();
    dump(&mut source, &mut bytes, &head, &|_| {}).expect("a dump");
    bytes
}

fn read(bytes: &[u8]) -> Result<u64, DumpError> {
    let mut reader = DumpReader::open(bytes)?;
    let mut rows = 0;
    while let Some(item) = reader.next_item()? {
        if let Item::EndOfTable(summary) = item {
            rows += summary.digest.rows;
        }
    }
    Ok(rows)
}

#[test]
fn the_dumps_of_both_databases_are_the_same_bytes() {
    let installation = Installation::with_data(Provider::Sqlite, 2_000);
    installation.json(&[]);
    let (sqlite, postgres) =
        (dump_of(&installation, Provider::Sqlite), dump_of(&installation, Provider::Postgres));
    assert!(sqlite == postgres, "{} and {} bytes", sqlite.len(), postgres.len());
    let rows: u64 = installation.dry_run(Provider::Sqlite).tables.iter().map(|(_, digest)| digest.rows).sum();
    assert_eq!(read(&sqlite).expect("a dump"), rows);
}

/// A small dump of the usage data: one row for each table.
fn small_dump() -> Vec<u8> {
    let head = Head { key: DigestKey([7; 32]), levels: vec![(Schema::Usage, 1)] };
    let mut writer = DumpWriter::create(Vec::new(), &head).expect("a Vec takes every write");
    for table in tables_at(Schema::Usage, 1) {
        writer.begin_table(table).expect("a Vec takes every write");
        let mut block = RowBlock { rows: 1, bytes: Vec::new() };
        for column in table.columns {
            block.push(match column.kind {
                ColumnKind::Int => Field::Int(1),
                ColumnKind::Text => Field::Text("é"),
                ColumnKind::Bytes => Field::Bytes(b"\0"),
            });
        }
        writer.rows(&block).expect("rows of this table");
        writer.end_table().expect("a Vec takes every write");
    }
    writer.finish().expect("a Vec takes every write")
}

#[test]
fn every_changed_or_missing_byte_is_found() {
    let dump = small_dump();
    let rows = read(&dump).expect("a dump");
    for at in 0..dump.len() {
        assert!(read(&dump[..at]).is_err(), "cut at {at}");
        for bit in [0x01, 0x80] {
            let mut copy = dump.clone();
            copy[at] ^= bit;
            // The level of a schema and the header of zstd's frame are not covered by the digests of tables.
            if let Ok(found) = read(&copy) {
                assert_eq!(found, rows, "changed at {at}");
            }
        }
    }
    assert!(read(&[dump.as_slice(), b"x"].concat()).is_err(), "bytes after the end");
}

#[test]
fn other_files_and_formats_are_named() {
    let mut newer_dump = small_dump();
    newer_dump[9] = 2;
    for (bytes, text) in [
        (b"SQLite format 3\0...".to_vec(), "this is not a dump of rstudio-pm"),
        (b"RSPM".to_vec(), "this is not a dump of rstudio-pm"),
        (newer_dump, "the dump has format 2; this version of rstudio-pm reads format 1"),
    ] {
        assert_eq!(read(&bytes).expect_err(text).to_string(), text);
    }
}

/// `tests/corpus/dump/rows` was written by another program, from the documented format.
#[test]
fn a_dump_of_another_program_is_read() {
    let mut reader = DumpReader::frames(&include_bytes!("../corpus/dump/rows")[..]).expect("a head");
    let mut rows = Vec::new();
    while let Some(item) = reader.next_item().expect("a dump") {
        if let Item::EndOfTable(summary) = item {
            rows.push((summary.table.name, summary.digest.rows));
        }
    }
    rows.retain(|(_, rows)| *rows > 0);
    assert_eq!(rows, [("usage_aggregate", 1), ("usage_work", 2)]);
}

/// The documented format, read by another program.
#[test]
fn the_format_is_as_documented() {
    const READER: &str = r#"
import struct, sys
data = sys.stdin.buffer.read()
at, tables, rows = 0, 0, 0
while at < len(data):
    tag, length = struct.unpack_from('>BI', data, at)
    content = data[at + 5:at + 5 + length]
    at += 5 + length
    if tag == 1:
        print(content[:32].hex(), list(content[32:34]), struct.unpack_from('>q', content, 34)[0])
    elif tag == 2:
        tables += 1
    elif tag == 3:
        rows += struct.unpack_from('>I', content)[0]
    elif tag == 5:
        print(struct.unpack('>I', content)[0], tables, rows)
"#;
    let head = Head { key: DigestKey([7; 32]), levels: vec![(Schema::Usage, 1)] };
    let mut writer = DumpWriter::frames(Vec::new(), &head).expect("a Vec takes every write");
    for table in tables_at(Schema::Usage, 1) {
        writer.begin_table(table).expect("a Vec takes every write");
        writer.end_table().expect("a Vec takes every write");
    }
    let frames = writer.into_frames().expect("a Vec takes every write");
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("frames"), frames).expect("written");
    let input = std::fs::File::open(dir.path().join("frames")).expect("written");
    let python = std::env::var("RSPM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python).args(["-c", READER]).stdin(input).output().expect("python runs");
    let expected = format!("{} [1, 2] 1\n7 7 0\n", "07".repeat(32));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
