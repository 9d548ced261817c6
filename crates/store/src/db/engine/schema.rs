//! The two database schemas of a server, packages and usage data. They may share a PostgreSQL database.

/// A set of tables with its own migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    Core,
    /// Download counts. They are optional: a server works without them.
    Usage,
}

/// The table of migrations that were run. Each schema has its own, so that both can share a PostgreSQL database.
pub(in crate::db) struct MigrationTable {
    pub(in crate::db) name: &'static str,
    pub(in crate::db) create: &'static str,
    /// Selects number, `expand_only` and program version of each migration, in order.
    pub(in crate::db) select: &'static str,
    /// Inserts the row of a migration.
    pub(in crate::db) insert: &'static str,
}

impl Schema {
    /// Returns the name used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Schema::Core => "core",
            Schema::Usage => "usage",
        }
    }

    /// Returns the name of the SQLite file in `SQLite.Dir`.
    pub fn file(self) -> &'static str {
        match self {
            Schema::Core => "rstudio-pm.db",
            Schema::Usage => "usage.db",
        }
    }

    /// Returns the number of reading connections. Usage data is read rarely.
    pub(in crate::db) fn readers(self) -> usize {
        match self {
            Schema::Core => std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)),
            Schema::Usage => 1,
        }
    }

    pub(in crate::db) fn migration_table(self) -> &'static MigrationTable {
        match self {
            Schema::Core => &MigrationTable {
                name: "migration",
                create: "CREATE TABLE migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, at BIGINT NOT NULL, \
                         expand_only BIGINT NOT NULL, version TEXT NOT NULL)",
                select: "SELECT number, expand_only, version, name FROM migration ORDER BY number",
                insert: "INSERT INTO migration (number, name, at, expand_only, version) VALUES ($1, $2, $3, $4, $5)",
            },
            Schema::Usage => &MigrationTable {
                name: "usage_migration",
                create: "CREATE TABLE usage_migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, at BIGINT NOT NULL, \
                         expand_only BIGINT NOT NULL, version TEXT NOT NULL)",
                select: "SELECT number, expand_only, version, name FROM usage_migration ORDER BY number",
                insert: "INSERT INTO usage_migration (number, name, at, expand_only, version) \
                    VALUES ($1, $2, $3, $4, $5)",
            },
        }
    }
}
