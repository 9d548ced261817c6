//! Gives the pages of a SQLite database that another program has copied checksums.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::OpenFlags;

use super::page_checksum::{Pages, can_have_checksums, has_checksums};
use super::sqlite::{connect, map};
use super::{DbError, sqlite_dir};
use crate::db::transfer::sqlite_file;

/// Maximum size of a database whose pages get checksums at a start; copying it takes some seconds.
const MAX_COPIED: u64 = 1 << 30;

/// Gives the pages of a database that another program has copied checksums, by copying
/// it. The caller holds the lock of the directory, and no connection is open.
pub(in crate::db) fn add_checksums(file: &Path, wait: Duration) -> Result<(), DbError> {
    let io_error = |error| sqlite_dir::io_error(file, error);
    let mut start = Vec::new();
    let opened = std::fs::File::open(file).map_err(io_error)?;
    let size = opened.metadata().map_err(io_error)?.len();
    opened.take(4096).read_to_end(&mut start).map_err(io_error)?;
    if size > MAX_COPIED || !can_have_checksums(&start) || has_checksums(&start) {
        return Ok(());
    }
    let copy = file.with_file_name("migrating-checksums.db");
    sqlite_file::remove(&copy).map_err(io_error)?;
    // SQLite would take the mode from the umask.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&copy).map_err(io_error)?;
    let result = (|| {
        let session = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Trusted, wait)?;
        let path = copy.display().to_string();
        session.parts().0.execute("VACUUM INTO $1", [path]).map_err(|e| map(file, e))?;
        drop(session);
        if file.with_extension("db-wal").exists() {
            return Err(DbError::Locked { path: file.to_owned() });
        }
        sqlite_file::sync(&copy)?;
        sqlite_file::rename(&copy, file)
    })();
    if result.is_err() {
        let _ = sqlite_file::remove(&copy);
    }
    result
}
