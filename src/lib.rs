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

// ── pure: no I/O, no async, no clock ──
/// Access control: scopes of tokens, and the decision about an actor, an action and an object.
pub mod access;
/// Advisories about packages: records, version ranges, scores.
pub mod advisory;
/// Wire types of the admin and public JSON API, one file per noun.
pub mod api;
/// The bundle, a directory that servers without internet access serve from: layout, heads, segments, records.
pub mod bundle;
/// The configuration file `rstudio-pm.gcfg`: as written, merged, validated.
pub mod config;
/// The format of encryption keys and of encrypted values.
pub mod encryption;
/// The basic types: names, digests, times, sources, repositories, snapshots.
pub mod model;
/// Block rules: criteria, order, and the decision about the releases of a package.
pub mod policy;
/// Python's formats: names, versions, file names, metadata, requirements, the simple API, wheels and source archives.
pub mod python;
/// R's formats: DCF, DESCRIPTION, versions, `PACKAGES`, RDS, source archives, repository layout.
pub mod r;
/// HTML pages: components, the style sheet and the script, the setup text of clients.
pub mod web;

// ── stores: rooms with backends ──
/// Builders of git repositories in sandboxes: the protocol, its client, and the program that runs inside.
pub mod builder;
/// Access to the database: SQLite or PostgreSQL, with one set of SQL statements.
pub mod db;
/// Log files, their formats and their rotation.
pub mod logs;
/// Prometheus metrics: one function per series.
pub mod metrics;
/// Package files and rendered indexes by digest, on disk or S3.
pub mod storage;

// ── services ──
/// Tokens: their text, the credentials of a request, the tokens in memory, and their creation.
pub mod auth;
/// Backups, their verification and restore, dumps of the database, and its migration to another provider.
pub mod backup;
/// Builders of git repositories: polls, the queue of builds, credentials, logs.
pub mod build;
/// The data that resolving needs, in memory, replaced after each publish.
pub mod catalog;
/// The servers that share one database: their heartbeats and list, requests of administrators, and the leader.
pub mod cluster;
/// Commands to the server process, and its mode.
pub mod control;
/// The edits of administrators: uploads, packages, sources, repositories, subscriptions.
pub mod edit;
/// Coalesced downloads of package files: one request to the mirror for any number of waiting clients.
pub mod fetch;
/// Running jobs, their progress, and schedules.
pub mod jobs;
/// Transactions: claims trees, writes invisible rows in chunks, publishes or removes them.
pub mod publish;
/// Pages of projects of a Python index: fetched when a client requests one, and written as rows.
pub mod pypi;
/// The read side of repositories: points, owners, files, indexes, listings, explanations.
pub mod serve;
/// The handles that rooms share: configuration, stores, catalog, rules, jobs.
pub mod state;
/// Synchronization: turns the listing of a mirror into one published transaction.
pub mod sync;
/// Sweep and scrub of storage, its ownership, nightly maintenance, and the repair of the clock.
pub mod upkeep;
/// Mirrors, bundles, system requirement rules and advisories, over HTTP or on disk.
pub mod upstream;
/// Download counts, in a separate database.
pub mod usage;

// ── interfaces ──
/// The `rspm` command line, a thin client of the admin API.
pub mod cli;
/// Start, supervision, reload and stop of the daemon.
pub mod daemon;
/// Listeners, TLS, the route table, and the responses.
pub mod http;
/// The `rspm-offline-downloader` command: plan, download, validate.
pub mod offline;
