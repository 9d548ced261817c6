//! The integration tests, in three programs that are compiled beside each other, with a folder for each concern:
//! `integration` tests what is inside, `interfaces` what administrators and clients see, and `quick` needs only the programs of
//! this project.

#![allow(clippy::unwrap_used, reason = "a panic fails the test with its location")]

mod admin;
mod advisories;
mod binaries;
mod builder;
mod cluster;
mod contract;
mod daemon;
mod encryption;
mod git;
mod r;
mod repo;
mod sample;
mod security;
#[allow(dead_code, reason = "the other tests use more of it")]
mod support;
mod sync;
