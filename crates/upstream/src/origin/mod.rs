//! Mirrors, bundles and binary servers, over HTTP or in directories: what they declare, and where each file is. One
//! file per kind; all use `transport`.

pub mod binary_indexes;
pub mod bundle;
pub(super) mod bundle_cache;
pub(super) mod bundle_mirror;
pub(super) mod bundle_trust;
pub mod index_proof;
pub mod mirror;
pub mod mirror_view;
mod probe;
pub mod project_bundle;
pub mod project_index;
mod readmes;
