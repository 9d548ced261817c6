//! `rspm migrate`: runs the program `migrate`, because only the programs of the server use its database.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::output::Format;
use super::programs::{exec, program_command};
use api::suggested_values::SuggestedValues;

#[derive(Debug, Args)]
pub struct Migrate {
    /// The database to fill (default: the one that Database.Provider does not name)
    #[arg(long, value_name = "PROVIDER", value_parser = SuggestedValues(&["sqlite", "postgres"]))]
    pub to: Option<String>,
    /// Read everything and report sizes and problems, but write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Replaces this process with `migrate`: the program in the directory of `rspm`, otherwise the program on `PATH`.
pub(super) fn run(config: Option<&Path>, format: Format, args: &Migrate) -> Result<ExitCode, CliError> {
    let mut command = program_command("migrate", config);
    if let Some(to) = &args.to {
        command.arg("--to").arg(to);
    }
    if args.dry_run {
        command.arg("--dry-run");
    }
    if format == Format::Json {
        command.args(["--output-format", "json"]);
    }
    Err(exec(command))
}
