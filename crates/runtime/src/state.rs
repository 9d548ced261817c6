//! Handles of the stores and other shared modules. `State` has no methods but `new`: callers use handles.

pub mod policies;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::{ArcSwap, ArcSwapOption};
use policies::Policies;
use tokio::sync::watch;

use crate::catalog::CatalogHandle;
use crate::jobs::Jobs;
use base::config::Config;
use base::model::ids::Identity;
use base::model::time::Clock;
use formats::advisory::Index;
use formats::r::sysreqs::Rules;
use store::db::Db;
use store::storage::Storage;
use upstream::Upstream;

/// The shared handles. Created once by `daemon`, shared in an `Arc`.
pub struct State {
    /// The configuration in force; a reload replaces it. Long-running work keeps the configuration that it began with.
    pub config: ArcSwap<Config>,
    /// Number of configurations put in force after the first, incremented after `config` is replaced. Values
    /// derived from a configuration are valid while the number is unchanged.
    pub reloads: AtomicU64,
    pub db: Db,
    pub storage: Storage,
    /// The client for mirrors; a reload of `[Proxy]` replaces it.
    pub upstream: ArcSwap<Upstream>,
    /// In-memory data for resolving snapshots.
    pub catalog: CatalogHandle,
    /// The rules for system requirements in force; none before the first fetch. Loaded concurrently with startup.
    pub sysreqs: Deferred<Rules>,
    /// The package advisories in force; none before the first fetch. Loaded concurrently with startup.
    pub advisories: Deferred<Index>,
    pub policies: Policies,
    /// Number of times that package details were added to an already published step: cached details of a
    /// point that were read before may lack them.
    pub detail_updates: AtomicU64,
    /// Running and recently finished jobs.
    pub jobs: Jobs,
    pub clock: Clock,
    /// The identity of this process among the servers that share the database, under which it holds leases.
    pub node: Identity,
}

/// The parts from which a [`State`] is created.
pub struct Handles {
    pub config: Arc<Config>,
    pub db: Db,
    pub storage: Storage,
    pub upstream: Upstream,
    pub catalog: CatalogHandle,
    pub jobs: Jobs,
    pub clock: Clock,
    pub node: Identity,
}

impl State {
    /// Creates the state without rules and advisories, which are loaded later.
    pub fn new(handles: Handles) -> State {
        let Handles { config, db, storage, upstream, catalog, jobs, clock, node } = handles;
        State {
            config: config.into(),
            reloads: AtomicU64::new(0),
            db,
            storage,
            upstream: Arc::new(upstream).into(),
            catalog,
            sysreqs: Deferred::default(),
            advisories: Deferred::default(),
            policies: Policies::default(),
            detail_updates: AtomicU64::new(0),
            jobs,
            clock,
            node,
        }
    }
}

/// A replaceable value that may still be loading.
#[derive(Debug)]
pub struct Deferred<T> {
    value: ArcSwapOption<T>,
    loading: watch::Sender<bool>,
}

/// Marks the value as loading until this guard is dropped; see [`Deferred::begin_load`].
#[derive(Debug)]
pub struct LoadGuard(watch::Sender<bool>);

impl<T> Default for Deferred<T> {
    fn default() -> Deferred<T> {
        Deferred { value: ArcSwapOption::empty(), loading: watch::Sender::new(false) }
    }
}

impl<T> Deferred<T> {
    /// Returns the current value; `None` before the first one is set.
    pub fn get(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// Returns the value for a short read. Unlike [`Deferred::get`], writes to no memory that all threads share.
    pub fn load(&self) -> arc_swap::Guard<Option<Arc<T>>> {
        self.value.load()
    }

    /// Waits until no load is in progress, then returns the value, if there is one.
    pub async fn wait(&self) -> Option<Arc<T>> {
        // This fails only if the sender is dropped; it is a field of `self`.
        let _ = self.loading.subscribe().wait_for(|is_loading| !is_loading).await;
        self.get()
    }

    pub fn set(&self, value: Arc<T>) {
        self.value.store(Some(value));
    }

    /// Marks the value as loading until the returned guard is dropped, whether the load succeeds or fails.
    pub fn begin_load(&self) -> LoadGuard {
        self.loading.send_replace(true);
        LoadGuard(self.loading.clone())
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn readers_wait_for_a_value_that_is_loading() {
        let deferred = Deferred::default();
        assert!(deferred.wait().await.is_none(), "nothing is loading");
        let loading = deferred.begin_load();
        let mut waiting = Box::pin(deferred.wait());
        assert!((&mut waiting).now_or_never().is_none());
        deferred.set(Arc::new(1));
        assert!((&mut waiting).now_or_never().is_none(), "the load has not ended");
        drop(loading);
        assert_eq!(waiting.await.as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_failed_load_ends_the_wait() {
        let deferred = Arc::new(Deferred::<u8>::default());
        let loading = deferred.begin_load();
        let load = tokio::spawn(async move {
            let _guard = loading;
            panic!("a load that fails");
        });
        assert!(deferred.wait().await.is_none());
        assert!(load.await.is_err());
    }
}
