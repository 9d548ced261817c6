//! What changes and maintains the content: edits, syncs, builds, upkeep, usage, backups.

/// Backups, their verification and restore, dumps of the database, and its migration to another provider.
pub mod backup;
/// Builders of git repositories: polls, the queue of builds, credentials, logs.
pub mod build;
/// The edits of administrators: uploads, packages, sources, repositories, subscriptions.
pub mod edit;
/// The log of what the server published and served, signed, for proofs.
pub mod history;
/// Synchronization: turns the listing of a mirror into one published transaction.
pub mod sync;
/// Sweep and scrub of storage, its ownership, nightly maintenance, and the repair of the clock.
pub mod upkeep;
/// Download counts, in a separate database.
pub mod usage;
