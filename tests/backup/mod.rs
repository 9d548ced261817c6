//! Dumps of the database, and the migration between SQLite and PostgreSQL.

mod dump;
mod installation;
mod killed;
mod refusals;
mod round_trip;
mod sample;
mod servers;
mod tables;
