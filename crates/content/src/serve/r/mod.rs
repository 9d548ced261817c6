//! Generated documents of R repositories.

pub mod base;
pub mod document;
mod listing;
pub(super) mod render;
