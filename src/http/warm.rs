//! Addresses that were resolved before: the same path means the same thing until something is published, the
//! configuration is reloaded or the UTC day ends, and so does the same path with the same `User-Agent` where that
//! decides.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quick_cache::sync::Cache;

use super::binaries::Asked;
use super::cran::Entry;
use crate::model::time::{SECOND, Timestamp};
use crate::repo::negotiate::Choice;
use crate::state::State;

/// Entries kept; each is well below a kilobyte, for the bytes of documents stay in the cache of indexes.
const ENTRIES: usize = 4096;
/// Longer paths are resolved each time.
const LONGEST: usize = 256;

/// What an entry's meaning depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Value of `clock.catalog`.
    pub catalog: i64,
    /// Number of the configuration in force, [`State::reloads`].
    pub configuration: u64,
    /// Days since the epoch.
    pub day: i64,
}

impl Moment {
    /// The newest catalog and configuration, at `now`. Take it before anything is resolved: what changes meanwhile then
    /// ends the entry.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Moment {
        Moment {
            configuration: state.reloads.load(Ordering::Acquire),
            catalog: state.catalog.get().version,
            day: now.0.div_euclid(86_400 * SECOND),
        }
    }
}

/// The cache.
pub struct Warm {
    entries: Cache<Box<str>, Arc<Entry>>,
    /// Apart from the entries: a stranger who sends a thousand headers must not push those out.
    chosen: Cache<Box<str>, Arc<Chosen>>,
}

impl Default for Warm {
    fn default() -> Warm {
        Warm { entries: Cache::new(ENTRIES), chosen: Cache::new(ENTRIES) }
    }
}

/// What a `User-Agent` was given at an address.
pub struct Chosen {
    /// The file.
    pub entry: Arc<Entry>,
    distro: Box<str>,
    choice: Choice,
    /// What the decision depends on.
    moment: Moment,
}

impl Chosen {
    /// What was asked for, as it was decided then.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        Asked::Builds { distro: &self.distro, choice: Cow::Borrowed(&self.choice), negotiated: true }
    }
}

/// The address and the header in one; `None` for those that are decided each time.
fn both(path: &str, agent: Option<&[u8]>) -> Option<String> {
    let agent = std::str::from_utf8(agent?).ok()?;
    let fits = path.len() <= LONGEST && agent.len() <= LONGEST && path.contains("/__linux__/");
    // Neither a path nor a header has a line break.
    fits.then(|| [path, agent].join("\n"))
}

/// One spelling of a path only: a stranger must not fill the cache with the thousand spellings of one address.
fn is_usual(path: &str) -> bool {
    !path.contains(['%', '+']) && !path.contains("//")
}

impl Warm {
    /// The entry of a raw path, when it still holds. A query is looked at by the slow path only.
    #[must_use]
    pub fn get(&self, state: &State, now: Timestamp, path: &str, query: Option<&str>) -> Option<Arc<Entry>> {
        if query.is_some() || path.len() > LONGEST {
            return None;
        }
        self.entries.get(path).filter(|entry| entry.moment == Moment::of(state, now))
    }

    /// Keeps an entry that may be kept.
    #[must_use]
    pub fn keep(&self, path: &str, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        if entry.lasting() && path.len() <= LONGEST && is_usual(path) {
            self.entries.insert(path.into(), Arc::clone(&entry));
        }
        entry
    }

    /// What this header was given at this address, when that still holds.
    #[must_use]
    pub fn chosen(
        &self,
        state: &State,
        now: Timestamp,
        path: &str,
        query: Option<&str>,
        agent: Option<&[u8]>,
    ) -> Option<Arc<Chosen>> {
        let known =
            query.is_none().then(|| both(path, agent)).flatten().and_then(|key| self.chosen.get(&*key))?;
        let now = Moment::of(state, now);
        (known.moment == now && known.entry.moment == now).then_some(known)
    }

    /// Keeps what was decided by a header at a moment, if its entry may be kept.
    pub fn choose(
        &self,
        moment: Moment,
        path: &str,
        agent: Option<&[u8]>,
        asked: &Asked<'_>,
        entry: &Arc<Entry>,
    ) {
        let Asked::Builds { distro, choice, negotiated: true } = asked else { return };
        let Some(key) = both(path, agent).filter(|_| entry.lasting() && is_usual(path)) else {
            return;
        };
        let chosen = Chosen {
            entry: Arc::clone(entry),
            distro: (*distro).into(),
            choice: choice.clone().into_owned(),
            moment,
        };
        self.chosen.insert(key.into(), Arc::new(chosen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_an_address_are_not_kept() {
        assert!(
            is_usual("/cran/latest/src/contrib/PACKAGES")
                && is_usual("/cran/latest/src/contrib/a_1.tar.gz source")
        );
        for path in ["//cran/latest", "/cran/latest//src/contrib/PACKAGES", "/cr%61n/latest", "/cran/5+x"] {
            assert!(!is_usual(path), "{path}");
        }
    }
}
