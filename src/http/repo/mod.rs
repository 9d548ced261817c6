//! Repositories as the clients of R and Python use them: indexes and package files, with conditional requests and ranges.

pub(super) mod answer;
pub mod conditional;
pub(super) mod document;
pub mod download_log;
pub(super) mod package_file;
pub(super) mod project;
pub(super) mod proofs;
pub(super) mod python;
pub(super) mod r;
pub mod resolve_cache;
