//! `rspm check-config`: the daemon is the judge of its own configuration; this runs it and passes its words on.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::args::Format;
use super::error::CliError;

/// Becomes `rstudio-pm --check-config`, the program beside this one or else the one on the path.
///
/// # Errors
/// There is no such program.
pub fn run(config: &Option<PathBuf>, format: Format) -> Result<ExitCode, CliError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|me| Some(me.canonicalize().ok()?.parent()?.join("rstudio-pm")));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("rstudio-pm"));
    let mut command = Command::new(&program);
    command.arg("--check-config");
    if let Some(file) = config {
        command.arg("--config").arg(file);
    }
    if format == Format::Json {
        command.args(["--output-format", "json"]);
    }
    // Only an error comes back from exec.
    let source = command.exec();
    Err(CliError::Local { doing: format!("running {}", program.display()), source })
}
