//! Handles of the stores and of the shared work rooms. No methods: rooms take what they need from it.

use arc_swap::ArcSwap;

use crate::catalog::Live;
use crate::config::Config;
use crate::db::Db;
use crate::jobs::Jobs;
use crate::model::time::Clock;
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
    /// Jobs under way.
    pub jobs: Jobs,
    /// The time.
    pub clock: Clock,
}
