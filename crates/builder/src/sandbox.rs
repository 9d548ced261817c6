//! Chooses the sandbox for builders: systemd units, bubblewrap, none if allowed, or the reason why there is none.

use std::fmt;
use std::io::{Error, ErrorKind, Read, Result, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use tar::{Builder, Header};

use super::bubblewrap;
use super::connection::{Connection, JobError};
use super::message::{BuildRPackage, Cause, DetectPython, Event, Job, JobFailure, Limits, Purpose, Role};

/// The command that enables the sockets of the systemd units.
const ENABLE_SOCKETS: &str = "systemctl enable --now rstudio-pm-fetch.socket rstudio-pm-build.socket";
/// Time limit of a trial of a sandbox: seconds suffice, unless the processors are busy with other work.
const PROBE_SECONDS: u64 = 300;

/// The administrator's choice: the value of `Git.Sandbox`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first sandbox that works.
    #[default]
    Auto,
    Systemd,
    Bubblewrap,
    None,
}

#[derive(Clone, Debug)]
pub struct Paths {
    pub fetch_socket: PathBuf,
    pub build_socket: PathBuf,
    pub builder: PathBuf,
    /// The program `bwrap`.
    pub bubblewrap: PathBuf,
    /// The directory for workspaces of builds without a sandbox.
    pub workspaces: PathBuf,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths {
            fetch_socket: PathBuf::from("/run/rstudio-pm-fetch.sock"),
            build_socket: PathBuf::from("/run/rstudio-pm-build.sock"),
            builder: PathBuf::from("/opt/rstudio-pm/lib/rstudio-pm-builder"),
            bubblewrap: PathBuf::from("/usr/bin/bwrap"),
            workspaces: std::env::temp_dir(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Systemd units: each job has its own user, mount namespace, network namespace and control group.
    Systemd,
    /// Bubblewrap with user namespaces: the same isolation as systemd units, but without a control group.
    Bubblewrap,
    /// No sandbox: jobs run as the user of the server, restricted only by Landlock and resource limits.
    None,
}

#[derive(Clone, Debug)]
pub struct Sandbox {
    pub kind: Kind,
    /// The version of R or Python that was detected in it.
    pub version: String,
    pub directory: String,
    paths: Paths,
}

/// The error if no sandbox works: each kind that was tried, with its error.
#[derive(Debug)]
pub struct NoSandbox {
    pub language: &'static str,
    /// The kinds that were tried, and their errors.
    pub attempts: Vec<(Kind, JobError)>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Systemd => "systemd",
            Kind::Bubblewrap => "bubblewrap",
            Kind::None => "no sandbox",
        })
    }
}

impl fmt::Display for NoSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let language = self.language;
        write!(
            f,
            "Unable to use {language} on this system. Building Git packages for {language} will be disabled."
        )?;
        for (kind, error) in &self.attempts {
            write!(f, " {kind}: {error}.")?;
        }
        // A sandbox in which the job was refused works.
        if self.attempts.iter().any(|(_, error)| matches!(error, JobError::Refused(_))) {
            return Ok(());
        }
        write!(
            f,
            " Enable the sockets with `{ENABLE_SOCKETS}`, or \
             install bubblewrap where systemd does not run and user namespaces are permitted, or set \
             Git.AllowUnsandboxedGitBuilds = true to build with the rights of the server."
        )
    }
}

impl std::error::Error for NoSandbox {}

/// Returns the first sandbox in which a minimal R package can be built. `allow_unsandboxed` permits [`Kind::None`]; `r`
/// is the installation directory of R.
pub fn detect(
    choice: Choice,
    allow_unsandboxed: bool,
    r: Option<&str>,
    paths: &Paths,
) -> std::result::Result<Sandbox, NoSandbox> {
    detect_with(choice, allow_unsandboxed, "R", paths, |sandbox| sandbox.build_test_package(r))
}

/// Returns the first sandbox in which Python can be run; `python` is its installation directory.
pub fn detect_python(
    choice: Choice,
    allow_unsandboxed: bool,
    python: Option<&str>,
    paths: &Paths,
) -> std::result::Result<Sandbox, NoSandbox> {
    detect_with(choice, allow_unsandboxed, "Python", paths, |sandbox| sandbox.find_python(python))
}

fn detect_with(
    choice: Choice,
    allow_unsandboxed: bool,
    language: &'static str,
    paths: &Paths,
    program: impl Fn(&Sandbox) -> std::result::Result<String, JobError>,
) -> std::result::Result<Sandbox, NoSandbox> {
    let kinds = match choice {
        Choice::Auto => vec![Kind::Systemd, Kind::Bubblewrap, Kind::None],
        Choice::Systemd => vec![Kind::Systemd],
        Choice::Bubblewrap => vec![Kind::Bubblewrap],
        Choice::None => vec![Kind::None],
    };
    let mut attempts = Vec::new();
    for kind in kinds.into_iter().filter(|kind| *kind != Kind::None || allow_unsandboxed) {
        // If a sandbox is only busy or slow, [`Kind::None`] must not replace it, because the result is cached.
        if kind == Kind::None && attempts.iter().any(|(_, error)| is_overload(error)) {
            break;
        }
        let sandbox =
            Sandbox { kind, version: String::new(), directory: String::new(), paths: paths.clone() };
        match program(&sandbox) {
            Ok(program) => {
                let text = program.strip_prefix(language).unwrap_or(&program).trim();
                let (version, directory) = text.split_once(" at ").unwrap_or((text, ""));
                return Ok(Sandbox {
                    version: version.to_owned(),
                    directory: directory.to_owned(),
                    ..sandbox
                });
            }
            Err(error) => attempts.push((kind, error)),
        }
    }
    Err(NoSandbox { language, attempts })
}

/// Returns whether an attempt failed because the sandbox was busy or slow, so that it may still work.
fn is_overload(error: &JobError) -> bool {
    match error {
        JobError::Busy => true,
        JobError::Io(error) => error.kind() == ErrorKind::TimedOut,
        JobError::Exit | JobError::Refused(_) | JobError::Ended | JobError::Message(_) => false,
    }
}

/// Returns the error for an attempt whose job failed.
fn refusal(failure: &JobFailure, reason: String) -> JobError {
    match failure.cause {
        Cause::Time | Cause::Processor => std::io::Error::new(ErrorKind::TimedOut, reason).into(),
        _ => JobError::Refused(reason),
    }
}

/// The end of the job of a trial.
struct TrialEnd {
    /// Name, version and directory of the program that the job ran.
    program: String,
    failure: Option<JobFailure>,
    /// Reads the log, and returns its end.
    log: JoinHandle<String>,
}

impl Sandbox {
    /// Starts a builder. `readable_paths` are local repositories for the role `fetch`, and other directories, such as a
    /// library, for the role `build`.
    pub fn start(&self, role: Role, readable_paths: &[PathBuf]) -> Result<Connection> {
        match self.kind {
            Kind::Systemd => {
                let path = match role {
                    Role::Fetch => &self.paths.fetch_socket,
                    Role::Build => &self.paths.build_socket,
                };
                Connection::open(path)
                    .map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
            }
            Kind::Bubblewrap => {
                let mut command =
                    bubblewrap::command(&self.paths.bubblewrap, &self.paths.builder, role, readable_paths);
                Connection::spawn(&mut command, None)
            }
            Kind::None => {
                let workspace =
                    tempfile::Builder::new().prefix("build.").tempdir_in(&self.paths.workspaces)?;
                let mut command = Command::new(&self.paths.builder);
                command.arg(role.argument()).arg(workspace.path()).env_clear().stderr(Stdio::inherit());
                Connection::spawn(&mut command, Some(workspace))
            }
        }
    }

    /// Returns the command for administrators that corrects the error of [`Sandbox::start`], if no unit listens on
    /// the socket; `None` for other errors.
    pub fn remedy(&self, error: &Error) -> Option<String> {
        let is_disabled = self.kind == Kind::Systemd
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
        is_disabled.then(|| format!("enable the sockets of the builders: {ENABLE_SOCKETS}"))
    }

    /// Adds the limits of this sandbox to those of a job; nothing for systemd units, which have their own.
    pub fn limits(&self, limits: Limits) -> Limits {
        match self.kind {
            Kind::Systemd => limits,
            Kind::Bubblewrap => Limits {
                memory: limits.memory.or(Some(4 << 30)),
                processes: limits.processes.or(Some(512)),
                ..limits
            },
            // No limit on processes, because it would include all processes of the server's user.
            Kind::None => Limits { memory: limits.memory.or(Some(4 << 30)), processes: None, ..limits },
        }
    }

    /// Runs a job that needs the installation in a directory, and waits for its end.
    fn try_job(
        &self,
        job: Job,
        directory: Option<&str>,
        files: &[(Purpose, BorrowedFd<'_>)],
    ) -> std::result::Result<TrialEnd, JobError> {
        let (log, log_writer) = std::io::pipe()?;
        let readable_paths: Vec<_> = directory.iter().map(PathBuf::from).collect();
        let mut connection = self.start(Role::Build, &readable_paths)?;
        let limits = self.limits(Limits { seconds: PROBE_SECONDS, ..Limits::default() });
        let mut descriptors = vec![(Purpose::Log, log_writer.as_fd())];
        descriptors.extend_from_slice(files);
        connection.start(job, limits, &descriptors)?;
        drop(log_writer);
        // The log is read to its end, so that the builder does not block.
        let log = std::thread::spawn(move || tail(log));
        let mut started = String::new();
        let failure = loop {
            match connection.next_event()? {
                Event::Started { program, .. } => started = program,
                Event::Ended(report) => break report.failure,
                Event::Phase { .. } | Event::Refused { .. } | Event::Unknown => {}
            }
        };
        Ok(TrialEnd { program: started, failure, log })
    }

    /// Runs Python; returns its name, version and directory.
    fn find_python(&self, python: Option<&str>) -> std::result::Result<String, JobError> {
        let job = Job::DetectPython(DetectPython { python: python.map(str::to_owned) });
        let TrialEnd { program, failure, log } = self.try_job(job, python, &[])?;
        let _ = log.join();
        match failure {
            None => Ok(program),
            Some(failure) => Err(refusal(&failure, failure.reason.clone())),
        }
    }

    /// Builds a minimal package; returns the name, version and directory of R.
    fn build_test_package(&self, r: Option<&str>) -> std::result::Result<String, JobError> {
        let mut source = Builder::new(tempfile::tempfile()?);
        let description = "Package: probe\nVersion: 1.0\nTitle: T\n";
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(description.len() as u64);
        source.append_data(&mut header, "DESCRIPTION", description.as_bytes())?;
        let mut source = source.into_inner()?;
        source.rewind()?;
        let result = tempfile::tempfile()?;
        let job = Job::BuildRPackage(BuildRPackage { r: r.map(str::to_owned), ..BuildRPackage::default() });
        let files = [(Purpose::Result, result.as_fd()), (Purpose::Source, source.as_fd())];
        let TrialEnd { program, failure, log } = self.try_job(job, r, &files)?;
        match failure {
            None => Ok(program),
            Some(failure) => {
                let log = log.join().unwrap_or_default();
                let log = if log.is_empty() { log } else { format!("; the log ends with: {log}") };
                Err(refusal(&failure, format!("{failure}{log}")))
            }
        }
    }
}

/// Returns the last three lines of the first 64 kB of a log.
fn tail(mut log: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = log.by_ref().take(64 << 10).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_without_time_for_the_attempt_is_not_replaced_by_none() {
        let slow = JobFailure { cause: Cause::Time, reason: String::new() };
        let broken = JobFailure { cause: Cause::Builder, reason: String::new() };
        assert!(is_overload(&refusal(&slow, "slow".to_owned())) && is_overload(&JobError::Busy));
        assert!(!is_overload(&refusal(&broken, "no R".to_owned())));
        assert!(!is_overload(&JobError::Io(ErrorKind::NotFound.into())));
    }
}
