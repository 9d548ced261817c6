//! Adds each upload to a source at most once: the write that publishes it removes its row.

use std::sync::Arc;

use parking_lot::Mutex;

use super::registry::Registry;
use crate::edit::{Write, apply};
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::state::State;
use store::db::{self, Conn};

/// The uploads that one write adds to a source.
#[derive(Clone)]
pub(in crate::edit) struct Consumption {
    registry: Arc<Mutex<Registry>>,
    ids: Arc<[u64]>,
    owner: Arc<str>,
    now: Timestamp,
    /// Number that identifies the write, including its repetitions by the database.
    write: u64,
}

impl Consumption {
    pub(super) fn new(
        registry: Arc<Mutex<Registry>>,
        ids: &[u64],
        owner: &str,
        now: Timestamp,
    ) -> Consumption {
        Consumption { registry, ids: ids.into(), owner: owner.into(), now, write: rand::random() }
    }

    /// Applies an edit that adds the uploads. Afterwards they are removed from memory, or released for another attempt.
    pub(in crate::edit) async fn apply<T, F>(self, state: &State, write: F) -> Result<T, RepoError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Write<T> + Send + 'static,
    {
        let claimed = self.clone();
        let result = apply(state, move |c| claimed.run(c, &write)).await;
        self.end(result.is_ok());
        result
    }

    /// Runs `write` in a database write, and removes the rows of the uploads. Fails with [`RepoError::NoUpload`] if
    /// another write added one of the uploads, or if it has expired.
    fn run<T>(&self, c: &mut dyn Conn, write: impl FnOnce(&mut dyn Conn) -> Write<T>) -> Write<T> {
        // Locked before the rows are read, so that they include the last write of another server.
        db::clock::lock(c)?;
        for id in self.ids.iter().copied() {
            let claim = self.registry.lock().claim(id, &self.owner, self.write);
            let is_present = match claim {
                Some(is_free) => is_free,
                None => db::upload::get(c, row_id(id), &self.owner, self.now)?.is_some(),
            };
            if !is_present {
                return Err(RepoError::NoUpload(id).into());
            }
        }
        let result = write(c)?;
        for id in self.ids.iter().copied() {
            db::upload::remove(c, row_id(id))?;
        }
        Ok(result)
    }

    /// Ends the write: if it was committed, removes the uploads from memory, else releases them for another attempt.
    fn end(&self, is_committed: bool) {
        let mut registry = self.registry.lock();
        if is_committed {
            registry.remove(&self.ids);
        } else {
            registry.release(&self.ids, self.write);
        }
    }
}

/// The number of an upload in its row. A number that no upload can have matches no row.
pub(super) fn row_id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(-1)
}
