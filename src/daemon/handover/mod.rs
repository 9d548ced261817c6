//! Upgrades without dropped connections: on SIGUSR2 the running server starts the installed program, passes it the
//! listening sockets and finishes its requests ([`outgoing`]); the new server serves once it is ready ([`incoming`]).
//!
//! Both servers communicate over a socket pair ([`protocol`]); the new server gets its end as standard input. At any
//! time at least one process accepts connections, one is the main process for systemd, and at most one runs background
//! tasks.

pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod protocol;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use super::configuration;

/// The steps of a take-over, as the running server passes them to the new program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TakeOver {
    /// Starts the process that serves, and exits, so that the new process is not a child of the old server: systemd
    /// would treat a child as a foreign process and kill it at the next stop.
    Detach,
    /// Receives the sockets over standard input and serves.
    Serve,
}

const ARGUMENT: &str = "--take-over";

/// Environment variables with the descriptors and the ID of this process, which the new server must not inherit.
const PROCESS_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The path and the arguments of a program. A package manager may have replaced the file since the start.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Returns the command line of this process. Must be called at its start, while the program file exists.
    pub(super) fn current() -> Program {
        let mut arguments = std::env::args_os();
        let path = arguments.next().map(PathBuf::from).filter(|path| path.is_absolute());
        let path = path.or_else(|| std::env::current_exe().ok());
        let is_inherited = |argument: &OsString| !argument.to_string_lossy().starts_with(ARGUMENT);
        Program {
            path: path.unwrap_or_else(|| PathBuf::from("/opt/rstudio-pm/bin/rstudio-pm")),
            arguments: arguments.filter(is_inherited).collect(),
        }
    }

    fn command(&self, step: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(format!("{ARGUMENT}={step}"));
        PROCESS_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(configuration::key());
        command
    }
}

/// Starts the process that serves, with the standard streams of this process, without waiting for it.
pub(super) fn detach() -> std::io::Result<()> {
    Program::current().command("serve").spawn().map(drop)
}
