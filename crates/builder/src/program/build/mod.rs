//! The role `build`: runs code of the repository, without a network and without credentials.

mod dependencies;
mod find_r;
mod package_file;
mod python;
mod sources;

use std::path::Path;

pub(super) use self::python::{build_python_package, detect_python};
use super::job::{RunningJob, Stop, io_failure};
use super::{Descriptors, result_file, take};
use crate::message::{BuildRPackage, Cause, JobFailure, Purpose, Report};

/// Builds a source package with `R CMD build`.
pub(super) fn build_r_package(
    job: &RunningJob,
    request: &BuildRPackage,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let source = take(&mut descriptors, Purpose::Source).map_err(io_failure("could not open the sources"))?;
    let result = result_file(&mut descriptors, job)?;
    let r = find_r::find(job, request.r.as_deref().map(Path::new))?;
    job.started("R", &r.version, &r.program)?;
    job.phase("sources")?;
    let package = job.workspace.sources().join("package");
    sources::unpack(source.into(), &package, &job.limits)?;
    if !package.join("DESCRIPTION").is_file() {
        let reason = "the directory has no file DESCRIPTION: it is not an R package";
        return Err(JobFailure::new(Cause::Content, reason).into());
    }
    let failed_packages = match descriptors.remove(&Purpose::Dependencies) {
        Some(packages) => dependencies::install(job, &r, request, packages.into())?,
        None => Vec::new(),
    };
    job.phase("R CMD build")?;
    let mut command = dependencies::command(job, &r, request);
    command.args(["CMD", "build", "--no-manual"]);
    if !request.vignettes {
        command.arg("--no-build-vignettes");
    }
    match job.run("R CMD build", command.arg(&package).current_dir(job.workspace.result())) {
        Err(Stop::Failed(JobFailure { cause: Cause::Command, reason })) if !failed_packages.is_empty() => {
            let reason =
                format!("{reason}; packages that could not be installed: {}", failed_packages.join(", "));
            return Err(JobFailure::new(Cause::Command, reason).into());
        }
        result => result?,
    }
    check_end(job, "R CMD build")?;
    let (name, result) = package_file::copy(&job.workspace.result(), result)?;
    let (size, sha256) = result.finish();
    Ok(Report { file: Some(name), size, sha256: Some(sha256), ..Report::default() })
}

/// Checks that the result of a command is complete, and that no process is left that could change it.
fn check_end(job: &RunningJob, command: &str) -> Result<(), Stop> {
    if job.has_leftovers() {
        let reason = format!(
            "{command} left processes behind, which were killed: a build must end the processes that it starts"
        );
        return Err(JobFailure::new(Cause::Command, reason).into());
    }
    // R does not notice if the package that it wrote is incomplete.
    if job.workspace.is_full() {
        return Err(JobFailure::new(Cause::Size, "the disk space of the sandbox was exhausted").into());
    }
    Ok(())
}
