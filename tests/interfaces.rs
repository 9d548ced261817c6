//! What administrators and clients see: commands, pages, the API, repositories with real clients, the downloader, backups.

#![allow(clippy::unwrap_used, reason = "a panic fails the test with its location")]

mod access;
mod api;
mod backup;
mod cli;
mod clients;
mod offline;
mod packaging;
mod python;
#[allow(dead_code, reason = "the other tests use more of it")]
mod support;
mod web;
