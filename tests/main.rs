//! The integration tests: one binary, one folder for each concern.

#![allow(clippy::unwrap_used, reason = "a panic fails the test with its location")]

mod access;
mod admin;
mod advisories;
mod api;
mod backup;
mod binaries;
mod builder;
mod cli;
mod clients;
mod cluster;
mod contract;
mod daemon;
mod encryption;
mod fuzz;
mod git;
mod offline;
mod packaging;
mod python;
mod r;
mod repo;
mod security;
mod support;
mod sync;
mod web;
