//! Handles of the stores and of the shared work rooms. No methods: rooms take what they need from it.

use std::sync::atomic::AtomicU64;

use arc_swap::{ArcSwap, ArcSwapOption};

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
    /// The database.
    pub db: Db,
    /// The nine storage classes.
    pub storage: Storage,
    /// The client for mirrors; a reload of `[Proxy]` puts another in its place.
    pub upstream: ArcSwap<Upstream>,
    /// What resolving needs, in memory.
    pub catalog: Live,
    /// The rules of system requirements in force; none before they were fetched for the first time.
    pub rules: ArcSwapOption<Rules>,
    /// Counts the times that details of packages were added to a step that was published before: what was read of a point
    /// until then may lack them.
    pub described: AtomicU64,
    /// Jobs under way.
    pub jobs: Jobs,
    /// The time.
    pub clock: Clock,
}
