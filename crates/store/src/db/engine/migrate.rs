//! Migrations of the schema, and which of them earlier versions can work with: numbered scripts in pairs
//! (`migrations/`), one for each database, each run once under a lock.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::schema::Schema;
use super::{Conn, DbError};
use crate::db::tables::node;
use base::model::time::microseconds;

#[derive(Clone, Copy)]
pub struct Migration {
    /// Its number, from 1.
    pub number: i64,
    /// Its name, as in the file's name.
    pub name: &'static str,
    /// Whether older versions of the program can work with the result.
    pub expand_only: bool,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// A migration whose scripts are `migrations/{folder}{number}_{name}.{sqlite,postgres}.sql`.
macro_rules! migration {
    ($folder:literal $number:literal $name:literal, expand_only: $expand_only:literal) => {
        Migration {
            number: $number,
            name: $name,
            expand_only: $expand_only,
            sqlite: include_str!(concat!("migrations/", $folder, $number, "_", $name, ".sqlite.sql")),
            postgres: include_str!(concat!("migrations/", $folder, $number, "_", $name, ".postgres.sql")),
        }
    };
}

/// The migrations of the database of packages, in order.
pub const MIGRATIONS: &[Migration] = &[
    migration!("" 1 "packages", expand_only: false),
    migration!("" 2 "catalog_change", expand_only: true),
    // Without its index, an earlier program scans all files once for each added version that was removed or replaced before.
    migration!("" 3 "file_name", expand_only: true),
    // A list without a row, of an earlier program, is read from its subscriptions.
    migration!("" 4 "subscription_list", expand_only: true),
    // An earlier program writes no entries; the next server of this version does it.
    migration!("" 5 "tlog", expand_only: true),
    // Proofs of an earlier program have the newest checkpoint, which may have no cosignature yet.
    migration!("" 6 "tlog_cosigned", expand_only: true),
];

/// The migrations of usage data. Each is expand-only: while a server takes over from another, both write counts.
pub const USAGE_MIGRATIONS: &[Migration] = &[migration!("usage/" 1 "usage", expand_only: true)];

/// [`MIGRATIONS`] and those that [`extend`] added.
static ALL_MIGRATIONS: OnceLock<Vec<Migration>> = OnceLock::new();

/// Adds migrations of the database of packages, for tests of upgrades with a program of a later version. Only the first
/// call has an effect; it must precede the first use of a database.
pub fn extend(additional: &[Migration]) {
    ALL_MIGRATIONS.get_or_init(|| [MIGRATIONS, additional].concat());
}

/// Returns the migrations of a schema, in order.
pub fn migrations(schema: Schema) -> &'static [Migration] {
    match schema {
        Schema::Core => ALL_MIGRATIONS.get().map_or(MIGRATIONS, Vec::as_slice),
        Schema::Usage => USAGE_MIGRATIONS,
    }
}

pub fn newest_migration(schema: Schema) -> i64 {
    migrations(schema).last().map_or(0, |migration| migration.number)
}

/// A connection for migrations, inside a transaction that holds the lock.
pub(in crate::db) trait MigrationConn: Conn {
    fn script(&mut self, sql: &str) -> Result<(), DbError>;
    fn has_table(&mut self, name: &str) -> Result<bool, DbError>;
    fn script_for(&self, migration: &Migration) -> &'static str;
    /// Returns the name of the database for error messages.
    fn database_name(&self) -> String;
}

/// Returns the newest migration of a database, 0 for an empty one. Fails with [`DbError::TooNew`] if a newer program
/// migrated it and this one cannot work with the result; [`DbError::OtherSchema`] if the database has other migrations.
pub(in crate::db) fn level(c: &mut dyn MigrationConn, schema: Schema) -> Result<i64, DbError> {
    let table = schema.migration_table();
    if !c.has_table(table.name)? {
        return Ok(0);
    }
    let supported = newest_migration(schema);
    let (mut newest, mut too_new) = (0, None);
    for mut row in c.query(table.select, &[])? {
        newest = row.int(0)?;
        let (made_by, name) = (row.text(2)?, row.text(3)?);
        if let Some(known) = migrations(schema).iter().find(|known| known.number == newest)
            && known.name != name
        {
            let (database, expected) = (c.database_name(), known.name);
            return Err(DbError::OtherSchema { database, made_by, number: newest, found: name, expected });
        }
        if newest > supported && row.int(1)? == 0 {
            too_new = Some((made_by, format!("{newest} ({name})")));
        }
    }
    match too_new {
        Some((made_by, migration)) => {
            Err(DbError::TooNew { database: c.database_name(), made_by, found: newest, supported, migration })
        }
        None => Ok(newest),
    }
}

/// The other users of a database during its migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum MigrationMode {
    /// No other program uses the database.
    Exclusive,
    /// An older version of the program uses the database at the same time.
    Online,
}

/// Returns the first migration above `level` that `mode` forbids. An empty database has no other users.
fn first_exclusive_migration(
    migrations: &[Migration],
    level: i64,
    mode: MigrationMode,
) -> Option<(i64, &'static str)> {
    match mode {
        MigrationMode::Exclusive => None,
        MigrationMode::Online => {
            let missing = migrations.iter().filter(|m| level > 0 && m.number > level);
            missing.filter(|m| !m.expand_only).map(|m| (m.number, m.name)).next()
        }
    }
}

/// Runs the missing migrations. The caller commits. Fails with [`DbError::NotOnline`] and [`DbError::OthersOnline`] if
/// other servers could not work with the result; nothing is changed.
pub(in crate::db) fn run(
    c: &mut dyn MigrationConn,
    schema: Schema,
    mode: MigrationMode,
) -> Result<(), DbError> {
    run_until(c, schema, mode, i64::MAX)
}

/// Runs the missing migrations up to the one with the number `last`. The caller commits.
pub(in crate::db) fn run_until(
    c: &mut dyn MigrationConn,
    schema: Schema,
    mode: MigrationMode,
    last: i64,
) -> Result<(), DbError> {
    let (level, table) = (level(c, schema)?, schema.migration_table());
    if let Some((number, name)) = first_exclusive_migration(migrations(schema), level, mode) {
        return Err(DbError::NotOnline { database: c.database_name(), number, name });
    }
    if let Some((number, name)) = first_exclusive_migration(migrations(schema), level, MigrationMode::Online)
        && c.has_table("node")?
    {
        let servers = node::serving_names(c)?;
        if !servers.is_empty() {
            let servers = servers.join(",");
            return Err(DbError::OthersOnline { database: c.database_name(), number, name, servers });
        }
    }
    if level == 0 {
        c.script(table.create)?;
    }
    for migration in migrations(schema).iter().filter(|m| m.number > level && m.number <= last) {
        c.script(c.script_for(migration))?;
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = microseconds(unix_time);
        let version = env!("CARGO_PKG_VERSION").into();
        let (name, expand_only) = (migration.name.into(), migration.expand_only.into());
        c.execute(table.insert, &[migration.number.into(), name, now.into(), expand_only, version])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn online_migrations_are_expand_only() {
        let migration =
            |number, name, expand_only| Migration { number, name, expand_only, sqlite: "", postgres: "" };
        let all = [migration(1, "a", false), migration(2, "b", true), migration(3, "c", false)];
        assert_eq!(first_exclusive_migration(&all, 1, MigrationMode::Exclusive), None);
        assert_eq!(first_exclusive_migration(&all, 1, MigrationMode::Online), Some((3, "c")));
        assert_eq!(first_exclusive_migration(&all[..2], 1, MigrationMode::Online), None);
        assert_eq!(first_exclusive_migration(&all, 3, MigrationMode::Online), None);
        assert_eq!(
            first_exclusive_migration(&all, 0, MigrationMode::Online),
            None,
            "an empty database has no users"
        );
    }
}
