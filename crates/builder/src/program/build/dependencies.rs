//! Installs the source packages that the server sent with a build into the library of the workspace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;

use super::find_r::R;
use crate::message::{BuildRPackage, Cause, JobFailure, RDependency};
use crate::program::job::{RunningJob, Stop, io_failure};

/// An R script that writes the names of the packages that need not be installed. Each line of its input is a name and
/// the requirements on the version, separated by tabs, all of which the installed version must meet.
const SCRIPT: &str = r#"
is_met <- function(requirement, version) {
    parts <- strsplit(requirement, " ", fixed = TRUE)[[1L]]
    do.call(parts[[1L]], list(version, parts[[2L]]))
}
is_satisfied <- function(line) {
    fields <- strsplit(line, "\t", fixed = TRUE)[[1L]]
    version <- utils::packageVersion(fields[[1L]])
    all(vapply(fields[-1L], is_met, NA, version = version))
}
for (line in readLines(commandArgs(TRUE)[[1L]]))
    if (tryCatch(is_satisfied(line), error = function(e) FALSE))
        cat(sub("\t.*", "", line), "\n", sep = "")
"#;
/// Maximum length of the output of [`SCRIPT`] in bytes.
const MAX_OUTPUT: u64 = 256 << 10;

/// Installs the packages that are in no library, or only in unsuitable versions. Returns the names of the packages that
/// cannot be installed. This is not a failure, because the build may succeed without them.
pub(super) fn install(
    job: &RunningJob,
    r: &R,
    request: &BuildRPackage,
    mut packages: File,
) -> Result<Vec<String>, Stop> {
    job.phase("dependencies")?;
    let installed = installed_packages(job, r, request)?;
    let mut failed = Vec::new();
    for dependency in &request.dependencies {
        let RDependency { name, version, size, .. } = dependency;
        let read_error = || io_failure(format!("could not read the package {name}"));
        if installed.contains(name) {
            let size = i64::try_from(*size).unwrap_or(i64::MAX);
            packages.seek(SeekFrom::Current(size)).map_err(read_error())?;
            continue;
        }
        let archive = job.workspace.tmp().join(format!("{name}_{version}.tar.gz"));
        // The code of an installed package may have created this file.
        let _ = fs::remove_file(&archive);
        let mut file = File::create_new(&archive).map_err(io_failure(format!("could not write {name}")))?;
        let copied = std::io::copy(&mut (&mut packages).take(*size), &mut file).map_err(read_error())?;
        if copied != *size {
            return Err(JobFailure::new(Cause::Builder, format!("the package {name} is incomplete")).into());
        }
        job.phase(&format!("R CMD INSTALL {name} {version}"))?;
        let mut command = command(job, r, request);
        command.args(["CMD", "INSTALL", "--no-multiarch"]);
        command.arg(format!("--library={}", job.workspace.library().display())).arg(&archive);
        let title = format!("R CMD INSTALL {name}");
        match job.run(&title, command.current_dir(job.workspace.tmp())) {
            Err(Stop::Failed(JobFailure { cause: Cause::Command, reason })) => {
                job.write_log(&format!("{reason}; the build continues without {name}"));
                failed.push(name.clone());
            }
            result => result?,
        }
        if job.has_leftovers() {
            let reason = format!("{title} left processes behind, which were killed");
            return Err(JobFailure::new(Cause::Command, reason).into());
        }
        // The code of the package may have deleted the file.
        let _ = fs::remove_file(&archive);
    }
    Ok(failed)
}

/// Returns a command that runs R with the libraries of the build.
pub(super) fn command(job: &RunningJob, r: &R, request: &BuildRPackage) -> Command {
    let mut command = r.command(job);
    // R_LIBS_SITE is not used, because it would hide the packages of the distribution.
    if let Some(library) = &request.library {
        command.env("R_LIBS_USER", format!("{}:{library}", job.workspace.library().display()));
    }
    command
}

/// Returns the names of the packages whose installed version meets the requirements.
fn installed_packages(job: &RunningJob, r: &R, request: &BuildRPackage) -> Result<BTreeSet<String>, Stop> {
    let write_error = || io_failure("could not write the requirements of the build");
    let (script, list) = (job.workspace.tmp().join("satisfied.R"), job.workspace.tmp().join("requirements"));
    let lines = request.dependencies.iter().map(|dependency| {
        let fields = [&dependency.name].into_iter().chain(&dependency.requirements);
        fields.map(String::as_str).collect::<Vec<_>>().join("\t") + "\n"
    });
    fs::write(&script, SCRIPT).map_err(write_error())?;
    fs::write(&list, lines.collect::<String>()).map_err(write_error())?;
    let mut command = command(job, r, request);
    command.args(["-s", "--no-restore", "-f"]).arg(&script).arg("--args").arg(&list);
    let output = job.output("R", command.current_dir(job.workspace.tmp()), MAX_OUTPUT)?;
    for file in [script, list] {
        fs::remove_file(file).map_err(write_error())?;
    }
    let output = String::from_utf8_lossy(&output);
    Ok(output.lines().map(str::to_owned).collect())
}
