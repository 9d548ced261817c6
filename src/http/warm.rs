//! Cache of resolved addresses, by path, or by path and `User-Agent` where that decides. An entry is valid until
//! something is published, the configuration is reloaded or the UTC day ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quick_cache::sync::Cache;

use super::binaries::Asked;
use super::cran::Entry;
use crate::model::time::{SECOND, Timestamp};
use crate::repo::negotiate::Choice;
use crate::state::State;

/// Maximum number of entries; each is well below a kilobyte, as the bytes of documents are in the index cache.
const ENTRIES: usize = 4096;
/// Maximum length of a cached path or header, in bytes; longer ones are resolved each time.
const LONGEST: usize = 256;

/// The versions and the day that an entry depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Value of `clock.catalog`.
    pub catalog: i64,
    /// Number of the active configuration, [`State::reloads`].
    pub configuration: u64,
    /// Days since the epoch.
    pub day: i64,
}

impl Moment {
    /// The newest catalog and configuration, at `now`. Must be taken before resolving, so that a change in the meantime
    /// invalidates the entry.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Moment {
        Moment {
            configuration: state.reloads.load(Ordering::Acquire),
            catalog: state.catalog.get().version,
            day: now.0.div_euclid(86_400 * SECOND),
        }
    }
}

/// Cache of resolved addresses.
pub struct Warm {
    entries: Cache<Box<str>, Arc<Entry>>,
    /// SECURITY: separate from `entries`, so that a client that sends a thousand headers cannot evict those.
    chosen: Cache<Box<str>, Arc<Chosen>>,
}

impl Default for Warm {
    fn default() -> Warm {
        Warm { entries: Cache::new(ENTRIES), chosen: Cache::new(ENTRIES) }
    }
}

/// The binary chosen for a `User-Agent` at an address.
pub struct Chosen {
    /// The file.
    pub entry: Arc<Entry>,
    distro: Box<str>,
    choice: Choice,
    /// What the choice depends on.
    moment: Moment,
}

impl Chosen {
    /// The platform request with the cached choice.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        Asked::Builds { distro: &self.distro, choice: Cow::Borrowed(&self.choice), negotiated: true }
    }
}

/// The cache key of address and header; `None` for those that are not cached.
fn both(path: &str, agent: Option<&[u8]>) -> Option<String> {
    let agent = std::str::from_utf8(agent?).ok()?;
    let fits = path.len() <= LONGEST && agent.len() <= LONGEST && path.contains("/__linux__/");
    // Neither a path nor a header can contain a line break.
    fits.then(|| [path, agent].join("\n"))
}

/// SECURITY: only one spelling of a path is cached, so that a client cannot fill the cache with spellings of one
/// address.
fn is_usual(path: &str) -> bool {
    !path.contains(['%', '+']) && !path.contains("//")
}

impl Warm {
    /// The entry of a raw path, if it is still valid. A path with a query is never cached.
    #[must_use]
    pub fn get(&self, state: &State, now: Timestamp, path: &str, query: Option<&str>) -> Option<Arc<Entry>> {
        if query.is_some() || path.len() > LONGEST {
            return None;
        }
        self.entries.get(path).filter(|entry| entry.moment == Moment::of(state, now))
    }

    /// Inserts an entry if it may be cached.
    #[must_use]
    pub fn keep(&self, path: &str, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        if entry.lasting() && path.len() <= LONGEST && is_usual(path) {
            self.entries.insert(path.into(), Arc::clone(&entry));
        }
        entry
    }

    /// The cached choice for this header at this address, if it is still valid.
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

    /// Inserts the choice made by a header, if its entry may be cached.
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
