//! An upgrade without a cut: on SIGUSR2 the running server starts the program that is installed now, gives it the
//! listening sockets, and finishes what it began ([`giving`]); the new one serves once it can ([`taking`]).
//!
//! They talk over a pair of sockets ([`words`]), the new one's standard input at first. Between them they hold the
//! rule that there is always one who accepts, one main process for systemd, and one who runs what runs by itself.

pub(super) mod giving;
pub(super) mod taking;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::ValueEnum;

/// How a program is started by the one that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TakeOver {
    /// Only starts the one that serves and ends, so that this one is no child of the server: systemd would take it
    /// for a stranger and kill it at the next stop.
    Detach,
    /// Takes the sockets from standard input and serves.
    Serve,
}

const ARGUMENT: &str = "--take-over";

/// Meant for another process: numbers of descriptors, and process ids that are not the new one's.
const NOT_INHERITED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// What was started, and with what: the path, not the file, which a package manager replaces.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As this process was started; to be asked at its start, while its file is still there.
    pub(super) fn started() -> Program {
        let mut given = std::env::args_os();
        let path = given.next().map(PathBuf::from).filter(|path| path.is_absolute());
        let path = path.or_else(|| std::env::current_exe().ok());
        let ours = |argument: &OsString| !argument.to_string_lossy().starts_with(ARGUMENT);
        Program {
            path: path.unwrap_or_else(|| PathBuf::from("/opt/rstudio-pm/bin/rstudio-pm")),
            arguments: given.filter(ours).collect(),
        }
    }

    fn command(&self, step: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(format!("{ARGUMENT}={step}"));
        NOT_INHERITED.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }
}

/// Starts the one that serves, with this one's standard streams, and waits for nothing.
pub(super) fn detach() -> ExitCode {
    match Program::started().command("serve").spawn() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => super::fail(&format!("the new program cannot be started: {error}")),
    }
}
