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
//! | band | rooms |
//! |---|---|
//! | pure | `model` `access` `r` `python` `bundle` `advisory` `policy` `api` `encryption` `web` `config` |
//! | stores | `metrics` `db` `storage` `logs` `builder` |
//! | services | `upstream` `catalog` `jobs` `control` `cluster` `state` `publish` `auth` `fetch` `pypi` |
//! | | `serve` `edit` `sync` `upkeep` `usage` `backup` `build` |
//! | interfaces | `http` `daemon` `cli` `offline` |
//!
//! A room may use the rooms of the bands above its own in this table. `docs/architecture.md` states the allowed
//! dependencies within a band and further restrictions; `tests/architecture.rs` fails on any other dependency.

pub use api;
pub use base::{access, config, encryption, metrics, model};
pub use builder;
pub use cli;
pub use content::{fetch, pypi, serve};
pub use downloader;
pub use formats::{advisory, bundle, policy, python, r};
pub use generator;
pub use pages;
pub use runtime::{auth, catalog, cluster, control, jobs, publish, state};
pub use store::{db, logs, storage};
pub use tasks::{backup, build, edit, sync, upkeep, usage};
pub use upstream;

/// Start, supervision, reload and stop of the daemon.
pub mod daemon;
/// Listeners, TLS, the route table, and the responses.
pub mod http;
