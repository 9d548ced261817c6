//! The read side of repositories: points, owners, files, indexes, listings and explanations. Contains no HTTP types.

pub mod affected;
mod allowed;
mod archive_details;
pub mod binaries;
pub mod binary_rows;
pub mod binary_selector;
pub mod block_rules;
mod bundle_files;
pub mod bundles;
pub mod compressed;
pub mod dependency_graph;
pub mod dependency_index;
pub mod difference;
pub mod digests;
pub mod document;
pub mod encoding;
pub mod error;
pub mod explain;
pub mod file;
pub mod find;
pub mod guard_effects;
pub mod history;
pub mod index;
pub mod info;
pub mod license_types;
pub mod listing;
pub mod located;
pub mod lock_file;
pub mod metadata;
mod mirror_fetch;
pub mod name_audit;
pub mod name_guards;
mod name_lists;
mod names_queue;
pub mod negotiate;
mod owner;
pub mod package_files;
pub mod package_query;
pub mod point;
pub mod policies;
pub mod python;
pub mod r;
mod readmes;
pub mod remote_binaries;
mod rendered_rows;
pub mod requirements;
pub mod rule_matches;
pub mod shared_names;
pub mod source_rules;
pub mod stored_again;
pub mod task;
mod upstream;
mod visibility;
pub mod vulnerabilities;
pub mod withheld;

pub use error::{AllowedVersion, BlockedRelease, ExistingFile, GuardedName, RepoError};

use std::sync::Arc;

use crate::fetch::Fetches;
use crate::pypi::PageReads;
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
    located_files: file::Cache,
    /// Bundles from which packages are served.
    bundles: bundles::SharedBundles,
    /// Bundle files whose digest was verified.
    verified_files: bundle_files::VerifiedFiles,
    binary_probes: remote_binaries::ProbeCache,
    dependency_graphs: dependency_graph::Cache,
    affected_packages: affected::Cache,
    name_lists: name_lists::NameLists,
    list_changes: listing::ListChangeCache,
    package_counts: listing::CountCache,
    preferred_versions: Arc<python::names::PreferredVersions>,
    read_archives: archive_details::Cache,
    readmes: readmes::ReadmeCache,
    python_metadata: python::metadata::Cache,
    provenance_requests: python::provenance::ProvenanceRequests,
    wheel_reads: python::wheel_metadata::WheelReads,
    /// Held while an archive, or a README of a bundle, is read.
    archive_lock: tokio::sync::Mutex<()>,
    /// Held while a source distribution is fetched and read: separate, because an index may send it slowly.
    sdist_lock: tokio::sync::Mutex<()>,
    index_names_queue: names_queue::IndexNamesQueue,
}

impl Repositories {
    /// Creates the handle, with empty caches.
    pub fn new(fetches: Arc<Fetches>, page_reads: Arc<PageReads>, state: Arc<State>) -> Arc<Repositories> {
        Arc::new(Repositories {
            day_closing: tokio::sync::Mutex::default(),
            indexes: index::Cache::default(),
            located_files: file::Cache::new(file::CACHE_ENTRIES),
            bundles: bundles::SharedBundles::default(),
            verified_files: bundle_files::VerifiedFiles::default(),
            binary_probes: remote_binaries::ProbeCache::new(remote_binaries::CACHE_ENTRIES),
            dependency_graphs: dependency_graph::cache(),
            affected_packages: affected::Cache::new(affected::CACHE_ENTRIES),
            name_lists: name_lists::new(),
            list_changes: listing::ListChangeCache::new(listing::LIST_CHANGE_CACHE_ENTRIES),
            package_counts: listing::CountCache::new(listing::COUNT_CACHE_ENTRIES),
            preferred_versions: Arc::new(quick_cache::sync::Cache::new(python::names::PREFERRED_VERSIONS)),
            read_archives: archive_details::Cache::new(archive_details::CACHE_ENTRIES),
            readmes: readmes::ReadmeCache::default(),
            python_metadata: python::metadata::cache(),
            provenance_requests: python::provenance::ProvenanceRequests::default(),
            wheel_reads: python::wheel_metadata::WheelReads::default(),
            archive_lock: tokio::sync::Mutex::default(),
            sdist_lock: tokio::sync::Mutex::default(),
            index_names_queue: names_queue::IndexNamesQueue::default(),
            fetches,
            page_reads,
            state,
        })
    }
}
