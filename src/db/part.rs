//! The two database schemas of a server, packages and usage data. They may share a PostgreSQL database.

use super::migrate::Migration;

/// A set of tables with its own migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sources, packages, repositories, history.
    Core,
    /// Download counts. Nothing else depends on it: a server works without it.
    Usage,
}

/// The table of migrations that were run. Each schema has its own, so that both can share a PostgreSQL database.
pub(super) struct Ledger {
    /// The table's name.
    pub(super) table: &'static str,
    pub(super) create: &'static str,
    pub(super) seen: &'static str,
    pub(super) done: &'static str,
}

impl Part {
    /// Returns the name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Core => "core",
            Part::Usage => "usage",
        }
    }

    /// Returns the name of the SQLite file in `SQLite.Dir`.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Part::Core => "rstudio-pm.db",
            Part::Usage => "usage.db",
        }
    }

    /// Returns its migrations, in order.
    #[must_use]
    pub fn migrations(self) -> &'static [Migration] {
        match self {
            Part::Core => super::migrate::MIGRATIONS,
            Part::Usage => super::migrate::USAGE,
        }
    }

    /// Returns the number of reading connections. Usage data is read rarely.
    pub(super) fn readers(self) -> usize {
        match self {
            Part::Core => std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)),
            Part::Usage => 1,
        }
    }

    pub(super) fn ledger(self) -> &'static Ledger {
        match self {
            Part::Core => &Ledger {
                table: "migration",
                create: "CREATE TABLE migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, at BIGINT NOT NULL, \
                         expand_only BIGINT NOT NULL, version TEXT NOT NULL)",
                seen: "SELECT number, expand_only, version FROM migration ORDER BY number",
                done: "INSERT INTO migration (number, name, at, expand_only, version) \
                       VALUES (CAST($1 AS BIGINT), $2, CAST($3 AS BIGINT), CAST($4 AS BIGINT), $5)",
            },
            Part::Usage => &Ledger {
                table: "usage_migration",
                create: "CREATE TABLE usage_migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, at BIGINT NOT NULL, \
                         expand_only BIGINT NOT NULL, version TEXT NOT NULL)",
                seen: "SELECT number, expand_only, version FROM usage_migration ORDER BY number",
                done: "INSERT INTO usage_migration (number, name, at, expand_only, version) \
                       VALUES (CAST($1 AS BIGINT), $2, CAST($3 AS BIGINT), CAST($4 AS BIGINT), $5)",
            },
        }
    }
}
