//! The installed programs, for commands that need no running server, and the environment of a running one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::{ParseMode, socket_path};
use super::error::CliError;

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
    CliError::Local { operation: format!("run {}", Path::new(command.get_program()).display()), source }
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
