//! Python repositories: owners of names, pages of the simple API, and files.

pub mod document;
pub mod file;
pub mod names;
pub mod owner;
pub(super) mod render;
