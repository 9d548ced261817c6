//! `rspm license`: the license commands of Posit Package Manager, which scripts may run.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::output::print_part;

/// Arguments of `license`.
#[derive(Debug, Args)]
pub struct License {
    /// Any command of the license-manager of Posit Package Manager, with any flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Prints that no license is needed.
pub fn run() -> Result<ExitCode, CliError> {
    let text = "No license is needed: this server is free software, and all of its features are enabled.\n";
    print_part(text).map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}
