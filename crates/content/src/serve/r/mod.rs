//! Generated documents of R repositories: which documents exist, and how they are rendered.

pub mod base;
pub mod document;
mod listing;
pub(super) mod render;
