//! Handles of the stores and of other shared modules. `State` has no methods but `new`: callers use the
//! handles they need.

pub mod deferred;
pub mod policies;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use deferred::Deferred;
use policies::Policies;

use crate::catalog::CatalogHandle;
use crate::jobs::Jobs;
use base::config::Config;
use base::model::identity::Identity;
use base::model::time::Clock;
use formats::advisory::Index;
use formats::r::sysreqs::Rules;
use store::db::Db;
use store::storage::Storage;
use upstream::Upstream;

/// The shared handles. Created once by `daemon`, shared in an `Arc`.
pub struct State {
    /// The configuration in force; a reload replaces it. Long-running work keeps the configuration that it
    /// began with.
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
    pub rules: Deferred<Rules>,
    /// The package advisories in force; none before the first fetch. Loaded concurrently with startup.
    pub advisories: Deferred<Index>,
    /// The block rules of each repository.
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
            rules: Deferred::default(),
            advisories: Deferred::default(),
            policies: Policies::default(),
            detail_updates: AtomicU64::new(0),
            jobs,
            clock,
            node,
        }
    }
}
