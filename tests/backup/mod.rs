//! Dumps of the database, the migration between SQLite and PostgreSQL, and backups.

mod audit;
mod bucket;
mod dump;
mod edited;
mod folders;
mod holds;
mod installation;
mod interrupted;
mod killed;
mod log;
pub(crate) mod machines;
mod metadata;
mod refusals;
mod refused_restores;
mod results;
mod round_trip;
mod sample;
mod schemas;
mod scrubbed;
mod servers;
mod tables;
mod working;
