//! Programs for Node.js that `tests/setup` installs, and its own Node.js: the ones of distributions differ.

use std::path::PathBuf;
use std::process::Command;

fn folder() -> PathBuf {
    std::env::var_os("RSPM_TEST_NODE")
        .expect("RSPM_TEST_NODE: run tests/setup, then . tests/setup.env")
        .into()
}

/// A command that runs Node.js.
pub(crate) fn command() -> Command {
    Command::new(folder().join("node"))
}

/// The folder of a module, or of all of them for `""`.
pub(crate) fn module(name: &str) -> PathBuf {
    folder().join("node_modules").join(name)
}
