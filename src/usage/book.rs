//! The database of usage data: opened when it can be, and never waited for by a request.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::Config;
use crate::db::{Db, DbError};

pub(super) struct Book {
    config: Arc<Config>,
    state: Mutex<State>,
    /// One at a time opens: a blank SQLite file lets nobody else in while it is made ready.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    db: Option<Db>,
    /// The last attempt failed.
    away: bool,
    closed: bool,
}

impl Book {
    /// Not open yet.
    pub(super) fn new(config: Arc<Config>) -> Book {
        Book { config, state: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// The database; opens it first where it is not open. Waits for as long as that takes.
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
                // Closing blocks for a moment, and nobody works with it.
                tokio::task::spawn_blocking(move || db.close());
                Err(DbError::Closed)
            }
            Ok(db) => Ok(state.db.insert(db).clone()),
        }
    }

    /// Notes how the last attempt to write ended.
    pub(super) fn went(&self, well: bool) {
        self.state.lock().away = !well;
    }

    /// The database, where it is open and was there when it was last asked.
    pub(super) fn at_hand(&self) -> Option<Db> {
        let state = self.state.lock();
        state.db.clone().filter(|_| !state.away)
    }

    /// The same, and opens one that nobody has tried to open yet: a question may come before the first downloads are
    /// written.
    pub(super) async fn within_reach(&self, patience: Duration) -> Option<Db> {
        if let Some(db) = self.at_hand() {
            return Some(db);
        }
        if self.state.lock().away {
            return None;
        }
        tokio::time::timeout(patience, self.open()).await.ok()?.ok()
    }

    /// Ends it: what is queued is finished.
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
