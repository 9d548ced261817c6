//! Handles of the stores and of the shared work rooms. No methods but the one that makes it: rooms take what they need.

pub mod late;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use late::Late;

use crate::advisory::Index;
use crate::catalog::Live;
use crate::config::Config;
use crate::db::Db;
use crate::jobs::Jobs;
use crate::model::time::Clock;
use crate::r::sysreqs::Rules;
use crate::storage::Storage;
use crate::upstream::Upstream;

/// What the work rooms share. Built once by `daemon`, handed around in an `Arc`.
pub struct State {
    /// The configuration in force; a reload puts another in its place. Work that takes long keeps what it began with.
    pub config: ArcSwap<Config>,
    /// Counts the configurations that were put in force after the first, each after it is in `config`: what depends on
    /// one holds while the number is the same.
    pub reloads: AtomicU64,
    /// The database.
    pub db: Db,
    /// The nine storage classes.
    pub storage: Storage,
    /// The client for mirrors; a reload of `[Proxy]` puts another in its place.
    pub upstream: ArcSwap<Upstream>,
    /// What resolving needs, in memory.
    pub catalog: Live,
    /// The rules of system requirements in force; none before they were fetched for the first time. They are read beside
    /// the start.
    pub rules: Late<Rules>,
    /// The advisories about packages in force; none before they were fetched for the first time. They are read beside the
    /// start.
    pub advisories: Late<Index>,
    /// Counts the times that details of packages were added to a step that was published before: what was read of a point
    /// until then may lack them.
    pub described: AtomicU64,
    /// Jobs under way.
    pub jobs: Jobs,
    /// The time.
    pub clock: Clock,
}

impl State {
    /// With nothing in force yet that is read or fetched later.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        db: Db,
        storage: Storage,
        upstream: Upstream,
        catalog: Live,
        jobs: Jobs,
        clock: Clock,
    ) -> State {
        State {
            config: config.into(),
            reloads: AtomicU64::new(0),
            db,
            storage,
            upstream: Arc::new(upstream).into(),
            catalog,
            rules: Late::default(),
            advisories: Late::default(),
            described: AtomicU64::new(0),
            jobs,
            clock,
        }
    }
}
