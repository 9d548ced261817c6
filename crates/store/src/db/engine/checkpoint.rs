//! WAL checkpoints of SQLite on a separate thread, so that commits do not wait for them, and a limit of the WAL's size.
//!
//! SQLite begins the WAL anew only at a commit that finds it completely copied into the database. If commits follow
//! each other faster than the disk copies, that never happens. Above [`LIMIT`], the writer therefore waits between two
//! transactions until the WAL is copied and truncated.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags};

use super::page_checksum::{self, Pages};

/// Size of the WAL, in pages of 4 kB, from which it is checkpointed.
const THRESHOLD: i32 = 1000;

/// Size of the WAL, in pages of 4 kB, at which the writer truncates it: 32 MB. With the transaction that exceeds it, the
/// WAL needs less than 64 MB of a full disk.
const LIMIT: i32 = 8192;

/// Time that the writer waits for transactions that read from the WAL.
const READERS_WAIT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct CheckpointState {
    pages: i32,
    is_closed: bool,
}

/// The connection that runs all checkpoints, one at a time.
struct SharedCheckpoint {
    file: PathBuf,
    connection: Mutex<Option<Connection>>,
    state: Mutex<CheckpointState>,
    wake: Condvar,
}

impl SharedCheckpoint {
    /// Runs a checkpoint. Returns whether the whole WAL was copied, and for TRUNCATE also removed. Errors are not
    /// reported: on a faulty disk the writes fail as well.
    fn run(&self, sql: &str) -> bool {
        let mut connection = self.connection.lock();
        if connection.is_none() {
            *connection =
                page_checksum::open_connection(&self.file, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Trusted)
                    .ok()
                    .filter(|open| open.busy_timeout(READERS_WAIT).is_ok());
        }
        let Some(open) = &*connection else { return false };
        let result = open.query_row(sql, [], |row| {
            Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        if result.is_err() {
            *connection = None;
        }
        result.unwrap_or(false)
    }
}

/// Triggers checkpoints; the writer notifies it after each transaction.
#[derive(Clone)]
pub(in crate::db) struct CheckpointTrigger(Arc<SharedCheckpoint>);

impl CheckpointTrigger {
    /// Reports the size of the WAL in pages.
    pub(in crate::db) fn notify(&self, pages: i32) {
        if pages >= THRESHOLD {
            self.0.state.lock().pages = pages;
            self.0.wake.notify_one();
        }
    }

    /// Returns the limit of the next transaction.
    pub(in crate::db) fn limit(&self) -> WalLimit {
        WalLimit { shared: Arc::clone(&self.0), pages: LIMIT }
    }
}

/// The size at which the writer truncates the WAL.
pub(in crate::db) struct WalLimit {
    shared: Arc<SharedCheckpoint>,
    pages: i32,
}

impl WalLimit {
    /// Truncates the WAL of `pages` pages if it exceeds the limit or the disk is full. Call it on the thread of the
    /// writer, between two transactions. Returns whether it was truncated.
    ///
    /// A long transaction (a backup) that reads from the WAL prevents it; the writer does not wait for its end, and tries
    /// again when the WAL has grown by [`LIMIT`] once more.
    pub(in crate::db) fn enforce(&mut self, pages: i32, is_disk_full: bool) -> bool {
        if pages < LIMIT {
            self.pages = LIMIT;
        }
        if pages < self.pages && !is_disk_full {
            return false;
        }
        let is_truncated = self.shared.run("PRAGMA wal_checkpoint(TRUNCATE)");
        if is_truncated {
            self.pages = LIMIT;
        } else if pages >= self.pages {
            let (file, megabytes) = (self.shared.file.display(), i64::from(pages) * 4096 / 1_000_000);
            tracing::warn!(%file, megabytes, "the WAL cannot be truncated: the disk is full, or a transaction reads from it");
            self.pages = pages.saturating_add(LIMIT);
        }
        is_truncated
    }
}

pub(in crate::db) struct Checkpointer {
    trigger: CheckpointTrigger,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    /// Starts the thread for a database file.
    pub(in crate::db) fn start(file: &Path) -> std::io::Result<Checkpointer> {
        let (connection, state, wake) = (Mutex::default(), Mutex::default(), Condvar::new());
        let shared = Arc::new(SharedCheckpoint { file: file.to_owned(), connection, state, wake });
        let trigger = CheckpointTrigger(Arc::clone(&shared));
        let thread =
            std::thread::Builder::new().name("db-checkpoint".to_owned()).spawn(move || run(&shared))?;
        Ok(Checkpointer { trigger, thread: Mutex::new(Some(thread)) })
    }

    pub(in crate::db) fn trigger(&self) -> CheckpointTrigger {
        self.trigger.clone()
    }

    /// Stops the thread. SQLite checkpoints the rest when the last connection is closed.
    pub(in crate::db) fn close(&self) {
        self.trigger.0.state.lock().is_closed = true;
        self.trigger.0.wake.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        self.trigger.0.connection.lock().take();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &SharedCheckpoint) {
    loop {
        {
            let mut state = shared.state.lock();
            while state.pages < THRESHOLD && !state.is_closed {
                shared.wake.wait(&mut state);
            }
            if state.is_closed {
                return;
            }
            state.pages = 0;
        }
        // A PASSIVE checkpoint neither waits nor blocks. Pages that it cannot copy now (a reader uses them, the disk is
        // full) are copied by the next one.
        shared.run("PRAGMA wal_checkpoint(PASSIVE)");
    }
}
