//! The size of SQLite's WAL if checkpoints are slower than commits, and on a full disk.

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rstudio_pm::db::detail::{self, Detail};
use rstudio_pm::db::{Db, DbError};
use rstudio_pm::model::ids::ReleaseId;
use rusqlite::ffi;

use crate::support::db::{Engine, config};
use crate::support::rerun;

/// The limit of the WAL, with the transaction that exceeds it.
const BOUND: u64 = 48 << 20;

/// Number of pages that [`slow_write`] wrote into a database.
static SLOW_PAGES: AtomicUsize = AtomicUsize::new(0);

/// `pwrite` of a disk that needs more time for the pages of a database than for its WAL. Pages of the WAL begin at
/// offsets that are no multiples of their size.
#[allow(unsafe_code, reason = "the signature of SQLite")]
unsafe extern "C" fn slow_pwrite(fd: c_int, bytes: *const c_void, length: usize, offset: i64) -> isize {
    if length == 4096 && offset % 4096 == 0 {
        SLOW_PAGES.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(50));
    }
    // SAFETY: the arguments are those of SQLite.
    unsafe { libc::pwrite(fd, bytes, length, offset) }
}

/// Replaces the function by which SQLite writes in this process.
#[allow(unsafe_code, reason = "rusqlite has no function for it")]
fn slow_down_checkpoints() {
    type Pwrite = unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize;
    for name in [c"pwrite", c"pwrite64"] {
        // SAFETY: the file system is registered for the life of the process, and `slow_pwrite` has the signature of the
        // system call.
        let code = unsafe {
            let vfs = ffi::sqlite3_vfs_find(std::ptr::null());
            let set = (*vfs).xSetSystemCall.expect("SQLite can replace system calls");
            set(vfs, name.as_ptr(), std::mem::transmute::<Pwrite, ffi::sqlite3_syscall_ptr>(slow_pwrite))
        };
        assert_eq!(code, ffi::SQLITE_OK);
    }
}

/// Writes 1 MB in one transaction.
fn write_megabyte(runtime: &tokio::runtime::Runtime, db: &Db, number: i64) -> Result<(), DbError> {
    runtime.block_on(db.write(move |c| {
        let detail = Detail { description: vec![7; 1_000_000], readme: None };
        detail::put(c, ReleaseId(number), &detail)
    }))
}

fn wal_size(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("rstudio-pm.db-wal")).map_or(0, |metadata| metadata.len())
}

#[test]
fn the_log_is_bounded_if_checkpoints_are_slower_than_commits() {
    slow_down_checkpoints();
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(Engine::Sqlite, dir.path());
    let db = Db::open(&config).expect("it opens");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for number in 0..150 {
        write_megabyte(&runtime, &db, number).expect("written");
        let size = wal_size(&config.sqlite.dir);
        assert!(size <= BOUND, "after {number} MB the log has {size} bytes");
    }
    assert!(SLOW_PAGES.load(Ordering::Relaxed) > 10_000, "the checkpoints were slow");
}

#[test]
fn a_long_transaction_that_reads_does_not_stop_writes_and_the_log_is_truncated_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(Engine::Sqlite, dir.path());
    let db = Db::open(&config).expect("it opens");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    write_megabyte(&runtime, &db, 0).expect("written");
    let reader = rusqlite::Connection::open(config.sqlite.dir.join("rstudio-pm.db")).expect("it opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM migration").expect("a snapshot");
    for number in 1..60 {
        write_megabyte(&runtime, &db, number).expect("written");
    }
    assert!(wal_size(&config.sqlite.dir) > BOUND, "the snapshot needs the log");
    reader.execute_batch("COMMIT").expect("the snapshot ends");
    for number in 60..100 {
        write_megabyte(&runtime, &db, number).expect("written");
    }
    assert!(wal_size(&config.sqlite.dir) <= BOUND);
}

#[test]
fn a_disk_that_the_log_filled_heals_when_64_megabytes_are_free() {
    let Some(disk) = rerun::with_mount("-t tmpfs -o size=300m") else { return };
    slow_down_checkpoints();
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 64 << 20]).expect("written");
    let config = config(Engine::Sqlite, &disk);
    let db = Db::open(&config).expect("it opens");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let full = (0..400).find(|number| match write_megabyte(&runtime, &db, *number) {
        Ok(()) => false,
        Err(error) => {
            assert!(matches!(error, DbError::Full { .. }), "{error:?}");
            true
        }
    });
    let full = full.expect("the disk is full");
    write_megabyte(&runtime, &db, full).expect_err("it is still full");
    std::fs::remove_file(filler).expect("removed");
    for number in full..full + 10 {
        write_megabyte(&runtime, &db, number).expect("there is space again");
    }
    let size = wal_size(&config.sqlite.dir);
    assert!(size <= BOUND, "the log has {size} bytes");
}
