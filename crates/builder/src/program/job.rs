//! A running job: its connection, log and deadline, and the commands that it runs.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::resources::{OomKills, Starvation};
use super::workspace::Workspace;
use super::{confinement, descendants};
use crate::channel;
use crate::message::{Cause, Event, JobFailure, Limits, VERSION};

/// The reason why a job ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The job failed; the failure is reported.
    Failed(JobFailure),
    /// The server closed the connection.
    Disconnected,
}

impl From<JobFailure> for Stop {
    fn from(failure: JobFailure) -> Stop {
        Stop::Failed(failure)
    }
}

/// Returns a function that converts an I/O error of the builder itself to a failure.
pub(super) fn io_failure(operation: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Stop {
    move |error| {
        let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge);
        let cause = if is_full { Cause::Size } else { Cause::Builder };
        JobFailure::new(cause, format!("{operation}: {error}")).into()
    }
}

pub(super) struct RunningJob {
    pub(super) limits: Limits,
    pub(super) workspace: Workspace,
    connection: OwnedFd,
    log: File,
    deadline: Instant,
    has_leftovers: Cell<bool>,
    starvation: RefCell<Starvation>,
}

impl RunningJob {
    pub(super) fn new(
        connection: OwnedFd,
        log: File,
        limits: Limits,
        workspace: Workspace,
        deadline: Instant,
    ) -> RunningJob {
        let (has_leftovers, starvation) = (Cell::new(false), RefCell::new(Starvation::begin()));
        RunningJob { limits, workspace, connection, log, deadline, has_leftovers, starvation }
    }

    /// Sends an event; fails with [`Stop::Disconnected`] if the connection is closed.
    pub(super) fn send(&self, event: &Event) -> Result<(), Stop> {
        let packet = event.encode().map_err(|error| JobFailure::new(Cause::Builder, error.to_string()))?;
        channel::send(&self.connection, &packet, &[]).map_err(|_| Stop::Disconnected)
    }

    /// Reports R or Python: its version, and the installation directory that has the program `bin/…`.
    pub(super) fn started(&self, name: &str, version: &str, program: &Path) -> Result<(), Stop> {
        let directory = program.ancestors().nth(2).unwrap_or(program).display();
        self.send(&Event::Started { v: VERSION, program: format!("{name} {version} at {directory}") })
    }

    /// Announces a phase of the job, by an event and in the log.
    pub(super) fn phase(&self, name: &str) -> Result<(), Stop> {
        self.write_log(&format!("== {name}"));
        self.send(&Event::Phase { name: name.to_owned() })
    }

    /// Writes a line to the log. Errors are ignored, because the log may have no reader.
    pub(super) fn write_log(&self, line: &str) {
        let _ = (&self.log).write_all(format!("{line}\n").as_bytes());
    }

    /// Runs a command, with its output in the log. An exit code other than 0 is a failure.
    pub(super) fn run(&self, name: &str, command: &mut Command) -> Result<(), Stop> {
        let oom_kills = OomKills::now();
        let status = self.exit_status(name, command)?;
        self.check(name, status, oom_kills)
    }

    /// Runs a command, with its output in the log, and returns its exit status.
    pub(super) fn exit_status(&self, name: &str, command: &mut Command) -> Result<ExitStatus, Stop> {
        let output = || self.log.try_clone().map_err(io_failure("could not forward the log"));
        let child = self.spawn(name, command.stdout(output()?).stderr(output()?))?;
        self.wait(child)
    }

    /// Runs a command and returns its standard output; more than `limit` bytes are a failure.
    pub(super) fn output(&self, name: &str, command: &mut Command, limit: u64) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        self.read(name, command, |stdout| stdout.take(limit + 1).read_to_end(&mut bytes).map(|_| ()))?;
        if bytes.len() as u64 > limit {
            return Err(JobFailure::new(Cause::Size, format!("{name} wrote more than {limit} bytes")).into());
        }
        Ok(bytes)
    }

    /// Runs a command and passes each line of its standard output to `handle_line`.
    pub(super) fn lines(
        &self,
        name: &str,
        command: &mut Command,
        mut handle_line: impl FnMut(&[u8]) -> std::io::Result<()> + Send,
    ) -> Result<(), Stop> {
        self.read(name, command, |stdout| {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
                handle_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
                line.clear();
            }
            Ok(())
        })
    }

    fn read(
        &self,
        name: &str,
        command: &mut Command,
        read: impl FnOnce(&mut dyn Read) -> std::io::Result<()> + Send,
    ) -> Result<(), Stop> {
        let failure = || io_failure(format!("could not read the output of {name}"));
        let log = self.log.try_clone().map_err(io_failure("could not forward the log"))?;
        let (mut stdout, writer) = std::io::pipe().map_err(failure())?;
        let oom_kills = OomKills::now();
        std::thread::scope(|scope| {
            // Before the command, which may create all processes that the limit permits.
            let reader = std::thread::Builder::new().spawn_scoped(scope, move || {
                let result = read(&mut stdout);
                // Reads the rest, because a command that writes more than is read would block.
                std::io::copy(&mut stdout, &mut std::io::sink()).and(result)
            });
            let reader = reader.map_err(failure())?;
            let child = self.spawn(name, command.stdout(writer).stderr(log));
            // Closes the end of the pipe that `command` holds.
            command.stdout(Stdio::null());
            let status = self.wait(child?);
            let read_result =
                reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader panicked")));
            self.check(name, status?, oom_kills)?;
            read_result.map_err(failure())
        })
    }

    /// Starts a command in a new process group, without standard input.
    fn spawn(&self, name: &str, command: &mut Command) -> Result<Child, Stop> {
        if self.limits.idle {
            confinement::run_when_idle(command);
        }
        command.stdin(Stdio::null()).process_group(0).spawn().map_err(|error| {
            let reason = format!("could not run {name} ({}): {error}", command.get_program().display());
            JobFailure::new(Cause::Builder, reason).into()
        })
    }

    /// Waits for a command, and then ends all processes that it left running.
    fn wait(&self, mut child: Child) -> Result<ExitStatus, Stop> {
        let pid = Pid::from_child(&child);
        let has_exited = (|| {
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            let mut poll_fds = [
                PollFd::new(&self.connection, PollFlags::IN),
                PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
            ];
            loop {
                let sample_at = (Instant::now() + SAMPLE_INTERVAL).min(self.deadline);
                match channel::wait(&mut poll_fds, sample_at) {
                    Err(error) if error.kind() == ErrorKind::TimedOut => {
                        self.starvation.borrow_mut().sample();
                        if Instant::now() >= self.deadline {
                            return Err(error);
                        }
                    }
                    result => break result?,
                }
            }
            // The server sends nothing after the request, so any event on the connection means that it was closed.
            Ok::<_, std::io::Error>(poll_fds[0].revents().is_empty())
        })();
        let status = if matches!(has_exited, Ok(true)) {
            Some(child.wait())
        } else {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = child.kill();
            // Waiting could outlast the server's timeout: a process of idle priority needs the processor to end, too.
            None
        };
        if status.is_some() && !descendants::wait_for_end() {
            self.has_leftovers.set(true);
        }
        descendants::end_all();
        if let Some(status) = status {
            return status.map_err(io_failure("could not wait for a command"));
        }
        match has_exited {
            Ok(_) => Err(Stop::Disconnected),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let reason = format!("the time limit of {} seconds was reached", self.limits.seconds);
                if self.starvation.borrow().is_most_of(Duration::from_secs(self.limits.seconds)) {
                    let reason = format!(
                        "{reason} while other processes used the processors: builds run only on processors that are \
                         otherwise idle"
                    );
                    return Err(JobFailure::new(Cause::Processor, reason).into());
                }
                Err(JobFailure::new(Cause::Time, reason).into())
            }
            Err(error) => Err(io_failure("could not wait for a command")(error)),
        }
    }

    /// Returns whether a command left processes running, which were killed.
    pub(super) fn has_leftovers(&self) -> bool {
        self.has_leftovers.get()
    }

    /// Returns an error if a command failed; the error names the limit that the command reached, if known.
    fn check(&self, name: &str, status: ExitStatus, oom_kills: OomKills) -> Result<(), Stop> {
        if status.success() {
            return Ok(());
        }
        let (cause, reason) = if oom_kills.has_increased() {
            (
                Cause::Memory,
                "the memory of the sandbox was exhausted and the kernel killed a process".to_owned(),
            )
        } else if status.signal() == Some(Signal::XFSZ.as_raw()) {
            (Cause::Size, format!("a file reached the limit of {} bytes", self.limits.file_size))
        } else if self.workspace.is_full() {
            (Cause::Size, "the disk space of the sandbox was exhausted".to_owned())
        } else {
            (Cause::Command, "see the log".to_owned())
        };
        let ending = match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "failed".to_owned(),
        };
        Err(JobFailure::new(cause, format!("{name} {ending}: {reason}")).into())
    }
}

/// Interval between two samples of the processor times.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum length of a line that [`RunningJob::lines`] passes on, in bytes; a longer line is passed on in pieces.
const MAX_LINE: u64 = 64 << 10;
