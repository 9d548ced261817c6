//! Addresses that were resolved before: the same path means the same thing until something is published or the UTC
//! day ends.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::cran::Entry;
use crate::model::time::SECOND;
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
    /// Now.
    #[must_use]
    pub fn now(state: &State) -> Moment {
        Moment { catalog: state.catalog.get().version, day: (state.clock)().0.div_euclid(86_400 * SECOND) }
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
    pub fn get(&self, state: &State, path: &str, query: Option<&str>) -> Option<Arc<Entry>> {
        if query.is_some() || path.len() > LONGEST {
            return None;
        }
        self.0.get(path).filter(|entry| entry.moment == Moment::now(state))
    }

    /// Keeps an entry that may be kept.
    #[must_use]
    pub fn keep(&self, path: &str, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        if entry.lasting() && path.len() <= LONGEST {
            self.0.insert(path.into(), Arc::clone(&entry));
        }
        entry
    }
}
