//! Runs one job in a sandbox, with its log, until it ends or is interrupted.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::failure::BuildFailure;
use super::log::BuildLog;
use super::ssh::agent;
use super::ssh::key::PrivateKey;
use builder::connection::{Connection, Interrupter};
use builder::message::{Event, Job, Limits, Purpose, Report, Role};
use builder::sandbox::Sandbox;

/// Time limit for reading the rest of the log after the end of a job.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of bytes that a job may write to its log.
const MAX_OUTPUT: u64 = 100 << 20;
/// Pause before another connection attempt while all builders of the sandbox are busy.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Maximum number of connection attempts while all builders of the sandbox are busy.
const BUSY_ATTEMPTS: u32 = 240;

/// A job and its descriptors.
pub(super) struct Request {
    pub(super) job: Job,
    /// Directories that the job may read.
    pub(super) readable: Vec<PathBuf>,
    /// The directory of the package, as a tar file.
    pub(super) source: Option<File>,
    /// The concatenated files of the packages that the job installs.
    pub(super) dependencies: Option<File>,
    /// An immutable in-memory file with a credential.
    pub(super) credential: Option<OwnedFd>,
    /// The key with which an SSH agent in the server signs.
    pub(super) key: Option<Arc<PrivateKey>>,
    pub(super) timeout: Duration,
    pub(super) temp_dir: PathBuf,
}

/// Runs a job; returns its report and its result. When `interrupted` completes, the job is stopped.
pub(super) async fn run(
    sandbox: &Sandbox,
    request: Request,
    log: &Arc<BuildLog>,
    interrupted: impl Future<Output = ()>,
) -> Result<(Report, File), BuildFailure> {
    let (sender, mut interrupters) = tokio::sync::mpsc::unbounded_channel();
    let (sandbox, log) = (sandbox.clone(), Arc::clone(log));
    // The flag is also set when this future is dropped.
    let is_over = Arc::new(AtomicBool::new(false));
    let _end = SetWhenDropped(Arc::clone(&is_over));
    let flag = Arc::clone(&is_over);
    // The sandbox of bubblewrap ends with the thread that started it, so one thread runs the whole job.
    let mut work = tokio::task::spawn_blocking(move || run_blocking(&sandbox, request, &log, &sender, &flag));
    let panicked = |error: tokio::task::JoinError| BuildFailure::Temporary(error.to_string());
    tokio::pin!(interrupted);
    let mut interrupter = None;
    loop {
        tokio::select! {
            result = &mut work => return result.map_err(panicked)?,
            Some(new) = interrupters.recv() => interrupter = Some(new),
            () = &mut interrupted => break,
        }
    }
    is_over.store(true, Ordering::Relaxed);
    // The job may open one more connection before it reads the flag.
    loop {
        interrupter.iter().for_each(Interrupter::interrupt);
        tokio::select! {
            _ = &mut work => return Err(BuildFailure::Interrupted),
            Some(new) = interrupters.recv() => interrupter = Some(new),
        }
    }
}

struct SetWhenDropped(Arc<AtomicBool>);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_blocking(
    sandbox: &Sandbox,
    mut request: Request,
    log: &Arc<BuildLog>,
    interrupters: &tokio::sync::mpsc::UnboundedSender<Interrupter>,
    is_over: &AtomicBool,
) -> Result<(Report, File), BuildFailure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut out = tempfile::tempfile_in(&request.temp_dir)?;
        match attempt_job(sandbox, &mut request, &out, log, interrupters) {
            // An interruption before the job starts closes the connection, which is also reported as `Busy`.
            Err(AttemptError::Busy) if is_over.load(Ordering::Relaxed) => {
                return Err(BuildFailure::Interrupted);
            }
            Err(AttemptError::Busy) if attempt < BUSY_ATTEMPTS => std::thread::sleep(BUSY_PAUSE),
            Err(AttemptError::Busy) => {
                return Err(BuildFailure::Temporary("all builders of the sandbox are busy".to_owned()));
            }
            Err(AttemptError::Failed(failure)) => return Err(failure),
            Ok(report) => {
                out.rewind()?;
                return match report.failure {
                    Some(failure) => Err(failure.into()),
                    None => Ok((report, out)),
                };
            }
        }
    }
}

/// The error of an attempt to run a job.
enum AttemptError {
    Busy,
    Failed(BuildFailure),
}

impl From<std::io::Error> for AttemptError {
    fn from(error: std::io::Error) -> AttemptError {
        AttemptError::Failed(error.into())
    }
}

fn attempt_job(
    sandbox: &Sandbox,
    request: &mut Request,
    out: &File,
    log: &Arc<BuildLog>,
    interrupters: &tokio::sync::mpsc::UnboundedSender<Interrupter>,
) -> Result<Report, AttemptError> {
    for file in request.source.iter_mut().chain(&mut request.dependencies) {
        file.rewind()?;
    }
    let (mut log_end, write_end) = std::io::pipe()?;
    let mut connection: Connection =
        sandbox.start(request.job.role(), &request.readable).map_err(|error| {
            AttemptError::Failed(match sandbox.remedy(&error) {
                Some(remedy) => BuildFailure::NoSandbox(format!("{error}; {remedy}")),
                None => error.into(),
            })
        })?;
    // The receiver exists until the job has ended.
    let _ = interrupters.send(connection.interrupter()?);
    let (seconds, idle) = (request.timeout.as_secs().max(1), request.job.role() == Role::Build);
    let limits = sandbox.limits(Limits { seconds, idle, ..Limits::default() });
    let mut descriptors = vec![(Purpose::Log, write_end.as_fd()), (Purpose::Result, out.as_fd())];
    descriptors.extend(request.source.iter().map(|file| (Purpose::Source, file.as_fd())));
    descriptors.extend(request.dependencies.iter().map(|file| (Purpose::Dependencies, file.as_fd())));
    descriptors.extend(request.credential.iter().map(|fd| (Purpose::Credential, fd.as_fd())));
    // The agent ends with the job, because the job has the other end of its connection.
    let agent = request.key.clone().map(agent::start).transpose()?;
    descriptors.extend(agent.iter().map(|fd| (Purpose::Agent, fd.as_fd())));
    let busy = |error| match error {
        builder::connection::JobError::Busy => AttemptError::Busy,
        error => AttemptError::Failed(error.into()),
    };
    connection.start(request.job.clone(), limits, &descriptors).map_err(busy)?;
    drop(descriptors);
    drop(agent);
    drop(write_end);
    let (end_sender, log_ended) = mpsc::channel::<()>();
    let (reader, too_long) = (Arc::clone(log), Arc::new(AtomicBool::new(false)));
    let (is_too_long, interrupter) = (Arc::clone(&too_long), connection.interrupter()?);
    std::thread::Builder::new().name("build log".to_owned()).spawn(move || {
        let (mut buffer, mut count) = (vec![0; 32 << 10], 0);
        while let Ok(length @ 1..) = log_end.read(&mut buffer) {
            reader.write(&buffer[..length]);
            count += length as u64;
            if count > MAX_OUTPUT {
                is_too_long.store(true, Ordering::Relaxed);
                interrupter.interrupt();
                break;
            }
        }
        drop(end_sender);
    })?;
    let result = loop {
        match connection.next_event() {
            Ok(Event::Started { program, .. }) => log.line(&format!("== {program}")),
            Ok(Event::Ended(report)) => break Ok(report),
            Ok(Event::Phase { .. } | Event::Refused { .. } | Event::Unknown) => {}
            Err(error) => break Err(error),
        }
    };
    drop(connection);
    // Waits for the rest of the log. A process that outlives its sandbox may hold the pipe open.
    let _ = log_ended.recv_timeout(LOG_TIMEOUT);
    log.flush();
    if too_long.load(Ordering::Relaxed) {
        let reason = format!("it wrote more than {} MB to its log", MAX_OUTPUT >> 20);
        return Err(AttemptError::Failed(BuildFailure::Final(reason)));
    }
    result.map_err(busy)
}
