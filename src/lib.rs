//! A package server for R, Bioconductor and Python: the daemon `rstudio-pm` and its command line `rspm`.
//!
//! The story has three parts.
//!
//! 1. **Take in.** [`upstream`] reads a mirror, [`sync`] plans what changed and writes it, [`repo`] takes the
//!    packages an administrator adds. Bytes go to [`storage`] under their SHA-256 first, rows to [`db`] second.
//! 2. **Resolve.** Every published state of a package list is a numbered step; [`catalog`] turns what a URL asks
//!    for (`latest`, a date, a transaction) into a point, without touching the database.
//! 3. **Serve.** [`http`] parses the address, asks [`repo`] for an index or a file and answers; [`daemon`] starts,
//!    supervises and stops all of it; [`cli`] talks to the daemon over its admin API.
//!
//! | band | rooms | may use |
//! |---|---|---|
//! | words (pure) | `model` `r` `bundle` `advisory` `api` `config` | `r`, `api` → `model`; `bundle`, `advisory` → `model`, `r` |
//! | stores | `metrics` `db` `storage` `logs` | `model`, `config`; all of them → `metrics` |
//! | work | `upstream` `state` `catalog` `jobs` `control` `repo` `sync` `usage` | lower bands; `control` nobody; `state` → `upstream`, `catalog`, `jobs`, `control`; `repo`, `sync` → all of these; `usage` → `state`, `jobs` |
//! | faces | `http` `daemon` `cli` `offline` | lower bands; `daemon` → `http`; `cli` only `api`, `config`, `model`; `offline` neither `db` nor `state` |
//!
//! `tests/architecture.rs` holds the same table as data and fails on any other edge.

// ── words: pure; no I/O, no async, no clock ──
/// Advisories about packages: records, ranges of versions, scores.
pub mod advisory;
/// Wire types of the admin and public JSON API, one file per noun.
pub mod api;
/// The directory that servers without internet serve from: layout, heads, segments, records.
pub mod bundle;
/// `rstudio-pm.gcfg`: as written, merged, validated.
pub mod config;
/// The nouns everything else is written in: names, digests, times, sources, repositories, snapshots.
pub mod model;
/// R's formats: DCF, DESCRIPTION, versions, `PACKAGES`, RDS, source archives, repository layout.
pub mod r;

// ── stores: rooms with backends ──
/// SQLite and PostgreSQL behind one SQL text.
pub mod db;
/// Log files that survive rotation.
pub mod logs;
/// What Prometheus is told: names, counters, and the functions by which the rooms tell.
pub mod metrics;
/// Package bytes and rendered indexes by digest, on disk or S3.
pub mod storage;

// ── work ──
/// What resolving needs, in memory, swapped after each publish.
pub mod catalog;
/// Commands to the process itself, and the mode it is in.
pub mod control;
/// Jobs under way, their progress, and the schedule.
pub mod jobs;
/// Repositories: indexes, files, lazy fetches, and every edit an administrator makes.
pub mod repo;
/// Handles of the stores and the rest of the work rooms.
pub mod state;
/// From what a mirror declares to one published transaction.
pub mod sync;
/// Mirrors, rules and advisories over HTTP or on disk.
pub mod upstream;
/// Downloads counted: beside the requests, into a database of its own.
pub mod usage;

// ── faces ──
/// The `rspm` command line, a thin client of the admin API.
pub mod cli;
/// Start, supervise, reload, stop.
pub mod daemon;
/// Listeners, TLS, the one route table, and the answers.
pub mod http;
/// The `rspm-offline-downloader` command: plan, download, validate.
pub mod offline;
