//! The handle of the usage database. It is opened in the background, so that no download waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use base::config::Config;
use store::db::{Db, DbError};

pub(super) struct UsageDb {
    config: Arc<Config>,
    state: Mutex<State>,
    /// Serializes opening, because a new SQLite file is locked while it is initialized.
    open_lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    db: Option<Db>,
    /// Whether the last attempt to open or write failed.
    is_unavailable: bool,
    is_closed: bool,
}

impl UsageDb {
    /// Creates a handle; the database is not opened yet.
    pub(super) fn new(config: Arc<Config>) -> UsageDb {
        UsageDb { config, state: Mutex::default(), open_lock: tokio::sync::Mutex::default() }
    }

    /// Returns the database, and opens it first if necessary. There is no timeout.
    pub(super) async fn open(&self) -> Result<Db, DbError> {
        let _guard = self.open_lock.lock().await;
        {
            let state = self.state.lock();
            if let Some(db) = &state.db {
                return Ok(db.clone());
            }
            if state.is_closed {
                return Err(DbError::Closed);
            }
        }
        let config = Arc::clone(&self.config);
        let result = tokio::task::spawn_blocking(move || Db::open_usage(&config)).await;
        let result = result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut state = self.state.lock();
        match result {
            Err(error) => {
                state.is_unavailable = true;
                Err(error)
            }
            Ok(db) if state.is_closed => {
                // Closing blocks briefly; the database is not in use yet.
                tokio::task::spawn_blocking(move || db.close());
                Err(DbError::Closed)
            }
            Ok(db) => Ok(state.db.insert(db).clone()),
        }
    }

    pub(super) fn record_write(&self, is_success: bool) {
        self.state.lock().is_unavailable = !is_success;
    }

    /// Returns the database if it is open and the last write succeeded.
    pub(super) fn available_db(&self) -> Option<Db> {
        let state = self.state.lock();
        state.db.clone().filter(|_| !state.is_unavailable)
    }

    /// As [`UsageDb::available_db`], but opens the database for queries before the first write; `None` on timeout.
    pub(super) async fn open_within(&self, timeout: Duration) -> Option<Db> {
        if let Some(db) = self.available_db() {
            return Some(db);
        }
        if self.state.lock().is_unavailable {
            return None;
        }
        tokio::time::timeout(timeout, self.open()).await.ok()?.ok()
    }

    /// Closes the database after its queued transactions.
    pub(super) async fn close(&self) {
        let db = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.db.take()
        };
        if let Some(db) = db {
            let _ = tokio::task::spawn_blocking(move || db.close()).await;
        }
    }
}
