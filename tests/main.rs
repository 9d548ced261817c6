//! The integration tests: one binary, one folder for each concern.

mod r;
mod support;
