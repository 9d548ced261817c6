//! The handle of the usage database, which is opened in the background, so that no download waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::Config;
use crate::db::{Db, DbError};

pub(super) struct Book {
    config: Arc<Config>,
    state: Mutex<State>,
    /// Serializes opening: a new SQLite file is locked while it is initialized.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    db: Option<Db>,
    /// Whether the last attempt to open or write failed.
    away: bool,
    closed: bool,
}

impl Book {
    /// A handle that is not open yet.
    pub(super) fn new(config: Arc<Config>) -> Book {
        Book { config, state: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// Returns the database, opening it first if necessary, without a timeout.
    pub(super) async fn open(&self) -> Result<Db, DbError> {
        let _alone = self.opening.lock().await;
        {
            let state = self.state.lock();
            if let Some(db) = &state.db {
                return Ok(db.clone());
            }
            if state.closed {
                return Err(DbError::Closed);
            }
        }
        let config = Arc::clone(&self.config);
        let opened = tokio::task::spawn_blocking(move || Db::open_usage(&config)).await;
        let opened = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut state = self.state.lock();
        match opened {
            Err(error) => {
                state.away = true;
                Err(error)
            }
            Ok(db) if state.closed => {
                // Closing blocks briefly; the database is not in use yet.
                tokio::task::spawn_blocking(move || db.close());
                Err(DbError::Closed)
            }
            Ok(db) => Ok(state.db.insert(db).clone()),
        }
    }

    /// Records the outcome of the last attempt to write.
    pub(super) fn went(&self, well: bool) {
        self.state.lock().away = !well;
    }

    /// The database, if it is open and the last attempt succeeded.
    pub(super) fn at_hand(&self) -> Option<Db> {
        let state = self.state.lock();
        state.db.clone().filter(|_| !state.away)
    }

    /// Like [`Book::at_hand`], but opens a database that was not opened yet, for queries before the first write.
    pub(super) async fn within_reach(&self, patience: Duration) -> Option<Db> {
        if let Some(db) = self.at_hand() {
            return Some(db);
        }
        if self.state.lock().away {
            return None;
        }
        tokio::time::timeout(patience, self.open()).await.ok()?.ok()
    }

    /// Closes the database after its queued transactions.
    pub(super) async fn close(&self) {
        let db = {
            let mut state = self.state.lock();
            state.closed = true;
            state.db.take()
        };
        if let Some(db) = db {
            let _ = tokio::task::spawn_blocking(move || db.close()).await;
        }
    }
}
