//! What clients and administrators read besides documents and files: lists, details, history, dependencies, decisions.

pub mod affected;
pub mod binary_rows;
pub mod block_rules;
pub mod dependency_graph;
pub mod difference;
pub mod explain;
pub mod guard_effects;
pub mod history;
pub mod info;
pub mod listing;
pub mod lock_file;
pub mod metadata;
pub mod name_audit;
mod owned_names;
pub mod package_query;
pub mod requirements;
pub mod rule_matches;
pub mod shared_names;
pub mod vulnerabilities;

use std::sync::Arc;

use crate::serve::project::names::{PREFERRED_VERSIONS, PreferredVersions};

pub(in crate::serve) struct ViewCaches {
    dependency_graphs: dependency_graph::Cache,
    affected_packages: affected::Cache,
    name_lists: listing::NameLists,
    list_changes: listing::ListChangeCache,
    package_counts: listing::CountCache,
    index_names_queue: listing::IndexNamesQueue,
    preferred_versions: Arc<PreferredVersions>,
}

impl ViewCaches {
    pub(in crate::serve) fn new() -> ViewCaches {
        ViewCaches {
            dependency_graphs: dependency_graph::cache(),
            affected_packages: affected::Cache::new(affected::CACHE_ENTRIES),
            name_lists: listing::new_name_lists(),
            list_changes: listing::ListChangeCache::new(listing::LIST_CHANGE_CACHE_ENTRIES),
            package_counts: listing::CountCache::new(listing::COUNT_CACHE_ENTRIES),
            index_names_queue: listing::IndexNamesQueue::default(),
            preferred_versions: Arc::new(PreferredVersions::new(PREFERRED_VERSIONS)),
        }
    }
}
