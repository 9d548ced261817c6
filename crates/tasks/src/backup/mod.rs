//! Dumps: all rows of the database in a format that does not depend on its provider; the migration to another
//! provider, through such a dump; and backups: a dump and the files that cannot be fetched again.
//!
//! A dump has the same bytes from both databases. A migration (`migrate`) copies the database of a stopped
//! server: one thread reads rows and writes a dump into a pipe, another reads it and writes rows. Indexes and
//! constraints are created after the rows. Before the commit, each table is read back and its digest
//! compared, and documents are rendered from both databases (`serve::digests`).
//!
//! A backup is a folder with a dump of one snapshot, the files that its rows refer to and no mirror has
//! (`db::durable_object`), and a manifest with the digests of both, written last. The running server makes it, because
//! with SQLite only it may open the database. All other commands work without a server (`daemon::backup`), and a test
//! sends its result to the administration socket: `verify` trusts no file, `trial_restore` and `restore` fill a blank
//! database and compare rows and rendered documents before the commit.

mod bucket;
mod copy;
pub mod create;
pub mod destination;
mod directory;
pub mod dry_run;
pub mod dump;
pub mod error;
pub mod folder;
mod import;
pub mod manifest;
pub mod migrate;
mod new_files;
mod objects;
pub mod prune;
pub mod restore;
pub mod results;
pub mod revocations;
mod snapshot;
pub mod stored_again;
pub mod verify;
