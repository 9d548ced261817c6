//! `rstudio-pm` of a later version, and `migrate` under that name, for tests of upgrades: with one further migration, or with
//! two (`FURTHER_MIGRATIONS=2`), the second of which earlier versions cannot work with.

use rstudio_pm::db::migrate::{self, MIGRATIONS, Migration};

fn main() -> std::process::ExitCode {
    let number = MIGRATIONS.last().map_or(0, |migration| migration.number);
    let expansion = Migration {
        number: number + 1,
        name: "expansion",
        expand_only: true,
        sqlite: "ALTER TABLE package ADD COLUMN further TEXT; CREATE TABLE further (id INTEGER PRIMARY KEY)",
        postgres: "ALTER TABLE package ADD COLUMN further TEXT; CREATE TABLE further (id BIGINT PRIMARY KEY)",
    };
    let contraction = Migration {
        number: number + 2,
        name: "contraction",
        expand_only: false,
        sqlite: "DROP TABLE further",
        postgres: "DROP TABLE further",
    };
    match std::env::var("FURTHER_MIGRATIONS").as_deref() {
        Ok("2") => migrate::extend(&[expansion, contraction]),
        _ => migrate::extend(&[expansion]),
    }
    match std::env::args().next() {
        Some(program) if program.ends_with("/migrate") => rstudio_pm::daemon::migrate::main(),
        _ => rstudio_pm::daemon::main(),
    }
}
