//! Generated documents of R repositories.

pub mod document;
pub(super) mod render;
