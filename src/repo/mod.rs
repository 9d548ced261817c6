//! Repositories: indexes, files, lazy fetches and administrative edits. Contains no HTTP types.

mod afar;
pub mod build_rows;
pub mod builds;
mod bundles;
mod clock;
pub mod edit;
pub mod error;
pub mod explain;
pub mod file;
mod find;
mod flight;
mod in_place;
pub mod index;
pub mod info;
mod inside;
mod learn;
pub mod links;
pub mod listing;
pub mod negotiate;
mod nightly;
mod owner;
pub mod ownership;
mod places;
mod point;
mod proof;
mod readmes;
mod render;
pub mod requirements;
pub mod scrub;
mod stale;
pub mod sweep;
mod vacant;
pub mod vulnerabilities;

pub use error::RepoError;
pub use flight::Patience;

use std::sync::Arc;

use crate::state::State;

/// Handle to all repositories; clones share one state.
#[derive(Clone)]
pub struct Repo {
    state: Arc<State>,
    /// Serialises the closing of days; holds the time of the last failure.
    closing: Arc<tokio::sync::Mutex<Option<crate::model::time::Timestamp>>>,
    indexes: Arc<index::Cache>,
    uploads: Arc<edit::Uploads>,
    located: Arc<file::Cache>,
    proofs: Arc<proof::Cache>,
    /// Bundles that packages are served from.
    bundles: Arc<bundles::Kept>,
    /// Bundle files whose digest was verified.
    compared: Arc<in_place::Compared>,
    afar: Arc<afar::Answers>,
    links: Arc<links::Cache>,
    names: Arc<listing::Cache>,
    inside: Arc<inside::Cache>,
    readmes: Arc<readmes::Read>,
    /// Held while an archive, or the READMEs of a bundle, are read.
    looking: Arc<tokio::sync::Mutex<()>>,
    flights: flight::Flights,
    learner: learn::Learner,
    stale: stale::Stale,
    /// Held shared while a blob and its row are written, exclusively while both are removed.
    landing: Arc<tokio::sync::RwLock<()>>,
    /// The last package whose digest the nightly scrub verified.
    scrubbed: Arc<parking_lot::Mutex<Option<crate::model::digest::Sha256>>>,
    /// Held while objects are moved to the trash or restored.
    sweeping: Arc<tokio::sync::Mutex<()>>,
    /// Held while storage markers are compared or written.
    comparing: Arc<tokio::sync::Mutex<()>>,
}

impl Repo {
    /// Creates the handle. Must be called inside the runtime: it starts the task that records the results of fetches.
    #[must_use]
    pub fn new(state: Arc<State>) -> Repo {
        Repo::with_patience(state, Patience::default())
    }

    /// Like [`Repo::new`], with other limits for fetches.
    #[must_use]
    pub fn with_patience(state: Arc<State>, patience: Patience) -> Repo {
        Repo {
            closing: Arc::default(),
            indexes: Arc::default(),
            uploads: Arc::default(),
            located: Arc::new(file::Cache::new(file::CACHED)),
            proofs: Arc::new(proof::Cache::new(proof::CACHED)),
            bundles: Arc::default(),
            compared: Arc::default(),
            afar: Arc::new(afar::Answers::new(afar::KEPT)),
            links: Arc::new(links::Cache::new(links::CACHED)),
            names: Arc::new(listing::Cache::new(listing::CACHED)),
            inside: Arc::new(inside::Cache::new(inside::CACHED)),
            readmes: Arc::default(),
            looking: Arc::default(),
            flights: flight::Flights::new(patience),
            learner: learn::Learner::start(state.db.clone()),
            stale: stale::Stale::default(),
            landing: Arc::default(),
            scrubbed: Arc::new(parking_lot::Mutex::new(scrub::anywhere())),
            sweeping: Arc::default(),
            comparing: Arc::default(),
            state,
        }
    }

    /// The number of files being fetched from mirrors.
    #[must_use]
    pub fn fetching(&self) -> usize {
        self.flights.under_way()
    }

    /// Sets the callback for a mirror that turns out to be newer, or older, than our index of it. It is called at most
    /// once a minute for each package list.
    pub fn on_stale(&self, act: impl Fn(crate::model::point::PointTree) + Send + Sync + 'static) {
        self.stale.set(Box::new(act));
    }
}
