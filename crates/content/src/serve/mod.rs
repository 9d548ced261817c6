//! The read side of repositories: points, owners, files, indexes, listings and explanations. Contains no HTTP types.

mod documents;
pub mod error;
mod files;
pub mod find;
pub mod project;
pub mod proofs;
pub mod python;
pub mod r;
pub mod search;
mod selection;
mod views;

pub use documents::{digests, document, encoding, index, negotiate};
pub use error::{AllowedVersion, BlockedRelease, ExistingFile, GuardedName, RepoError};
pub use files::{binaries, bundles, file, located, package_files, remote_binaries, stored_again};
pub use selection::{name_guards, point, policies, withheld};
pub use views::{
    affected, binary_rows, block_rules, dependency_graph, difference, explain, guard_effects, history, info,
    listing, lock_file, metadata, name_audit, package_query, requirements, rule_matches, shared_names,
    vulnerabilities,
};

use std::sync::Arc;

use crate::fetch::Fetches;
use crate::index::PageReads;
use base::model::time::Timestamp;
use runtime::state::State;

/// Handle to all repositories, with the caches of the served content.
pub struct Repositories {
    state: Arc<State>,
    fetches: Arc<Fetches>,
    page_reads: Arc<PageReads>,
    /// Serializes the closing of days; contains the time of the last failure.
    day_closing: tokio::sync::Mutex<Option<Timestamp>>,
    indexes: index::Cache,
    files: files::FileCaches,
    views: views::ViewCaches,
    search: search::SearchTexts,
    python: python::PythonCaches,
    last_proved: proofs::LastProved,
}

impl Repositories {
    pub fn new(fetches: Arc<Fetches>, page_reads: Arc<PageReads>, state: Arc<State>) -> Arc<Repositories> {
        let config = state.config.load();
        let (indexes, search) =
            (index::Cache::new(&config.server.data_dir), search::SearchTexts::new(&config.server.data_dir));
        drop(config);
        Arc::new(Repositories {
            day_closing: tokio::sync::Mutex::default(),
            indexes,
            files: files::FileCaches::new(),
            views: views::ViewCaches::new(),
            search,
            python: python::PythonCaches::new(),
            last_proved: proofs::LastProved::default(),
            fetches,
            page_reads,
            state,
        })
    }
}
