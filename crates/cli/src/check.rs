//! `rspm check-config`: runs `rstudio-pm --check-config`, so that the daemon itself validates its configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use super::error::CliError;
use super::output::Format;
use super::programs::{exec, program_command, server_variables};
use base::config::key_file::{CREDENTIALS_VARIABLE, KEY_VARIABLE};

/// Replaces this process with `rstudio-pm --check-config`.
pub fn run(config: &Option<PathBuf>, format: Format) -> Result<ExitCode, CliError> {
    let mut command = program_command("rstudio-pm", config.as_deref());
    command.arg("--check-config");
    if format == Format::Json {
        command.args(["--output-format", "json"]);
    }
    for (callers_names, is_selected) in CREDENTIALS {
        if !callers_names.iter().any(|name| std::env::var_os(name).is_some()) {
            let server = server_variables(config.as_deref(), *is_selected).into_iter();
            command.envs(server.filter(|(name, _)| std::env::var_os(name).is_none()));
        }
    }
    Err(exec(command))
}

/// A predicate on the name of a variable.
type NamePredicate = fn(&[u8]) -> bool;

/// Kinds of credentials. Each row has variables, and a predicate on names: if the caller has set none of the
/// variables, the variables of the running server that meet the predicate are used.
const CREDENTIALS: &[(&[&str], NamePredicate)] = &[
    (&["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"], |name| name.starts_with(b"AWS_")),
    (&[KEY_VARIABLE, CREDENTIALS_VARIABLE], is_key),
];

/// Returns whether a variable may contain the encryption key or name its directory.
pub(super) fn is_key(name: &[u8]) -> bool {
    name == KEY_VARIABLE.as_bytes() || name == CREDENTIALS_VARIABLE.as_bytes()
}
