//! Failures that only a database file can have.

use std::os::unix::fs::PermissionsExt;

use rstudio_pm::db::{Db, DbError, repo};
use rstudio_pm::model::time::Timestamp;

use crate::support::db::{Engine, TestDb};

fn failure(db: &TestDb) -> DbError {
    match Db::open(&db.config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn a_second_process_gets_an_error_that_the_file_is_locked() {
    let db = TestDb::new(Engine::Sqlite);
    let error = failure(&db);
    assert!(matches!(error, DbError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("locked by another process"));
}

#[test]
fn a_file_locked_by_another_program_is_reported_too() {
    let db = TestDb::new(Engine::Sqlite);
    db.db.close();
    let file = db.config.sqlite.dir.join("rstudio-pm.db");
    let other_connection = rusqlite::Connection::open(file).expect("a connection");
    other_connection.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    let mut config = (*db.config).clone();
    config.database.connection_timeout = std::time::Duration::from_millis(50);
    let error = Db::open(&config).err().expect("it is locked");
    assert!(matches!(error, DbError::Locked { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_no_database_is_reported_with_its_path() {
    for bytes in
        [&b"this is no database, whatever its name says, and it is long enough to tell"[..], &[0; 5000]]
    {
        let db = TestDb::new(Engine::Sqlite);
        db.db.close();
        let file = db.config.sqlite.dir.join("rstudio-pm.db");
        std::fs::write(&file, bytes).expect("written");
        for error in [failure(&db), Db::check(&db.config).expect_err("no database")] {
            assert!(matches!(error, DbError::NotADatabase { .. }), "{error:?}");
            assert!(error.to_string().contains("rstudio-pm.db"), "{error}");
        }
    }
}

#[test]
fn a_damaged_page_is_an_error_and_not_a_panic() {
    let db = TestDb::new(Engine::Sqlite);
    db.db.close();
    let file = db.config.sqlite.dir.join("rstudio-pm.db");
    let mut bytes = std::fs::read(&file).expect("the file");
    for byte in &mut bytes[4096..] {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, bytes).expect("written");
    let error = failure(&db);
    assert!(matches!(error, DbError::NotADatabase { .. }), "{error:?}");
}

#[test]
fn a_full_disk_is_an_error_until_there_is_space() {
    let db = TestDb::new(Engine::Sqlite);
    // SQLite's page limit has the same error code as a full disk.
    let pages =
        db.read(|c| c.query("SELECT page_count FROM pragma_page_count()", &[]))[0].int(0).expect("a number");
    let limit = |n: i64| {
        let sql: &'static str = Box::leak(format!("PRAGMA max_page_count = {n}").into_boxed_str());
        db.write(move |c| c.query(sql, &[]).map(drop));
    };
    limit(pages);
    let fill = |n: usize| {
        db.try_write(move |c| {
            let new = repo::NewRepo {
                name: format!("r{n}").parse().expect("a name"),
                kind: rstudio_pm::model::kind::RepoKind::R,
                description: "x".repeat(20_000),
                hidden: false,
                authenticated: false,
                changes: rstudio_pm::model::kind::ChangePolicy::Any,
            };
            repo::create(c, &new, Timestamp(0))
        })
    };
    let error = (0..20).find_map(|n| fill(n).err()).expect("it is full");
    assert!(matches!(error, DbError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    limit(1_000_000);
    fill(99).expect("there is space again");
}

#[test]
fn only_the_owner_can_access_its_files() {
    let db = TestDb::new(Engine::Sqlite);
    db.write(|c| rstudio_pm::db::clock::bump_catalog(c, rstudio_pm::db::clock::Change::Nothing));
    let dir = &db.config.sqlite.dir;
    let mode =
        |p: &std::path::Path| std::fs::metadata(p).expect("the file exists").permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(dir).expect("a directory").flatten().map(|f| f.path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_reported_with_a_remedy() {
    let parent = tempfile::tempdir().expect("a directory");
    std::fs::write(parent.path().join("data"), b"in the way").expect("a file");
    let config = crate::support::db::config(Engine::Sqlite, parent.path());
    for error in
        [Db::open(&config).err().expect("no directory"), Db::check(&config).expect_err("no directory")]
    {
        assert!(matches!(error, DbError::Unwritable { .. }), "{error:?}");
        assert!(error.to_string().contains("install -d -m 0700"), "{error}");
    }
}

#[test]
fn commits_are_durable_and_the_log_stays_small() {
    let db = TestDb::new(Engine::Sqlite);
    let pragma = |sql: &'static str| db.write(move |c| c.query(sql, &[])).remove(0).0.remove(0);
    assert_eq!(pragma("PRAGMA synchronous"), rstudio_pm::db::Value::Int(2));
    assert_eq!(pragma("PRAGMA journal_mode"), rstudio_pm::db::Value::Text("wal".into()));
    assert_eq!(pragma("PRAGMA foreign_keys"), rstudio_pm::db::Value::Int(1));
    assert_eq!(pragma("PRAGMA wal_autocheckpoint"), rstudio_pm::db::Value::Int(0));
    // 30 MB are written; only the checkpointer moves them into the database.
    for n in 0..300 {
        db.write(move |c| {
            let detail = rstudio_pm::db::detail::Detail { description: vec![7; 100_000], readme: None };
            rstudio_pm::db::detail::put(c, rstudio_pm::model::ids::ReleaseId(n), &detail)
        });
    }
    let log = db.config.sqlite.dir.join("rstudio-pm.db-wal");
    let start = std::time::Instant::now();
    loop {
        // SQLite restarts the log with the first write after a complete checkpoint.
        db.write(|c| rstudio_pm::db::clock::bump_catalog(c, rstudio_pm::db::clock::Change::Nothing));
        let size = std::fs::metadata(&log).expect("the log").len();
        if size <= 16 << 20 {
            break;
        }
        assert!(start.elapsed().as_secs() < 90, "the log still has {size} bytes");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
