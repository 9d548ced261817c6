//! Dumps: all rows of the database in a format that does not depend on its provider; the migration to another provider,
//! which writes and reads such a dump; and backups: a dump and the files that cannot be fetched again.

mod bucket;
mod bucket_lock;
pub mod configuration;
mod copy;
pub mod create;
pub mod destination;
pub mod digest;
mod directory;
pub mod dry_run;
pub mod dump;
pub mod error;
pub mod folder;
mod hold_renewal;
mod import;
pub mod lock_wait;
pub mod manifest;
pub mod migrate;
mod new_files;
mod objects;
pub mod part;
pub mod prune;
pub mod restore;
pub mod results;
pub mod revocations;
mod snapshot;
mod storage_markers;
pub mod stored_again;
mod text;
pub mod trial_restore;
mod unfinished_file;
pub mod verify;
