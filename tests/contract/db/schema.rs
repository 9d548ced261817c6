//! Migrations: both databases get the same tables; schemas of newer programs are accepted or refused.

use std::collections::BTreeMap;

use rstudio_pm::db::migrate::MIGRATIONS;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::{Db, DbError};

use crate::support::db::{Engine, TestDb};

both! {
    a_schema_from_a_newer_program_is_refused
    a_schema_of_a_development_version_is_refused
    a_newer_schema_that_only_adds_is_accepted
    opening_again_changes_nothing
    check_reports_without_changes
}

type Columns = BTreeMap<String, Vec<String>>;

fn columns(db: &TestDb) -> Columns {
    const SQLITE: &str = "SELECT m.name, t.name || CASE WHEN t.\"notnull\" = 1 OR t.pk > 0 THEN ' NOT NULL' ELSE '' END \
        || CASE t.type WHEN 'INTEGER' THEN ' BIGINT' WHEN 'BLOB' THEN ' BYTEA' ELSE ' ' || t.type END \
        FROM sqlite_master m JOIN pragma_table_info(m.name) t WHERE m.type = 'table' ORDER BY m.name, t.cid";
    const POSTGRES: &str = "SELECT CAST(table_name AS TEXT), column_name || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END \
        || ' ' || upper(data_type) FROM information_schema.columns WHERE table_schema = current_schema() \
        ORDER BY table_name, ordinal_position";
    let sql = if db.engine == Engine::Sqlite { SQLITE } else { POSTGRES };
    let mut columns = Columns::new();
    for mut row in db.read(move |c| c.query(sql, &[])) {
        columns.entry(row.text(0).expect("a name")).or_default().push(row.text(1).expect("a column"));
    }
    columns
}

/// The columns of usage data, which has a separate file on SQLite.
fn usage_columns(engine: Engine) -> Columns {
    let mut test_db = TestDb::new(engine);
    let core = columns(&test_db);
    let usage = Db::open_usage(&test_db.config).expect("it opens");
    test_db.db = usage;
    let mut columns = columns(&test_db);
    columns.retain(|table, _| !core.contains_key(table));
    columns
}

#[test]
fn usage_data_has_the_same_tables_and_columns_on_both_databases_and_a_prefix() {
    let (sqlite, postgres) = (usage_columns(Engine::Sqlite), usage_columns(Engine::Postgres));
    assert!(
        sqlite.len() == 7 && sqlite.keys().all(|table| table.starts_with("usage_")),
        "{:?}",
        sqlite.keys()
    );
    for (table, columns) in &sqlite {
        let mut postgres_columns = postgres[table].clone();
        // Only the order of the columns may differ.
        postgres_columns.sort();
        let mut columns = columns.clone();
        columns.sort();
        assert_eq!(columns, postgres_columns, "{table}");
    }
    assert_eq!(sqlite.len(), postgres.len());
}

#[test]
fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, postgres) = (columns(&TestDb::new(Engine::Sqlite)), columns(&TestDb::new(Engine::Postgres)));
    assert!(sqlite.len() >= 20 && sqlite.contains_key("life"), "{:?}", sqlite.keys());
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (table, columns) in &sqlite {
        assert_eq!(columns, &postgres[table], "{table}");
    }
}

#[test]
fn migrations_are_numbered_from_one_and_each_is_a_pair() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/src/db/engine/migrations");
    for (schema, folder) in [(Schema::Core, folder.clone()), (Schema::Usage, folder.join("usage"))] {
        let all = rstudio_pm::db::migrate::migrations(schema);
        for (number, migration) in (1..).zip(all) {
            assert_eq!(migration.number, number, "{}", migration.name);
            assert!(!migration.sqlite.is_empty() && !migration.postgres.is_empty());
            // Two processes write usage data during a hand-over.
            assert!(schema == Schema::Core || migration.expand_only, "{}", migration.name);
        }
        let files = std::fs::read_dir(folder).expect("migrations").flatten();
        let files: Vec<_> = files.filter(|f| f.path().is_file()).map(|f| f.file_name()).collect();
        assert_eq!(files.len(), 2 * all.len(), "{files:?}");
        for m in all {
            for engine in ["sqlite", "postgres"] {
                let name = format!("{}_{}.{engine}.sql", m.number, m.name);
                assert!(files.iter().any(|f| *f == *name), "{name}");
            }
        }
    }
}

fn record_newer_migration(db: &TestDb, expand_only: i64) {
    const NEWER: &str = "INSERT INTO migration (number, name, at, expand_only, version) \
        VALUES (900, 'future', 0, CAST($1 AS BIGINT), '9.8.7')";
    db.write(move |c| c.execute(NEWER, &[expand_only.into()]));
    db.db.close();
}

fn a_schema_from_a_newer_program_is_refused(db: &mut TestDb) {
    record_newer_migration(db, 0);
    for result in [Db::open(&db.config).map(|_| String::new()), Db::check(&db.config)] {
        let error = result.expect_err("too new");
        assert!(
            matches!(&error, DbError::TooNew { found: 900, migration, .. } if migration == "900 (future)"),
            "{error:?}"
        );
        assert!(error.to_string().contains("made by version 9.8.7"), "{error}");
    }
}

fn a_schema_of_a_development_version_is_refused(db: &mut TestDb) {
    record_newer_migration(db, 1);
    db.reopen();
    db.write(|c| {
        c.execute("UPDATE migration SET name = 'foundation', version = '0.1.0' WHERE number = 1", &[])
    });
    db.db.close();
    for result in [Db::open(&db.config).map(|_| String::new()), Db::check(&db.config)] {
        let error = result.expect_err("another schema");
        assert!(matches!(&error, DbError::OtherSchema { number: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("made by version 0.1.0, which is not a release"), "{error}");
    }
}

fn a_newer_schema_that_only_adds_is_accepted(db: &mut TestDb) {
    record_newer_migration(db, 1);
    db.reopen();
    db.read(|c| rstudio_pm::db::clock::get(c));
}

fn opening_again_changes_nothing(db: &mut TestDb) {
    let before = columns(db);
    db.reopen();
    assert_eq!(columns(db), before);
    let rows = db.read(|c| c.query("SELECT number FROM migration", &[]));
    assert_eq!(rows.len(), MIGRATIONS.len());
}

fn check_reports_without_changes(db: &mut TestDb) {
    let newest = format!("schema {}", MIGRATIONS.last().expect("migrations").number);
    let line = Db::check(&db.config).expect("a database in use");
    assert!(line.contains(&newest), "{line}");
    db.db.close();
    assert!(Db::check(&db.config).expect("a closed database").contains(&newest));
    let dir = tempfile::tempdir().expect("a directory");
    let blank = crate::support::db::config(db.engine, dir.path());
    let line = Db::check(&blank).expect("a database can be created");
    assert!(line.contains("at the first start"), "{line}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing was created");
}
