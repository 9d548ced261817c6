//! Loads the configuration file, with the overrides of the environment.

use std::path::Path;

use crate::config::{self, ConfigError, Loaded};

/// Loads and validates a configuration file.
///
/// # Errors
/// The file cannot be read or is not valid.
pub(super) fn load(file: &Path) -> Result<Loaded, ConfigError> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    config::load(file, variables)
}
