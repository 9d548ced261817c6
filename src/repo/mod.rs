//! Repositories: indexes, files, lazy fetches, and every edit an administrator makes. Holds no HTTP types.

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

/// Answers for repositories; cloning shares it.
#[derive(Clone)]
pub struct Repo {
    state: Arc<State>,
    /// One closing of a day at a time, and when one failed last.
    closing: Arc<tokio::sync::Mutex<Option<crate::model::time::Timestamp>>>,
    indexes: Arc<index::Cache>,
    uploads: Arc<edit::Uploads>,
    located: Arc<file::Cache>,
    proofs: Arc<proof::Cache>,
    /// Which bundles packages are served from.
    bundles: Arc<bundles::Kept>,
    /// Files of bundles that were compared with their digests.
    compared: Arc<in_place::Compared>,
    afar: Arc<afar::Answers>,
    links: Arc<links::Cache>,
    names: Arc<listing::Cache>,
    inside: Arc<inside::Cache>,
    readmes: Arc<readmes::Read>,
    /// Held while an archive is looked into, or the READMEs of a bundle.
    looking: Arc<tokio::sync::Mutex<()>>,
    flights: flight::Flights,
    learner: learn::Learner,
    stale: stale::Stale,
    /// Held shared while a blob and its row are written, alone while both are removed.
    landing: Arc<tokio::sync::RwLock<()>>,
    /// The last package that was compared with its digest by night.
    scrubbed: Arc<parking_lot::Mutex<Option<crate::model::digest::Sha256>>>,
    /// Held while objects are moved aside or back.
    sweeping: Arc<tokio::sync::Mutex<()>>,
    /// Held while markers of storage are compared or written.
    comparing: Arc<tokio::sync::Mutex<()>>,
}

impl Repo {
    /// On the shared handles. Called inside the runtime: it starts the task that writes down what fetches learn.
    #[must_use]
    pub fn new(state: Arc<State>) -> Repo {
        Repo::with_patience(state, Patience::default())
    }

    /// As [`Repo::new`], with other limits of lazy fetches.
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

    /// Files on their way from mirrors.
    #[must_use]
    pub fn fetching(&self) -> usize {
        self.flights.under_way()
    }

    /// What to do when a mirror turns out to be newer, or older, than our index of it: called at most once a
    /// minute for each list.
    pub fn on_stale(&self, act: impl Fn(crate::model::point::PointTree) + Send + Sync + 'static) {
        self.stale.set(Box::new(act));
    }
}
