//! The program `rstudio-pm-builder`, which runs one job inside a sandbox: `fetch` runs git, `build` runs code of the
//! repository. Standard input is the connection to the server.

mod build;
mod confinement;
mod descendants;
mod fetch;
mod job;
mod resources;
mod workspace;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use self::job::{RunningJob, Stop, io_failure};
use self::workspace::Workspace;
use super::channel;
use super::message::{self, Cause, Event, JobFailure, Purpose, Report, Request};

/// The default directory of a job. In the systemd units, it is a file system in memory.
const DEFAULT_WORKSPACE: &str = "/build";
/// Time limit for the request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

type Descriptors = BTreeMap<Purpose, OwnedFd>;

/// The program `rstudio-pm-builder`.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let workspace = arguments.next().unwrap_or_else(|| DEFAULT_WORKSPACE.to_owned());
    match role.as_str() {
        "credential" => fetch::credential::main(&workspace),
        "fetch" | "build" => match serve(&role, Path::new(&workspace)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rstudio-pm-builder {role}: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!(
                "The package server runs this program in its sandboxes: rstudio-pm-builder fetch|build [DIRECTORY], \
                 with a socket as standard input."
            );
            ExitCode::from(2)
        }
    }
}

/// Closes all inherited descriptors except the standard ones. Without systemd, the commands of a job would otherwise
/// inherit descriptors that the server itself inherited.
fn close_inherited() -> std::io::Result<()> {
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        inherited.extend(number.filter(|number| *number > 2));
    }
    for number in inherited {
        // The descriptor of the directory list is already closed.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn serve(role: &str, directory: &Path) -> std::io::Result<()> {
    close_inherited()?;
    // The server's umask would remove permissions from the files of packages: R reports that it corrects those of
    // `configure`, and packs the others as they are. The directories of the workspace are private.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let connection = fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    if socket_type(&connection).ok() != Some(SocketType::SEQPACKET) {
        return Err(std::io::Error::other("standard input is not a connection to the package server"));
    }
    let Some(packet) = channel::receive(&connection, Instant::now() + REQUEST_TIMEOUT)? else {
        return Ok(());
    };
    let start = Instant::now();
    let refuse = |reason: String| {
        let event = Event::Refused { reason: JobFailure::new(Cause::Builder, reason).reason };
        channel::send(&connection, &event.encode().map_err(std::io::Error::other)?, &[])
    };
    let request = match Request::decode(&packet.bytes) {
        Ok(request) if request.descriptors.len() == packet.descriptors.len() => request,
        Ok(_) => return refuse("the number of descriptors is not that of the request".to_owned()),
        Err(error) => return refuse(error.to_string()),
    };
    if request.job.role().argument() != role {
        return refuse(format!("this is a builder of the kind '{role}', which does not run such jobs"));
    }
    let mut descriptors: Descriptors = request.descriptors.iter().copied().zip(packet.descriptors).collect();
    let log = take(&mut descriptors, Purpose::Log)?;
    let workspace = match Workspace::create(directory) {
        Ok(workspace) => workspace,
        Err(error) => return refuse(format!("{}: {error}", directory.display())),
    };
    // The path is determined before the restrictions apply, because they may make it unreadable.
    let program = std::env::current_exe()?;
    let readable = readable_paths(&request.job, &program);
    if let Err(error) = confinement::confine(&workspace, &readable, &request.limits) {
        return refuse(format!("could not restrict the builder: {error}"));
    }
    let deadline = start + Duration::from_secs(request.limits.seconds.min(86_400));
    let job = RunningJob::new(connection, log.into(), request.limits, workspace, deadline);
    let result = match &request.job {
        message::Job::ListReferences(list) => fetch::list_references(&job, list, &program, descriptors),
        message::Job::FetchCommit(fetch) => fetch::fetch_commit(&job, fetch, &program, descriptors),
        message::Job::BuildRPackage(build) => build::build_r_package(&job, build, descriptors),
        message::Job::BuildPythonPackage(request) => build::build_python_package(&job, request, descriptors),
        message::Job::DetectPython(detect) => build::detect_python(&job, detect),
    };
    let report = match result {
        Ok(report) => report,
        Err(Stop::Failed(failure)) => Report { failure: Some(failure), ..Report::default() },
        Err(Stop::Disconnected) => return Ok(()),
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = Report { max_rss: resources::peak_memory(), milliseconds, ..report };
    // An error means that the server closed the connection.
    let _ = job.send(&Event::Ended(report));
    Ok(())
}

/// Returns the paths that a job must be able to read in addition to its workspace and the system's programs.
fn readable_paths(job: &message::Job, program: &Path) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = match job {
        message::Job::ListReferences(job) => job.remote.local_paths.iter().map(PathBuf::from).collect(),
        message::Job::FetchCommit(job) => job.remote.local_paths.iter().map(PathBuf::from).collect(),
        message::Job::BuildRPackage(job) => job.r.iter().chain(&job.library).map(PathBuf::from).collect(),
        message::Job::BuildPythonPackage(job) => job.python.iter().map(PathBuf::from).collect(),
        message::Job::DetectPython(job) => job.python.iter().map(PathBuf::from).collect(),
    };
    paths.into_iter().chain([program.to_owned()]).collect()
}

/// Removes and returns a descriptor of the request.
fn take(descriptors: &mut Descriptors, purpose: Purpose) -> std::io::Result<OwnedFd> {
    descriptors
        .remove(&purpose)
        .ok_or_else(|| std::io::Error::other(format!("the descriptor for {purpose:?} is missing")))
}

/// Returns the file for the result. Its size limit is that of the request, or the sandbox's for files if lower.
fn result_file(descriptors: &mut Descriptors, job: &RunningJob) -> Result<workspace::ResultFile, Stop> {
    let file: File =
        take(descriptors, Purpose::Result).map_err(io_failure("could not open the result"))?.into();
    let fsize = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    Ok(workspace::ResultFile::new(file, job.limits.result.min(fsize.unwrap_or(u64::MAX))))
}
