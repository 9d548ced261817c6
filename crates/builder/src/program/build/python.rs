//! Builds a source distribution and a wheel with the Python module `build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::{Builder, Header};

use super::find_r::numbers;
use super::{check_end, package_file, sources};
use crate::message::{BuildPythonPackage, Cause, DetectPython, JobFailure, Purpose, Report};
use crate::program::job::{RunningJob, Stop, io_failure};
use crate::program::{Descriptors, result_file, take};

/// An installation of Python with the module `build`.
struct Python {
    program: PathBuf,
    /// Its version, such as `3.11.2`.
    version: String,
}

pub(in crate::program) fn detect_python(job: &RunningJob, request: &DetectPython) -> Result<Report, Stop> {
    let Python { program, version } = find(job, request.python.as_deref().map(Path::new))?;
    job.started("Python", &version, &program)?;
    Ok(Report::default())
}

/// Builds a source distribution and a wheel, and writes them as a tar file. A wheel that cannot be built is no failure.
pub(in crate::program) fn build_python_package(
    job: &RunningJob,
    request: &BuildPythonPackage,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let source = take(&mut descriptors, Purpose::Source).map_err(io_failure("could not open the sources"))?;
    let result = result_file(&mut descriptors, job)?;
    let python = find(job, request.python.as_deref().map(Path::new))?;
    job.started("Python", &python.version, &python.program)?;
    job.phase("sources")?;
    let package = job.workspace.sources().join("package");
    sources::unpack(source.into(), &package, &job.limits)?;
    if !["pyproject.toml", "setup.py"].iter().any(|name| package.join(name).is_file()) {
        let reason = "the directory has neither pyproject.toml nor setup.py: it is not a Python package";
        return Err(JobFailure::new(Cause::Content, reason).into());
    }
    let build = |option: &str| {
        let mut command = python.command(job);
        command.args(["-m", "build", "--no-isolation", option, "--outdir"]).arg(job.workspace.result());
        if let Some(time) = request.time {
            command.env("SOURCE_DATE_EPOCH", time.to_string());
        }
        if let Some(version) = &request.version {
            command.env("SETUPTOOLS_SCM_PRETEND_VERSION", version);
        }
        let name = format!("python -m build {option}");
        job.phase(&name)?;
        job.run(&name, command.arg(&package).current_dir(job.workspace.tmp()))
    };
    build("--sdist")?;
    match build("--wheel") {
        Err(Stop::Failed(JobFailure { cause: Cause::Command, .. })) => {
            job.write_log("The wheel could not be built; only the source distribution is published.");
        }
        result => result?,
    }
    check_end(job, "python -m build")?;
    let directory = job.workspace.result();
    let mut archive = Builder::new(result);
    let write_error = || io_failure("could not copy the result of the build");
    let sdist = package_file::names(&directory, ".tar.gz")?;
    if sdist.len() != 1 {
        let reason = format!("the build wrote {} files *.tar.gz instead of one", sdist.len());
        return Err(JobFailure::new(Cause::Content, reason).into());
    }
    for name in sdist.into_iter().chain(package_file::names(&directory, ".whl")?) {
        if name.contains("-linux_") {
            job.write_log(&format!(
                "{name} is not published: its code is compiled for this machine only; auditwheel makes wheels for other \
                 machines"
            ));
            continue;
        }
        let (mut file, size) = package_file::open(&directory, &name)?;
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        archive.append_data(&mut header, &name, &mut file).map_err(write_error())?;
    }
    let (size, sha256) = archive.into_inner().map_err(write_error())?.finish();
    Ok(Report { size, sha256: Some(sha256), ..Report::default() })
}

/// Finds Python: in `directory` if given, else the newest in `/opt/python`, else the system's.
fn find(job: &RunningJob, directory: Option<&Path>) -> Result<Python, Stop> {
    let candidates = match directory {
        Some(directory) => vec![directory.join("bin/python3"), directory.to_owned()],
        None => {
            let entries = fs::read_dir("/opt/python").into_iter().flatten().flatten();
            let mut versions: Vec<_> = entries.map(|entry| entry.path()).collect();
            versions.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
            let system = ["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from);
            versions.iter().map(|path| path.join("bin/python3")).chain(system).collect()
        }
    };
    let Some(program) = candidates.iter().find(|program| program.is_file()) else {
        let reason = match directory {
            Some(directory) => format!("there is no Python in {}", directory.display()),
            None => "there is no Python in /opt/python, /usr/bin, /usr/local/bin".to_owned(),
        };
        return Err(JobFailure::new(Cause::Builder, reason).into());
    };
    let mut python = Python { program: program.clone(), version: String::new() };
    let code = "import sys, build; print('%d.%d.%d' % sys.version_info[:3])";
    let output = job.output("python3", python.command(job).args(["-c", code]), 1 << 10).map_err(|stop| {
        match stop {
            Stop::Failed(JobFailure { cause: Cause::Command, .. }) => JobFailure::new(
                Cause::Builder,
                format!(
                    "{} lacks the module build; install it (Debian: python3-build, otherwise pip install build)",
                    program.display()
                ),
            )
            .into(),
            other => other,
        }
    })?;
    python.version = String::from_utf8_lossy(&output).trim().chars().take(32).collect();
    Ok(python)
}

impl Python {
    /// Returns a command with the environment of builds, without a user's packages and without a package index.
    fn command(&self, job: &RunningJob) -> Command {
        let mut command = job.workspace.command(&self.program);
        command
            .current_dir(job.workspace.tmp())
            .env("LANG", "C.UTF-8")
            .env("PYTHONNOUSERSITE", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PIP_NO_INDEX", "1")
            // For programs that read the version from git: they cannot read git's system configuration.
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        command
    }
}
