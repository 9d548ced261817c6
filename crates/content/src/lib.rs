//! The read side of repositories: downloads of files and pages, indexes, files, listings.

pub mod fetch;
pub mod index;
pub mod serve;
