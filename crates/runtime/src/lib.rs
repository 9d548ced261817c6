//! What the parts of a running server share: the catalog, jobs, the cluster, transactions, credentials.

/// Tokens: their text, the credentials of a request, the tokens in memory, and their creation.
pub mod auth;
/// The data that resolving needs, in memory, replaced after each publish.
pub mod catalog;
/// The servers that share one database: their heartbeats and list, requests of administrators, and the leader.
pub mod cluster;
/// Commands to the server process, and its mode.
pub mod control;
/// Running jobs, their progress, and schedules.
pub mod jobs;
/// Transactions: claims trees, writes invisible rows in chunks, publishes or removes them.
pub mod publish;
/// The handles that rooms share: configuration, stores, catalog, rules, jobs.
pub mod state;
