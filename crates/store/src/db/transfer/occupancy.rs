//! Describes the tables of this program in a database.

use std::path::Path;
use std::time::Duration;

use super::session::has_content;
use super::tables;
use crate::db::migrate::{self, MigrationConn};
use crate::db::schema::Schema;
use crate::db::{DbError, open_read_only};

/// Tables whose rows are counted, each with the statement and the noun for the rows.
const CORE: [(&str, &str, &str); 4] = [
    ("source", "SELECT count(*) FROM source", "sources"),
    ("repo", "SELECT count(*) FROM repo", "repositories"),
    ("tx", "SELECT count(*) FROM tx", "transactions"),
    ("release", "SELECT count(*) FROM release", "releases"),
];
const USAGE: [(&str, &str, &str); 1] =
    [("usage_download", "SELECT count(*) FROM usage_download", "counts of downloads")];

/// Describes the tables of a schema; `None` if there are none.
pub(super) fn find(c: &mut dyn MigrationConn, schema: Schema) -> Result<Option<String>, DbError> {
    let mut tables = Vec::new();
    for table in tables::of(schema) {
        if c.has_table(table.name)? {
            tables.push(table.name);
        }
    }
    if tables.is_empty() {
        return Ok(None);
    }
    let statements: &[(&str, &'static str, &str)] = match schema {
        Schema::Core => &CORE,
        Schema::Usage => &USAGE,
    };
    if !tables.contains(&schema.migration_table().name)
        || statements.iter().any(|(table, ..)| !tables.contains(table))
    {
        return Ok(Some(format!("tables {}", tables.join(", "))));
    }
    let mut counts = Vec::new();
    for (_, count, noun) in statements {
        let rows = c.query(count, &[])?.first().map_or(Ok(0), |row| row.int(0))?;
        counts.push(format!("{rows} {noun}"));
    }
    Ok(Some(format!("schema {} with {}", migrate::level(c, schema)?, counts.join(", "))))
}

/// Describes the tables of a SQLite file; `None` if it is missing or has none.
pub(super) fn find_in_file(file: &Path, schema: Schema, wait: Duration) -> Result<Option<String>, DbError> {
    // SQLite would apply the WAL of another database to a new file.
    let wal = file.with_extension("db-wal");
    if !has_content(file)? && has_content(&wal)? {
        return Ok(Some(format!("{} without its database", wal.display())));
    }
    if has_content(file)? { find(&mut open_read_only(file, wait)?, schema) } else { Ok(None) }
}
