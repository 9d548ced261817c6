//! A package server for R, Bioconductor and Python: the daemon `rstudio-pm` and its command line `rspm`.
//!
//! The work has three parts.
//!
//! 1. **Import.** [`upstream`] reads a mirror, [`sync`] plans the changes, [`edit`] stores the packages that an
//!    administrator adds, [`publish`] writes and publishes both. Bytes go to [`storage`] under their SHA-256 first,
//!    rows to [`db`] second.
//! 2. **Resolve.** Every published state of a package list is a numbered step; [`catalog`] resolves the snapshot of
//!    a URL (`latest`, a date, a transaction) to a point, without a query to the database.
//! 3. **Serve.** [`http`] parses the address, gets an index or a file from [`serve`] and responds; [`daemon`] starts,
//!    supervises and stops everything; [`cli`] is a client of the daemon's admin API.
//!
//! `docs/architecture.md` has the crates and their rooms; `tests/architecture.rs` has the allowed dependencies between
//! rooms, and fails on any other.

pub use api;
pub use base::{access, config, encryption, metrics, model};
pub use builder;
pub use cli;
pub use content::{fetch, index, serve};
pub use downloader;
pub use formats::{advisory, bundle, language, policy, python, r, tlog};
pub use generator;
pub use pages;
pub use runtime::{auth, catalog, cluster, control, jobs, publish, state};
pub use store::{db, logs, storage};
pub use tasks::{backup, build, edit, history, sync, upkeep, usage};
pub use upstream;

/// Start, supervision, reload and stop of the daemon.
pub mod daemon;
/// Listeners, TLS, the route table, and the responses.
pub mod http;
