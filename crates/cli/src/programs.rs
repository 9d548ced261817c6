//! `rspm check-config` and `rspm migrate`, which are installed programs; how commands run these, and the environment of a
//! running server.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::client::{ParseMode, socket_path};
use super::error::CliError;
use super::output::Format;
use api::flag_values::SuggestedValues;
use base::config::key_file::{CREDENTIALS_VARIABLE, KEY_VARIABLE};

/// The program of the package with this name, which need not be installed with `rspm`.
pub(super) const DOWNLOADER: &str = "rspm-offline-downloader";

/// Returns a command that runs another installed program with this configuration: the program in the directory of
/// `rspm`, otherwise the program on `PATH`.
pub(super) fn program_command(name: &str, config: Option<&Path>) -> Command {
    let sibling = std::env::current_exe()
        .ok()
        .and_then(|executable| Some(executable.canonicalize().ok()?.parent()?.join(name)));
    let program = sibling.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name));
    let mut command = Command::new(program);
    if let Some(file) = config {
        command.arg("--config").arg(file);
    }
    command
}

/// Replaces this process with that of the command. Returns only on failure, with the error.
pub(super) fn exec(mut command: Command) -> CliError {
    let source = command.exec();
    start_error(&command, source)
}

/// Returns the error of a command that could not be started.
pub(super) fn start_error(command: &Command, source: std::io::Error) -> CliError {
    let program = Path::new(command.get_program()).display();
    // Without a path, it is not beside `rspm`.
    let advice =
        if command.get_program() == DOWNLOADER { " (install the package with this name)" } else { "" };
    CliError::Local { operation: format!("run {program}{advice}"), source }
}

/// Returns those environment variables of the running server with this configuration whose names are selected; its
/// systemd unit may have set them. Empty if no server runs, or if the caller may not read its environment.
pub(super) fn server_variables(
    config: Option<&Path>,
    is_selected: fn(&[u8]) -> bool,
) -> Vec<(OsString, OsString)> {
    let environ = || {
        let pid_file = socket_path(config, ParseMode::Lenient).ok()?.with_file_name("rstudio-pm.pid");
        let pid: u32 = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        let process = PathBuf::from(format!("/proc/{pid}"));
        // The process id may have been reused by another program.
        if std::fs::read_to_string(process.join("comm")).ok()?.trim_end() != "rstudio-pm" {
            return None;
        }
        std::fs::read(process.join("environ")).ok()
    };
    environ().map(|environ| variables(&environ, is_selected)).unwrap_or_default()
}

/// Parses a `/proc/PID/environ`.
fn variables(environ: &[u8], is_selected: fn(&[u8]) -> bool) -> Vec<(OsString, OsString)> {
    let entries = environ.split(|byte| *byte == 0);
    entries
        .filter_map(|entry| {
            let separator = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&entry[..separator], entry[separator + 1..].to_vec());
            is_selected(name).then(|| (OsStr::from_bytes(name).to_owned(), OsString::from_vec(value)))
        })
        .collect()
}

/// Replaces this process with `rstudio-pm --check-config`, so that the daemon itself validates its configuration.
pub(super) fn check_config(config: Option<&Path>, format: Format) -> Result<ExitCode, CliError> {
    let mut command = program_command("rstudio-pm", config);
    command.arg("--check-config");
    if format == Format::Json {
        command.args(["--output-format", "json"]);
    }
    for (callers_names, is_selected) in CREDENTIALS {
        if !callers_names.iter().any(|name| std::env::var_os(name).is_some()) {
            let server = server_variables(config, *is_selected).into_iter();
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

#[derive(Debug, Args)]
pub struct Migrate {
    /// The database to fill (default: the one that Database.Provider does not name)
    #[arg(long, value_name = "PROVIDER", value_parser = SuggestedValues(&["sqlite", "postgres"]))]
    pub to: Option<String>,
    /// Read everything and report sizes and problems, but write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Replaces this process with `migrate`, because only the programs of the server use its database.
pub(super) fn migrate(config: Option<&Path>, format: Format, args: &Migrate) -> Result<ExitCode, CliError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_selected_variables_of_an_environment_are_used() {
        let environ = b"HOME=/root\0AWS_ACCESS_KEY_ID=a=b\0AWS_BROKEN\0PACKAGEMANAGER_TOKEN=t\0";
        let aws_variables = variables(environ, |name| name.starts_with(b"AWS_"));
        assert_eq!(aws_variables, [("AWS_ACCESS_KEY_ID".into(), "a=b".into())]);
    }
}
