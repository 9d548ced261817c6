//! Writes transactions: claims trees, writes invisible rows in chunks, publishes them or removes them, and refreshes
//! the catalog. Edits do all of it in one write (`edit`), syncs and back-fills in several (`transaction`).

pub mod edit;
pub mod transaction;
