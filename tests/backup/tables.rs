//! The table descriptions for dumps match the schemas of both databases.

use std::collections::{BTreeMap, BTreeSet};

use rstudio_pm::db::Db;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::tables::{ColumnKind, TABLES, of};

use crate::support::db::{Engine, TestDb};

/// The type of each column, and whether it belongs to the primary key.
type Columns = BTreeMap<String, (ColumnKind, bool)>;

fn kind(name: &str) -> ColumnKind {
    match name {
        "INTEGER" | "BIGINT" => ColumnKind::Int,
        "TEXT" => ColumnKind::Text,
        "BLOB" | "BYTEA" => ColumnKind::Bytes,
        other => panic!("a dump has no columns of type {other}"),
    }
}

/// Returns the tables of a new database with both schemas.
fn schema_tables(engine: Engine) -> BTreeMap<String, Columns> {
    const SQLITE: &str = "SELECT m.name, t.name, t.type, CASE WHEN t.pk > 0 THEN 1 ELSE 0 END FROM sqlite_master m \
        JOIN pragma_table_info(m.name) t WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ESCAPE '\\'";
    const POSTGRES: &str = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), upper(c.data_type), \
        CASE WHEN k.column_name IS NULL THEN 0 ELSE 1 END FROM information_schema.columns c \
        LEFT JOIN information_schema.table_constraints t ON t.table_schema = c.table_schema \
        AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY' \
        LEFT JOIN information_schema.key_column_usage k ON k.constraint_schema = t.constraint_schema \
        AND k.constraint_name = t.constraint_name AND k.column_name = c.column_name \
        WHERE c.table_schema = current_schema()";
    let mut test_db = TestDb::new(engine);
    let usage = Db::open_usage(&test_db.config).expect("it opens");
    let sql = if engine == Engine::Sqlite { SQLITE } else { POSTGRES };
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    for _ in 0..2 {
        for mut row in test_db.read(move |c| c.query(sql, &[])) {
            let table = tables.entry(row.text(0).expect("a name")).or_default();
            let column = (kind(&row.text(2).expect("a type")), row.int(3).expect("0 or 1") == 1);
            table.insert(row.text(1).expect("a name"), column);
        }
        test_db.db = usage.clone();
    }
    tables
}

#[test]
fn every_table_and_column_of_both_databases_is_described() {
    let descriptions: BTreeMap<String, Columns> = TABLES
        .iter()
        .map(|table| {
            let columns = table.columns.iter().enumerate();
            let columns = columns.map(|(at, column)| (column.name.to_owned(), (column.kind, at < table.key)));
            (table.name.to_owned(), columns.collect())
        })
        .collect();
    assert_eq!(descriptions.len(), TABLES.len(), "a table is described twice");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let tables = schema_tables(engine);
        let (expected, names) = (descriptions.keys().collect::<BTreeSet<_>>(), tables.keys().collect());
        assert_eq!(expected, names, "{engine:?}: complete crates/store/src/db/transfer/tables.rs");
        for (name, columns) in &tables {
            assert_eq!(
                &descriptions[name], columns,
                "{engine:?}, table {name}: complete crates/store/src/db/transfer/tables.rs"
            );
        }
    }
}

#[test]
fn foreign_keys_refer_to_earlier_tables() {
    const KEYS: &str = "SELECT m.name, k.\"table\" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) k \
        WHERE m.type = 'table'";
    let test_db = TestDb::new(Engine::Sqlite);
    let keys = test_db.read(|c| c.query(KEYS, &[]));
    let position =
        |name: &str| TABLES.iter().position(|table| table.name == name).expect("a described table");
    assert!(keys.len() >= 4, "{keys:?}");
    for mut row in keys {
        let (from, to) = (row.text(0).expect("a name"), row.text(1).expect("a name"));
        assert!(position(&to) < position(&from), "{from} refers to {to}");
    }
}

#[test]
fn the_tables_of_a_schema_are_in_one_sequence() {
    let names: Vec<_> = of(Schema::Core).chain(of(Schema::Usage)).map(|table| table.name).collect();
    assert_eq!(names, TABLES.iter().map(|table| table.name).collect::<Vec<_>>());
}
