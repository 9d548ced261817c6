//! The integration tests: one binary, one folder for each concern.

mod admin;
mod contract;
mod r;
mod support;
