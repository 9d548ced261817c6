//! A SQLite file that is written under a temporary name and then renamed.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;

use crate::db::migrate::MigrationConn;
use crate::db::page_checksum::Pages;
use crate::db::schema::Schema;
use crate::db::sqlite::{self, SqliteConn};
use crate::db::{Conn, DbError, sqlite_dir};

/// Returns the temporary path of the file of a schema.
pub(in crate::db) fn temporary_path(dir: &Path, schema: Schema) -> PathBuf {
    dir.join(format!("migrating-{}", schema.file()))
}

/// Creates the file, replacing the one of an interrupted run, and begins its transaction.
pub(super) fn create(path: &Path, lock_timeout: Duration) -> Result<SqliteConn, DbError> {
    let to_error = |error| sqlite_dir::unwritable(path, error);
    remove(path).map_err(to_error)?;
    // SQLite would take the mode from the umask.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(to_error)?;
    let mut connection =
        sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Marked, lock_timeout)?;
    for (name, value) in [
        ("locking_mode", "EXCLUSIVE"),
        // After a crash the file is created again.
        ("journal_mode", "OFF"),
        ("synchronous", "OFF"),
        ("foreign_keys", "OFF"),
        ("cache_size", "-131072"),
        ("temp_store", "MEMORY"),
    ] {
        connection.pragma(name, value)?;
    }
    connection.script("BEGIN EXCLUSIVE")?;
    Ok(connection)
}

/// Checks all foreign keys, which are not enforced while the rows are written.
pub(super) fn check_foreign_keys(connection: &mut SqliteConn) -> Result<(), DbError> {
    let violations =
        connection.query("SELECT \"table\", \"parent\" FROM pragma_foreign_key_check LIMIT 1", &[])?;
    match violations.into_iter().next() {
        None => Ok(()),
        Some(mut row) => Err(DbError::Conflict(format!(
            "a row of table {} refers to a missing row of table {}",
            row.text(0)?,
            row.text(1)?
        ))),
    }
}

/// Writes the file to disk.
pub(in crate::db) fn sync(path: &Path) -> Result<(), DbError> {
    let result = File::open(path).and_then(|file| file.sync_all());
    result.map_err(|error| sqlite_dir::io_error(path, error))
}

/// Renames the file to its final name, durably.
pub(in crate::db) fn rename(from: &Path, to: &Path) -> Result<(), DbError> {
    let result = std::fs::rename(from, to);
    result.map_err(|error| sqlite_dir::unwritable(to, error))?;
    sync(to.parent().unwrap_or(Path::new("/")))
}

/// Removes the file, its WAL and its journal.
pub(in crate::db) fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
