//! Single bits of a SQLite file that the disk changed: the start is refused, an examination finds them, or nothing
//! that a client gets depends on them.

use std::path::{Path, PathBuf};

use rstudio_pm::db::detail::{self, Detail};
use rstudio_pm::db::invariants::{self, Examination};
use rstudio_pm::db::transfer::reading::RowSink;
use rstudio_pm::db::transfer::row::RowBlock;
use rstudio_pm::db::transfer::source::TransferSource;
use rstudio_pm::db::transfer::tables::Table;
use rstudio_pm::db::{Conn, Db, DbError, clock};
use rstudio_pm::model::change::LifeState;
use rstudio_pm::model::ids::ReleaseId;
use rusqlite::OpenFlags;

use super::samples::{CRAN, NEW_YEAR, change, introduce};
use crate::support::db::{Engine, TestDb};

const PAGE: usize = 4096;

/// A closed database with packages, and with rows that need several pages.
fn closed() -> TestDb {
    let db = TestDb::new(Engine::Sqlite);
    db.write(|c| {
        let names: Vec<String> = (0..80).map(|number| format!("package{number}")).collect();
        let changes: Vec<_> = names.iter().map(|name| introduce(name, "1.0", LifeState::Listed)).collect();
        change(c, CRAN, NEW_YEAR, &changes)?;
        for number in 1..=20 {
            let description = format!("Package: package{number}\n").repeat(600).into_bytes();
            detail::put(c, ReleaseId(number), &Detail { description, readme: None })?;
        }
        Ok(())
    });
    db.db.close();
    db
}

fn file(db: &TestDb) -> PathBuf {
    db.config.sqlite.dir.join("rstudio-pm.db")
}

fn examine(db: &TestDb) -> Examination {
    db.block(invariants::examine(&db.db)).unwrap_or_else(|e| panic!("{e}"))
}

/// All rows of all tables.
fn rows(file: &Path) -> Vec<String> {
    let database =
        rusqlite::Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    let mut names =
        database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut all = Vec::new();
    for name in names {
        let mut statement = database.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap()));
            all.push(format!("{name} {}", values.collect::<Vec<_>>().join(" ")));
        }
    }
    all
}

/// Flips bits one after the other, each in a copy of the same file, and panics if one is not found.
fn flip(bits: impl Fn(usize) -> Vec<usize>) {
    let mut db = closed();
    let file = file(&db);
    let bytes = std::fs::read(&file).expect("the file");
    let expected = rows(&file);
    let (mut refused, mut found) = (0, 0);
    for bit in bits(bytes.len() * 8) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, damaged).expect("written");
        let Ok(opened) = Db::open(&db.config) else {
            refused += 1;
            continue;
        };
        db.db = opened;
        let problems = examine(&db).problems;
        db.db.close();
        if problems.is_empty() {
            assert!(rows(&file) == expected, "bit {} of byte {} is not found", bit % 8, bit / 8);
        } else {
            found += 1;
        }
    }
    println!("{refused} starts were refused, {found} were found");
    assert!(found > 0);
}

/// Numbers below `limit`, from a seed.
fn numbers(seed: u64, count: usize, limit: usize) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_flipped_bit_is_found() {
    flip(|bits| numbers(1, 150, bits));
}

#[test]
fn a_flipped_bit_of_the_header_is_found() {
    // Size of a page, versions, reserved bytes, size of the file, schema cookie.
    let bytes = (16..24).chain([28, 31, 40, 43, 56, 59, 96, 99]);
    let bits: Vec<usize> = bytes.flat_map(|byte| (0..8).map(move |bit| byte * 8 + bit)).collect();
    flip(move |_| bits.clone());
}

#[test]
fn each_of_2000_flipped_bits_is_found() {
    flip(|bits| numbers(2, 2000, bits));
}

/// Flips a bit of a text in the database.
fn damage(file: &Path, text: &str) {
    let mut bytes = std::fs::read(file).expect("the file");
    let at = memchr::memmem::find(&bytes, text.as_bytes()).expect("the text");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

struct Discard;

impl RowSink for Discard {
    fn rows(&mut self, _: &'static Table, _: &RowBlock) -> Result<(), DbError> {
        Ok(())
    }
}

fn read_all(db: &TestDb) -> Result<(), DbError> {
    let mut source = TransferSource::open_shared(&db.config)?;
    let tables: Vec<_> = source.tables().collect();
    tables.into_iter().try_for_each(|table| source.read(table, &mut Discard))
}

#[test]
fn a_backup_does_not_copy_a_changed_page_also_after_the_server_has_written_it() {
    let mut db = closed();
    let file = file(&db);
    db.reopen();
    read_all(&db).expect("undamaged");
    db.db.close();
    damage(&file, "Package: package7\nVersion");
    for _ in 0..2 {
        db.reopen();
        let error = read_all(&db).expect_err("a page is damaged");
        assert!(error.to_string().contains("is damaged"), "{error}");
        let problems = examine(&db).problems;
        assert!(problems.iter().any(|problem| problem.contains("checksum differs")), "{problems:?}");
        // The page is written again with the damaged row, and is copied into the database when it closes.
        db.write(|c| {
            c.execute("UPDATE record SET stanza = CAST(stanza || x'20' AS BLOB) WHERE release_id = 7 OR release_id = 8", &[])
        });
        db.db.close();
    }
}

#[test]
fn a_database_of_a_previous_version_gets_checksums_and_so_does_one_that_another_program_has_copied() {
    let mut db = closed();
    let file = file(&db);
    let expected = rows(&file);
    let is_reserved = |file: &Path| std::fs::read(file).expect("the file")[20] == 8;
    assert!(is_reserved(&file));
    let other = file.with_extension("other");
    // Without reserved bytes, as a previous version creates it.
    {
        let source = rusqlite::Connection::open(&file).expect("it opens");
        let copy = rusqlite::Connection::open(&other).expect("it opens");
        let schema: Vec<String> = source
            .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        copy.execute_batch(&schema.join(";")).expect("the schema");
        copy.execute("ATTACH $1 AS source", [file.to_str()]).expect("attached");
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let names: Vec<String> = source
            .prepare(tables)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        copy.execute_batch("PRAGMA foreign_keys = OFF").expect("set");
        for name in names {
            copy.execute_batch(&format!("INSERT INTO main.{name} SELECT * FROM source.{name}"))
                .expect("copied");
        }
    }
    assert!(!is_reserved(&other));
    std::fs::rename(&other, &file).expect("renamed");
    db.reopen();
    assert_eq!(examine(&db).problems, [""; 0]);
    assert!(examine(&db).notes.iter().any(|note| note.contains("were compared")));
    db.db.close();
    assert!(is_reserved(&file));
    assert!(
        rows(&file)
            .iter()
            .filter(|row| !row.starts_with("sqlite_"))
            .eq(expected.iter().filter(|row| !row.starts_with("sqlite_")))
    );

    // Another program keeps old checksums of the pages that it writes.
    let write = |sql: &str| {
        rusqlite::Connection::open(&file).expect("it opens").execute_batch(sql).expect("written");
    };
    write("UPDATE record SET stanza = CAST(stanza || x'20' AS BLOB) WHERE release_id = 7");
    db.reopen();
    let problems = examine(&db).problems;
    assert!(problems.iter().any(|problem| problem.contains("another program")), "{problems:?}");
    db.read(|c| clock::get(c));
    db.db.close();
    write("VACUUM");
    db.reopen();
    assert_eq!(examine(&db).problems, [""; 0]);
    assert!(examine(&db).notes.iter().any(|note| note.contains("were compared")));
    assert_eq!(std::fs::read(&file).expect("the file").len() % PAGE, 0);
}

/// The files that a killed server leaves after changes.
fn killed(db: &mut TestDb) {
    db.reopen();
    db.write(change_rows);
    let wal = file(db).with_extension("db-wal");
    let files = [file(db), wal].map(|path| (std::fs::read(&path).expect("the file"), path));
    db.db.close();
    for (bytes, path) in files {
        assert!(!bytes.is_empty(), "{}", path.display());
        std::fs::write(path, bytes).expect("written");
    }
}

/// The numbers of the pages that the WAL contains.
fn pages_of_wal(file: &Path) -> Vec<usize> {
    let wal = std::fs::read(file.with_extension("db-wal")).expect("the WAL");
    let frames = wal[32..].chunks_exact(24 + PAGE);
    frames.map(|frame| u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize).collect()
}

/// Changes rows in several pages.
fn change_rows(c: &mut dyn Conn) -> Result<(), DbError> {
    c.execute("UPDATE record SET stanza = CAST(stanza || x'20' AS BLOB)", &[])?;
    c.execute("UPDATE release SET version = version", &[])?;
    c.execute("UPDATE file SET name = name", &[]).map(drop)
}

#[test]
fn half_written_pages_that_the_wal_replaces_are_not_damaged() {
    let mut db = closed();
    let file = file(&db);
    killed(&mut db);
    let mut bytes = std::fs::read(&file).expect("the file");
    let pages = pages_of_wal(&file);
    assert!(pages.len() > 1);
    let size = bytes.len();
    for page in pages.into_iter().filter(|page| *page > 1 && page * PAGE <= size) {
        bytes[page * PAGE - PAGE / 2..page * PAGE].fill(0xab);
    }
    std::fs::write(&file, bytes).expect("written");
    for _ in 0..2 {
        db.reopen();
        assert_eq!(examine(&db).problems, [""; 0]);
        read_all(&db).expect("undamaged");
        db.db.close();
    }
}

#[test]
fn a_damaged_page_that_is_changed_before_a_kill_stays_damaged() {
    let mut db = closed();
    let file = file(&db);
    damage(&file, "Package: package7\nVersion");
    killed(&mut db);
    for _ in 0..2 {
        db.reopen();
        let problems = examine(&db).problems;
        assert!(problems.iter().any(|problem| problem.contains("checksum differs")), "{problems:?}");
        db.write(change_rows);
        db.db.close();
    }
}

#[test]
fn a_damaged_page_that_is_changed_is_found_in_the_wal() {
    let mut db = closed();
    damage(&file(&db), "Package: package7\nVersion");
    db.reopen();
    // Keeps the pages of the next change in the WAL.
    let reader = rusqlite::Connection::open_with_flags(file(&db), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").expect("a snapshot");
    db.write(change_rows);
    let problems = examine(&db).problems;
    assert!(problems.iter().any(|problem| problem.contains("checksum differs")), "{problems:?}");
    read_all(&db).expect_err("a backup would copy the damaged page");
    drop(reader);
    db.db.close();
    db.reopen();
    let problems = examine(&db).problems;
    assert!(problems.iter().any(|problem| problem.contains("checksum differs")), "{problems:?}");
}

#[test]
fn another_program_may_open_the_database_of_a_killed_server() {
    let mut db = closed();
    let file = file(&db);
    killed(&mut db);
    // SQLite copies the WAL when the connection is closed.
    assert!(!rows(&file).is_empty());
    rusqlite::Connection::open(&file)
        .unwrap()
        .query_row("SELECT count(*) FROM record", [], |_| Ok(()))
        .unwrap();
    assert!(!file.with_extension("db-wal").exists());
    db.reopen();
    let examination = examine(&db);
    assert_eq!(examination.problems, [""; 0]);
    assert!(
        examination.notes.iter().any(|note| note.contains("another program wrote")),
        "{:?}",
        examination.notes
    );
    read_all(&db).expect("undamaged");
    db.write(change_rows);
    db.db.close();
    db.reopen();
    let examination = examine(&db);
    assert_eq!(examination.problems, [""; 0]);
    assert!(examination.notes.iter().any(|note| note.ends_with("were compared")), "{:?}", examination.notes);
}

#[test]
fn a_database_that_is_too_large_to_be_copied_gets_the_checksums_of_the_pages_that_are_written() {
    let mut db = closed();
    let file = file(&db);
    rusqlite::Connection::open(&file).expect("it opens").execute_batch("VACUUM").expect("copied");
    let opened = std::fs::File::options().write(true).open(&file).expect("it opens");
    opened.set_len((1 << 30) + PAGE as u64).expect("a larger file");
    db.reopen();
    assert!(examine(&db).notes.iter().any(|note| note.contains("have no checksums")));
    db.write(change_rows);
    // Changes the first page too.
    db.write(|c| c.execute("CREATE TABLE other (id BIGINT)", &[]).map(drop));
    db.db.close();
    db.reopen();
    let examination = examine(&db);
    assert_eq!(examination.problems, [""; 0]);
    assert!(
        examination.notes.iter().any(|note| note.contains("another program wrote")),
        "{:?}",
        examination.notes
    );
}

#[test]
fn a_database_with_pages_of_another_size_is_not_copied() {
    use std::os::unix::fs::MetadataExt;
    let mut db = closed();
    let file = file(&db);
    let other = rusqlite::Connection::open(&file).expect("it opens");
    other.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM").expect("copied");
    drop(other);
    let number = || std::fs::metadata(&file).expect("the file").ino();
    let before = number();
    db.reopen();
    assert_eq!(examine(&db).problems, [""; 0]);
    assert!(examine(&db).notes.iter().any(|note| note.contains("have no checksums")));
    db.db.close();
    assert_eq!(number(), before);
}
