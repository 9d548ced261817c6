//! WAL checkpoints of SQLite on a separate thread, so that no write has to wait for one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

/// Size of the WAL, in pages of 4 kB, from which it is checkpointed.
const THRESHOLD: i32 = 1000;

#[derive(Default)]
struct State {
    pages: i32,
    is_closed: bool,
}

/// Triggers the checkpoint thread; the writer notifies it after each commit.
#[derive(Clone, Default)]
pub(super) struct Trigger(Arc<(Mutex<State>, Condvar)>);

impl Trigger {
    /// Reports the size of the WAL in pages.
    pub(super) fn notify(&self, pages: i32) {
        if pages >= THRESHOLD {
            self.0.0.lock().pages = pages;
            self.0.1.notify_one();
        }
    }
}

/// The checkpoint thread.
pub(super) struct Checkpointer {
    trigger: Trigger,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    /// Starts the thread for a database file.
    pub(super) fn start(file: &Path) -> std::io::Result<Checkpointer> {
        let trigger = Trigger::default();
        let (thread_trigger, path) = (trigger.clone(), file.to_owned());
        let thread = std::thread::Builder::new()
            .name("db-checkpoint".to_owned())
            .spawn(move || run(&thread_trigger, &path))?;
        Ok(Checkpointer { trigger, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Stops the thread. SQLite checkpoints the rest when the last connection is closed.
    pub(super) fn close(&self) {
        self.trigger.0.0.lock().is_closed = true;
        self.trigger.0.1.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(trigger: &Trigger, path: &PathBuf) {
    let mut connection: Option<Connection> = None;
    loop {
        {
            let mut state = trigger.0.0.lock();
            while state.pages < THRESHOLD && !state.is_closed {
                trigger.0.1.wait(&mut state);
            }
            if state.is_closed {
                return;
            }
            state.pages = 0;
        }
        if connection.is_none() {
            connection = Connection::open(path).ok();
        }
        // A PASSIVE checkpoint neither waits nor blocks. Pages that it cannot copy now (a reader uses them, the disk is
        // full) are copied by the next one. Errors are not reported: on a faulty disk the writes fail as well.
        if let Some(open) = &connection
            && open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).is_err()
        {
            connection = None;
        }
    }
}
