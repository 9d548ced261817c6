//! The contract of the database module, on SQLite and on PostgreSQL.

/// Makes each case a test on both databases: `sqlite::case` and `postgres::case`.
macro_rules! both {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[test] fn $case() { super::$case(&mut crate::support::db::TestDb::new(crate::support::db::Engine::Sqlite)); })*
        }
        mod postgres {
            $(#[test] fn $case() { super::$case(&mut crate::support::db::TestDb::new(crate::support::db::Engine::Postgres)); })*
        }
    };
}

mod audit;
mod block_rules;
mod clock;
mod counting;
mod crash;
mod encryption;
mod eviction;
mod examine;
mod git_builds;
mod history;
mod holds;
mod load;
mod name_guards;
mod nodes;
mod page_checksums;
mod postgres;
mod samples;
mod schema;
mod sessions;
mod statements;
mod tables;
mod tokens;
mod uploads;
mod usage;
mod used_proofs;
mod wal;
