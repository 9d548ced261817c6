//! `rspm check-config`: runs `rstudio-pm --check-config`, so that the daemon itself validates its configuration.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::client::{ParseMode, socket_path};
use super::error::CliError;
use super::output::Format;

/// Replaces this process by `rstudio-pm --check-config`: the program in the same directory, or else the one on `PATH`.
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
    if !CREDENTIALS.iter().any(|name| std::env::var_os(name).is_some()) {
        let server = environment_of_server(config.as_deref()).unwrap_or_default();
        let lacking = server.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
        command.envs(lacking);
    }
    // `exec` returns only on failure.
    let source = command.exec();
    Err(CliError::Local { doing: format!("running {}", program.display()), source })
}

/// Variables by which the caller chooses its own credentials; with one of them the server's are not used.
const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"];

/// Returns the variables `AWS_…` of the server that runs with this configuration, which its unit may have set; `None`
/// when no server runs, or the caller may not read its environment.
fn environment_of_server(config: Option<&Path>) -> Option<Vec<(OsString, OsString)>> {
    let pid_file = socket_path(config, ParseMode::Lenient).ok()?.with_file_name("rstudio-pm.pid");
    let pid: u32 = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    // The process id may have been reused by another program.
    if std::fs::read_to_string(process.join("comm")).ok()?.trim_end() != "rstudio-pm" {
        return None;
    }
    Some(variables(&std::fs::read(process.join("environ")).ok()?))
}

/// Parses the variables `AWS_…` of a `/proc/PID/environ`.
fn variables(environ: &[u8]) -> Vec<(OsString, OsString)> {
    let of_aws = environ.split(|byte| *byte == 0).filter(|line| line.starts_with(b"AWS_"));
    of_aws
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (OsStr::from_bytes(&line[..at]), line[at + 1..].to_vec());
            Some((name.to_owned(), OsString::from_vec(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_s3_variables_of_an_environment_are_used() {
        let found = variables(b"HOME=/root\0AWS_ACCESS_KEY_ID=a=b\0AWS_BROKEN\0PACKAGEMANAGER_TOKEN=t\0");
        assert_eq!(found, [("AWS_ACCESS_KEY_ID".into(), "a=b".into())]);
    }
}
