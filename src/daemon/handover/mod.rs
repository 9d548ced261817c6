//! Upgrades without dropped connections: on SIGUSR2 the running server starts the installed program, passes it the
//! listening sockets and finishes its requests ([`outgoing`]); the new server serves once it is ready ([`incoming`]).
//!
//! Both communicate over a socket pair ([`protocol`]), standard input of the new server. At any time at least one
//! process accepts connections, one is the main process for systemd, and at most one runs background tasks.

pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod protocol;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

use super::configuration;

/// The steps of a take-over, as the running server passes them to the new program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TakeOver {
    /// Starts the process that serves, and exits: systemd would treat a child of the old server as a foreign
    /// process and kill it at the next stop.
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

/// The older server processes that still finish requests, and to which signals are forwarded; cloning shares the list.
#[derive(Clone, Debug, Default)]
pub struct Predecessors(Arc<Mutex<Vec<EarlierServer>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EarlierServer {
    pid: i32,
    /// Start time in clock ticks since boot, which distinguishes the process from a later one with the same ID.
    start_time: u64,
}

impl Predecessors {
    /// Adds a process that has handed over to this one and still finishes its requests, if it exists.
    pub fn add(&self, pid: i32) {
        if let Some(start) = start_time(pid) {
            self.0.lock().push(EarlierServer { pid, start_time: start });
        }
    }

    /// Sends a signal to the processes that still exist; returns their IDs.
    pub fn signal(&self, signal: Signal) -> Vec<i32> {
        let mut processes = self.0.lock();
        processes.retain(|process| start_time(process.pid) == Some(process.start_time));
        processes.retain(|process| kill(Pid::from_raw(process.pid), signal).is_ok());
        processes.iter().map(|process| process.pid).collect()
    }
}

/// Returns the start time of a process; `None` if it does not exist, cannot be read, or is a zombie.
fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `/proc/[pid]/stat` (proc_pid_stat(5)). The second field, the program's name, may contain any character.
fn parse_start_time(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_start_time_is_the_twenty_second_field_with_any_process_name() {
        let rest: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        assert_eq!(parse_start_time(&format!("7 (a) b) S {}", rest.join(" "))), Some(22));
        assert_eq!(parse_start_time(&format!("7 (a) Z {}", rest.join(" "))), None);
        assert_eq!(parse_start_time("7 (a) S 1 2"), None);
        assert_eq!(parse_start_time(""), None);
    }

    #[test]
    fn running_processes_get_the_signal_and_ended_ones_are_removed() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        let predecessors = Predecessors::default();
        predecessors.add(pid);
        predecessors.add(i32::MAX);
        assert_eq!(predecessors.signal(Signal::SIGCONT), [pid]);
        assert_eq!(predecessors.signal(Signal::SIGTERM), [pid]);
        assert_eq!(child.wait().expect("our child").signal(), Some(15));
        assert_eq!(predecessors.signal(Signal::SIGTERM), [0; 0]);
    }
}
