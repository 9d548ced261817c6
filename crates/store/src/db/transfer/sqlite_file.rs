//! A SQLite file written under a temporary name, then renamed: a database that is filled, or whose pages get checksums.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;

use crate::db::migrate::MigrationConn;
use crate::db::page_checksum::{Pages, can_have_checksums, has_checksums};
use crate::db::schema::Schema;
use crate::db::sqlite::{self, SqliteConn};
use crate::db::{Conn, DbError, sqlite_dir};

/// Maximum size of a database whose pages get checksums at a start; copying it takes some seconds.
const MAX_COPIED: u64 = 1 << 30;

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

/// Gives the pages of a database that another program has copied checksums, by copying it. The caller holds the lock of the directory, and no connection is open.
pub(in crate::db) fn add_checksums(file: &Path, wait: Duration) -> Result<(), DbError> {
    let io_error = |error| sqlite_dir::io_error(file, error);
    let mut start = Vec::new();
    let opened = File::open(file).map_err(io_error)?;
    let size = opened.metadata().map_err(io_error)?.len();
    opened.take(4096).read_to_end(&mut start).map_err(io_error)?;
    if size > MAX_COPIED || !can_have_checksums(&start) || has_checksums(&start) {
        return Ok(());
    }
    let copy = file.with_file_name("migrating-checksums.db");
    remove(&copy).map_err(io_error)?;
    // SQLite would take the mode from the umask.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&copy).map_err(io_error)?;
    let result = (|| {
        let session = sqlite::connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Trusted, wait)?;
        let path = copy.display().to_string();
        session.parts().0.execute("VACUUM INTO $1", [path]).map_err(|e| sqlite::map(file, e))?;
        drop(session);
        if file.with_extension("db-wal").exists() {
            return Err(DbError::Locked { path: file.to_owned() });
        }
        sync(&copy)?;
        rename(&copy, file)
    })();
    if result.is_err() {
        let _ = remove(&copy);
    }
    result
}
