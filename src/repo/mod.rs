//! Repositories: indexes, files, lazy fetches and administrative edits. Contains no HTTP types.

mod archive_details;
pub mod binaries;
pub mod binary_rows;
mod bundle_files;
mod bundles;
mod candidates;
mod clock;
pub mod dependency_graph;
pub mod edit;
pub mod error;
pub mod explain;
mod fetch;
pub mod file;
mod file_updates;
mod find;
pub mod index;
pub mod info;
mod integrity;
pub mod listing;
mod maintenance;
mod mismatch_hook;
pub mod negotiate;
mod owner;
pub mod ownership;
mod point;
mod readmes;
mod remote_binaries;
mod render;
pub mod requirements;
pub mod scrub;
pub mod sweep;
mod unmarked;
pub mod vulnerabilities;

pub use error::RepoError;
pub use fetch::FetchLimits;

use std::sync::Arc;

use crate::state::State;

/// Handle to all repositories; clones share one state.
#[derive(Clone)]
pub struct Repo {
    state: Arc<State>,
    /// Serialises the closing of days; holds the time of the last failure.
    day_closing: Arc<tokio::sync::Mutex<Option<crate::model::time::Timestamp>>>,
    indexes: Arc<index::Cache>,
    uploads: Arc<edit::Uploads>,
    located_files: Arc<file::Cache>,
    integrity_checks: Arc<integrity::Cache>,
    /// Bundles that packages are served from.
    bundles: Arc<bundles::SharedBundles>,
    /// Bundle files whose digest was verified.
    verified_files: Arc<bundle_files::VerifiedFiles>,
    binary_probes: Arc<remote_binaries::ProbeCache>,
    dependency_graphs: Arc<dependency_graph::Cache>,
    name_lists: Arc<listing::Cache>,
    archives_read: Arc<archive_details::Cache>,
    readmes: Arc<readmes::ReadmeCache>,
    /// Held while an archive, or the READMEs of a bundle, are read.
    archive_lock: Arc<tokio::sync::Mutex<()>>,
    fetches: fetch::Fetches,
    file_updates: file_updates::FileUpdater,
    mismatch_hook: mismatch_hook::MismatchHook,
    /// Held shared while a blob and its row are written, exclusively while both are removed.
    blob_lock: Arc<tokio::sync::RwLock<()>>,
    /// The last package whose digest the nightly scrub verified.
    scrub_position: Arc<parking_lot::Mutex<Option<crate::model::digest::Sha256>>>,
    /// Held while objects are moved to the trash or restored.
    trash_lock: Arc<tokio::sync::Mutex<()>>,
    /// Held while storage markers are compared or written.
    marker_lock: Arc<tokio::sync::Mutex<()>>,
}

impl Repo {
    /// Creates the handle. Must be called inside the runtime: it starts the task that records the results of fetches.
    #[must_use]
    pub fn new(state: Arc<State>) -> Repo {
        Repo::with_limits(state, FetchLimits::default())
    }

    /// Like [`Repo::new`], with other limits for fetches.
    #[must_use]
    pub fn with_limits(state: Arc<State>, patience: FetchLimits) -> Repo {
        Repo {
            day_closing: Arc::default(),
            indexes: Arc::default(),
            uploads: Arc::default(),
            located_files: Arc::new(file::Cache::new(file::CACHED)),
            integrity_checks: Arc::new(integrity::Cache::new(integrity::CACHED)),
            bundles: Arc::default(),
            verified_files: Arc::default(),
            binary_probes: Arc::new(remote_binaries::ProbeCache::new(remote_binaries::CACHED)),
            dependency_graphs: Arc::new(dependency_graph::Cache::new(dependency_graph::CACHED)),
            name_lists: Arc::new(listing::Cache::new(listing::CACHED)),
            archives_read: Arc::new(archive_details::Cache::new(archive_details::CACHED)),
            readmes: Arc::default(),
            archive_lock: Arc::default(),
            fetches: fetch::Fetches::new(patience),
            file_updates: file_updates::FileUpdater::start(state.db.clone()),
            mismatch_hook: mismatch_hook::MismatchHook::default(),
            blob_lock: Arc::default(),
            scrub_position: Arc::new(parking_lot::Mutex::new(scrub::random_start())),
            trash_lock: Arc::default(),
            marker_lock: Arc::default(),
            state,
        }
    }

    /// The number of files being fetched from mirrors.
    #[must_use]
    pub fn fetching(&self) -> usize {
        self.fetches.in_progress()
    }

    /// Sets the callback for a mirror that turns out to be newer, or older, than our index of it. It is called at most
    /// once a minute for each package list.
    pub fn on_mismatch(&self, act: impl Fn(crate::model::point::PointTree) + Send + Sync + 'static) {
        self.mismatch_hook.set(Box::new(act));
    }
}
