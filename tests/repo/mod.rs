//! Repositories on real stores: edits, merged sources, dated snapshots, sweep.

mod age_rules;
mod all_stores;
mod block_rules;
mod catalog;
mod concurrent_edits;
mod database_copies;
mod deleted_sources;
mod edits;
mod import;
mod integrity;
mod log_audit;
mod log_keys;
mod log_witnesses;
mod lost_objects;
mod memory;
mod merge;
mod metadata;
mod name_guard_edits;
mod name_guards;
mod ownership;
mod packages;
mod promoted_rules;
mod promotion;
mod proofs;
mod publish_path;
mod rule_effects;
mod scrub;
mod snapshots;
mod sweep;
mod verifiers;

use crate::support::documents::{archive_names, index, listing, package_versions, point};
