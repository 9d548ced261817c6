//! A migration to the other provider and back keeps every row, the indexes and the documents.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use rstudio_pm::config::Provider;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::row::{Field, Fields, RowBlock};
use rstudio_pm::db::transfer::tables::{TABLES, Table};
use rstudio_pm::db::transfer::{reading::RowSink, source::TransferSource};
use rstudio_pm::db::{Conn, Db, DbError};
use serde_json::Value;

use super::installation::{Installation, other};

/// Number of releases; the benchmark copies 160,000.
const RELEASES: i64 = 6_000;

/// Returns the digest of each table in a result.
fn digests(result: &Value) -> BTreeMap<String, String> {
    let tables = result["tables"].as_array().expect("a list").iter();
    let text = |row: &Value, name: &str| row[name].to_string();
    tables.map(|row| (text(row, "table"), text(row, "digest") + &text(row, "rows"))).collect()
}

/// Returns the definitions of indexes and constraints.
fn definitions(installation: &Installation, provider: Provider) -> Vec<String> {
    const SQLITE: &str =
        "SELECT coalesce(sql, name) FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ESCAPE '\\'";
    const POSTGRES: &str = "SELECT pg_get_constraintdef(c.oid) || c.conname FROM pg_constraint c \
        WHERE c.connamespace = CAST(CAST(current_schema() AS TEXT) AS regnamespace) UNION ALL \
        SELECT replace(indexdef, current_schema(), '') FROM pg_indexes WHERE schemaname = current_schema()";
    let sql = if provider == Provider::Sqlite { SQLITE } else { POSTGRES };
    let db = Db::open(&installation.config(provider)).expect("a server can use it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rows = runtime.block_on(db.read(move |c: &mut dyn Conn| c.query(sql, &[]))).expect("rows");
    db.close();
    let mut texts: Vec<String> = rows.into_iter().map(|mut row| row.text(0).expect("a text")).collect();
    texts.sort();
    texts
}

fn check_round_trip(first: Provider, installation: &Installation) {
    installation.fill(RELEASES);
    let source = installation.dry_run(first);
    assert!(source.is_possible(), "{:?}", source.problems);
    let migration = installation.json(&[]);
    assert_eq!(migration["documents"].as_array().map(Vec::len), Some(20), "{}", migration["documents"]);
    assert_eq!(migration["tables"].as_array().map(Vec::len), Some(TABLES.len()));
    assert_eq!(migration["provider"], if first == Provider::Sqlite { "postgres" } else { "sqlite" });
    let rows: u64 = source.tables.iter().map(|(_, digest)| digest.rows).sum();
    assert!(rows > 4 * RELEASES as u64, "{rows} rows");
    let (new_installation, second) = (Installation::new(other(first)), other(first));
    new_installation.write(Schema::Core, |_| Ok(()));
    new_installation.write(Schema::Usage, |_| Ok(()));
    assert_eq!(definitions(installation, second), definitions(&new_installation, second));

    let return_installation = Installation::new(second);
    let mut gcfg = std::fs::read_to_string(installation.config_file()).expect("readable");
    // The target is the blank database of another installation, so that the first database is kept.
    gcfg = match first {
        Provider::Sqlite => {
            gcfg + &format!("[SQLite]\nDir = {}\n", return_installation.dir.path().join("data/db").display())
        }
        Provider::Postgres => {
            let sqlite = installation.config(Provider::Sqlite).sqlite.dir.display().to_string();
            std::fs::read_to_string(return_installation.config_file()).expect("readable")
                + &format!("[SQLite]\nDir = {sqlite}\n")
        }
    };
    std::fs::write(
        return_installation.config_file(),
        gcfg.replace("Provider = sqlite", "Provider = postgres"),
    )
    .expect("written");
    let word = if first == Provider::Sqlite { "sqlite" } else { "postgres" };
    let return_migration = return_installation.json(&["--to", word]);
    assert_eq!(digests(&migration), digests(&return_migration));
    assert_eq!(migration["documents"], return_migration["documents"]);
    let copy = return_installation.dry_run(first);
    assert_eq!(source.tables, copy.tables);
    assert_eq!(source.tables, installation.dry_run(first).tables, "the first database is unchanged");
}

#[test]
fn from_sqlite_to_postgresql_and_back_every_row_is_the_same() {
    check_round_trip(Provider::Sqlite, &Installation::new(Provider::Sqlite));
}

#[test]
fn from_postgresql_to_sqlite_and_back_every_row_is_the_same() {
    check_round_trip(Provider::Postgres, &Installation::new(Provider::Postgres));
}

#[test]
fn usage_data_in_a_separate_database_is_copied() {
    let installation = Installation::with_usage_url(Provider::Sqlite);
    installation.fill(50);
    let expected = installation.dry_run(Provider::Sqlite).tables;
    installation.json(&[]);
    assert_eq!(installation.dry_run(Provider::Postgres).tables, expected);
    let config = installation.config(Provider::Postgres);
    let usage = rstudio_pm::db::transfer::occupancy(&config, Provider::Postgres, Schema::Usage);
    assert_eq!(usage.expect("it answers").as_deref(), Some("schema 1 with 500 counts of downloads"));
}

#[test]
fn without_usage_data_only_the_packages_are_copied() {
    let installation = Installation::new(Provider::Postgres);
    installation.write(Schema::Core, |c| super::sample::fill(c, 20));
    let result = installation.json(&[]);
    let tables = result["tables"].as_array().expect("a list");
    assert!(tables.len() > 20 && tables.iter().all(|row| row["schema"] == "core"), "{tables:?}");
    let [core, usage] = installation.existing_objects(Provider::Sqlite);
    assert!(core.is_some_and(|found| found.contains("20 releases")) && usage.is_none());
}

#[test]
fn the_files_of_sqlite_are_private_and_no_other_file_is_left() {
    let installation = Installation::with_data(Provider::Postgres, 50);
    installation.json(&[]);
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(installation.config(Provider::Sqlite).sqlite.dir.clone()).expect("readable")
    {
        let entry = entry.expect("readable");
        let mode = entry.metadata().expect("readable").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().expect("UTF-8"));
    }
    names.sort();
    assert_eq!(names, ["rstudio-pm.db", "rstudio-pm.db.lock", "usage.db"]);
}

/// The rows of a table as text.
#[derive(Default)]
struct Rows(Vec<String>);

impl RowSink for Rows {
    fn rows(&mut self, table: &'static Table, block: &RowBlock) -> Result<(), DbError> {
        let mut fields = Fields::new(&block.bytes);
        for _ in 0..block.rows {
            let row: Vec<Field<'_>> = table.columns.iter().map(|_| fields.read().expect("a value")).collect();
            self.0.push(format!("{row:?}"));
        }
        Ok(())
    }
}

/// Compares the values themselves; the other tests compare digests.
#[test]
fn difficult_values_are_copied_exactly() {
    let installation = Installation::with_data(Provider::Sqlite, 30);
    installation.json(&[]);
    let lease = TABLES.iter().find(|table| table.name == "lease").expect("a table");
    let detail = TABLES.iter().find(|table| table.name == "detail").expect("a table");
    for provider in [Provider::Sqlite, Provider::Postgres] {
        let config = installation.config(provider);
        let mut source = TransferSource::open(&config, provider, other(provider)).expect("it opens");
        let mut leases = Rows::default();
        source.read(lease, &mut leases).expect("rows");
        let keys: Vec<&str> = leases.0.iter().map(|row| row.split(", ").next().expect("a key")).collect();
        let expected = ["\"\"", "\"A\"", "\"a\"", "\"b\"", "\"ä\"", "\"\u{1f600}\""];
        assert_eq!(keys, expected.map(|name| format!("[Text({name})")), "in the order of bytes");
        assert!(
            leases.0[1].ends_with("Int(-9223372036854775808), Int(9223372036854775807)]"),
            "{}",
            leases.0[1]
        );
        let mut details = Rows::default();
        source.read(detail, &mut details).expect("rows");
        let (first, last) = (details.0.first().expect("a row"), details.0.last().expect("a row"));
        assert_eq!(first, "[Int(-9223372036854775808), Bytes([]), Text(\"\"), Text(\"\")]");
        assert!(last.ends_with(&format!("Null, Text(\"{}\")]", "é".repeat(500_000))));
        let four =
            "[Int(4), Bytes([84, 105, 116, 108, 101, 58, 32, 52, 0, 240, 159, 147, 166, 10]), Null, Null]";
        assert_eq!(details.0[1], four);
    }
}
