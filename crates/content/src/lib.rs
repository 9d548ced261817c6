//! The read side of repositories: downloads of files and pages, indexes, files, listings.

/// Coalesced downloads of package files: one request to the mirror for any number of waiting clients.
pub mod fetch;
/// Pages of projects of a Python index: fetched when a client requests one, and written as rows.
pub mod pypi;
/// The read side of repositories: points, owners, files, indexes, listings, explanations.
pub mod serve;
