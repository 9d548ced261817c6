//! Projects of an index or of uploads, of any language: owners of names, lists, files, versions.

pub mod curated;
pub mod detail;
pub mod document;
pub mod file;
pub mod names;
pub mod owner;
pub(super) mod render;
pub(super) mod search;
pub(in crate::serve) mod serial;
