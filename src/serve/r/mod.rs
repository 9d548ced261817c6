//! Generated documents of R repositories.

pub mod base;
pub mod document;
pub(super) mod render;
