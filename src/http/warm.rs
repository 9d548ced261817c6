//! Addresses that were resolved before: the same path means the same thing until something is published or the UTC
//! day ends.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::cran::Entry;
use crate::model::time::{SECOND, Timestamp};
use crate::state::State;

/// Entries kept; each is well below a kilobyte.
const ENTRIES: usize = 4096;
/// Longer paths are resolved each time.
const LONGEST: usize = 256;

/// What an entry's meaning depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Value of `clock.catalog`.
    pub catalog: i64,
    /// Days since the epoch.
    pub day: i64,
}

impl Moment {
    /// The newest catalog, at `now`.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Moment {
        Moment { catalog: state.catalog.get().version, day: now.0.div_euclid(86_400 * SECOND) }
    }
}

/// The cache.
pub struct Warm(Cache<Box<str>, Arc<Entry>>);

impl Default for Warm {
    fn default() -> Warm {
        Warm(Cache::new(ENTRIES))
    }
}

impl Warm {
    /// The entry of a raw path, when it still holds. A query is looked at by the slow path only.
    #[must_use]
    pub fn get(&self, state: &State, now: Timestamp, path: &str, query: Option<&str>) -> Option<Arc<Entry>> {
        if query.is_some() || path.len() > LONGEST {
            return None;
        }
        self.0.get(path).filter(|entry| entry.moment == Moment::of(state, now))
    }

    /// Keeps an entry that may be kept.
    #[must_use]
    pub fn keep(&self, path: &str, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        // One spelling of a path only: a stranger must not fill this with the thousand encodings of one address.
        if entry.lasting() && path.len() <= LONGEST && !path.contains(['%', '+']) {
            self.0.insert(path.into(), Arc::clone(&entry));
        }
        entry
    }
}
