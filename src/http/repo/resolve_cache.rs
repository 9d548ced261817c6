//! Cache of resolved addresses, by path and format (pages of projects), or by path and `User-Agent` if the
//! result depends on it. An entry is valid until the next publish, the next reload, or the end of the UTC day.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use crate::http::repo::document::ResolvedDocument;
use crate::http::repo::package_file::ResolvedFile;
use crate::http::repo::r::platform_request::PlatformRequest;
use crate::http::response::Vary;
use crate::http::route::access::RepositoryAccess;
use base::model::project_page::PageFormat;
use base::model::time::Timestamp;
use content::serve::negotiate::PlatformChoice;
use content::serve::policies;
use runtime::state::State;

/// Maximum number of entries; each is well below a kilobyte, as the bytes of documents are in the index cache.
const MAX_ENTRIES: usize = 4096;
/// Maximum length of a cached path or header, in bytes; longer ones are resolved each time.
const MAX_KEY_BYTES: usize = 256;

/// The versions and the day that an entry depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Value of `clock.catalog`.
    pub catalog: i64,
    /// Number of the active configuration, [`State::reloads`].
    pub configuration: u64,
    /// Days since the epoch.
    pub day: i64,
    /// The generation of the block rules, and the hour if they depend on the age of releases.
    pub rules: (u64, i64),
}

impl Validity {
    /// Returns the newest versions, at `now`. Call before resolving, so that a later change invalidates the entry.
    pub fn of(state: &State, now: Timestamp) -> Validity {
        let configuration = state.reloads.load(Ordering::Acquire);
        let catalog = state.catalog.load();
        Validity {
            configuration,
            catalog: catalog.version,
            day: now.day_number(),
            rules: policies::generation(state, &catalog, now),
        }
    }
}

pub struct Entry {
    pub validity: Validity,
    /// The data that decides who may read it. It is part of the catalog, so it is current while the entry is valid.
    pub access: RepositoryAccess,
    pub resource: Resource,
}

pub enum Resource {
    Document(Box<ResolvedDocument>),
    File(Box<ResolvedFile>),
}

impl Entry {
    /// Returns whether resolving again would return the same entry. The size of a file is known once fetched.
    pub fn is_cacheable(&self) -> bool {
        match &self.resource {
            Resource::Document(resolved) => resolved.is_cacheable(),
            Resource::File(resolved) => resolved.is_cacheable(),
        }
    }
}

/// The request for an entry. Compared with stored keys without an allocation, because each request has one.
#[derive(Clone, Copy, Debug, Hash)]
pub struct EntryKey<'a> {
    /// The raw path, or the path followed by a space and [`PlatformRequest::cache_key`].
    pub path: &'a str,
    /// The format that the client gets, at the address of a page of the simple API.
    pub format: Option<PageFormat>,
}

/// A stored [`EntryKey`]; both have the same hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct StoredKey {
    path: Box<str>,
    format: Option<PageFormat>,
}

impl Equivalent<StoredKey> for EntryKey<'_> {
    fn equivalent(&self, stored: &StoredKey) -> bool {
        self.path == &*stored.path && self.format == stored.format
    }
}

impl<'a> EntryKey<'a> {
    /// Returns the key of an address at which all clients get the same format.
    pub fn of_path(path: &'a str) -> EntryKey<'a> {
        EntryKey { path, format: None }
    }
}

pub struct ResolveCache {
    entries: Cache<StoredKey, Arc<Entry>>,
    /// SECURITY: separate from `entries`, which a client with thousands of different headers must not evict.
    negotiated: Cache<Box<str>, Arc<NegotiatedEntry>>,
}

impl Default for ResolveCache {
    fn default() -> ResolveCache {
        ResolveCache { entries: Cache::new(MAX_ENTRIES), negotiated: Cache::new(MAX_ENTRIES) }
    }
}

/// The binary chosen for a `User-Agent` at an address.
pub struct NegotiatedEntry {
    pub entry: Arc<Entry>,
    distro: Box<str>,
    choice: PlatformChoice,
    validity: Validity,
}

impl NegotiatedEntry {
    pub fn platform_request(&self) -> PlatformRequest<'_> {
        PlatformRequest::BinaryOrSource {
            distro: &self.distro,
            choice: Cow::Borrowed(&self.choice),
            vary: Vary::UserAgent,
        }
    }
}

/// Returns the cache key of an address and a header; `None` if they are not cached.
fn cache_key(path: &str, agent: Option<&[u8]>) -> Option<String> {
    let agent = std::str::from_utf8(agent?).ok()?;
    let fits = path.len() <= MAX_KEY_BYTES && agent.len() <= MAX_KEY_BYTES && path.contains("/__linux__/");
    // Neither a path nor a header can contain a line break.
    fits.then(|| [path, agent].join("\n"))
}

/// Returns whether a path may be cached. SECURITY: only one spelling is, so clients cannot fill the cache.
fn is_canonical(path: &str) -> bool {
    !path.contains(['%', '+']) && !path.contains("//")
}

impl ResolveCache {
    /// Returns an entry, if it is still valid. A path with a query is never cached.
    pub fn get(
        &self,
        state: &State,
        now: Timestamp,
        key: EntryKey<'_>,
        query: Option<&str>,
    ) -> Option<Arc<Entry>> {
        if query.is_some() || key.path.len() > MAX_KEY_BYTES {
            return None;
        }
        self.entries.get(&key).filter(|entry| entry.validity == Validity::of(state, now))
    }

    pub fn insert(&self, key: EntryKey<'_>, entry: Entry) -> Arc<Entry> {
        let EntryKey { path, format } = key;
        let entry = Arc::new(entry);
        if entry.is_cacheable() && path.len() <= MAX_KEY_BYTES && is_canonical(path) {
            self.entries.insert(StoredKey { path: path.into(), format }, Arc::clone(&entry));
        }
        entry
    }

    /// Returns the cached choice for this header at this address, if it is still valid.
    pub fn get_negotiated(
        &self,
        state: &State,
        now: Timestamp,
        path: &str,
        query: Option<&str>,
        agent: Option<&[u8]>,
    ) -> Option<Arc<NegotiatedEntry>> {
        let negotiated = query
            .is_none()
            .then(|| cache_key(path, agent))
            .flatten()
            .and_then(|key| self.negotiated.get(&*key))?;
        let current = Validity::of(state, now);
        (negotiated.validity == current && negotiated.entry.validity == current).then_some(negotiated)
    }

    /// Inserts the choice for a `User-Agent`, if `entry` may be cached.
    pub fn insert_negotiated(
        &self,
        validity: Validity,
        path: &str,
        agent: Option<&[u8]>,
        platform: &PlatformRequest<'_>,
        entry: &Arc<Entry>,
    ) {
        let PlatformRequest::BinaryOrSource { distro, choice, vary: Vary::UserAgent } = platform else {
            return;
        };
        let Some(key) = cache_key(path, agent).filter(|_| entry.is_cacheable() && is_canonical(path)) else {
            return;
        };
        let negotiated = NegotiatedEntry {
            entry: Arc::clone(entry),
            distro: (*distro).into(),
            choice: choice.clone().into_owned(),
            validity,
        };
        self.negotiated.insert(key.into(), Arc::new(negotiated));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::python::accept::SimpleFormat;

    #[test]
    fn an_entry_is_found_by_path_and_format() {
        let cache: Cache<StoredKey, u32> = Cache::new(8);
        let stored = |format| StoredKey { path: "/py/latest/simple/a/".into(), format };
        cache.insert(stored(Some(SimpleFormat::Json.page_format())), 1);
        cache.insert(stored(None), 2);
        let get = |path, format| cache.get(&EntryKey { path, format });
        assert_eq!(get("/py/latest/simple/a/", Some(SimpleFormat::Json.page_format())), Some(1));
        assert_eq!(get("/py/latest/simple/a/", None), Some(2));
        assert_eq!(get("/py/latest/simple/a/", Some(SimpleFormat::Html.page_format())), None);
        assert_eq!(get("/py/latest/simple/b/", None), None);
    }

    #[test]
    fn other_spellings_of_an_address_are_not_cached() {
        assert!(
            is_canonical("/cran/latest/src/contrib/PACKAGES")
                && is_canonical("/cran/latest/src/contrib/a_1.tar.gz source")
        );
        for path in ["//cran/latest", "/cran/latest//src/contrib/PACKAGES", "/cr%61n/latest", "/cran/5+x"] {
            assert!(!is_canonical(path), "{path}");
        }
    }
}
