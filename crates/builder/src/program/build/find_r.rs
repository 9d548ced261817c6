//! Finds the R installation that builds packages, and sets its environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::message::{Cause, JobFailure};
use crate::program::job::{RunningJob, Stop};

pub(super) struct R {
    pub(super) program: PathBuf,
    /// Its version, such as `4.2.2`.
    pub(super) version: String,
}

/// Finds R: in `directory` if it is given, otherwise the newest version in `/opt/R`, otherwise R of the system.
pub(super) fn find(job: &RunningJob, directory: Option<&Path>) -> Result<R, Stop> {
    let candidates = match directory {
        Some(directory) => vec![directory.join("bin/R"), directory.join("lib/R/bin/R")],
        None => {
            let mut versions: Vec<_> =
                fs::read_dir("/opt/R").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            versions.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
            let system_paths =
                ["/usr/lib/R/bin/R", "/usr/lib64/R/bin/R", "/usr/local/lib/R/bin/R", "/usr/local/bin/R"];
            versions.iter().map(|path| path.join("bin/R")).chain(system_paths.map(PathBuf::from)).collect()
        }
    };
    let Some(program) = candidates.iter().find(|program| program.is_file()) else {
        let reason = match directory {
            Some(directory) => format!("there is no R in {}", directory.display()),
            None => {
                "there is no R in /opt/R, /usr/lib/R, /usr/lib64/R, /usr/local/lib/R: install R (r-base-core)"
                    .to_owned()
            }
        };
        return Err(JobFailure::new(Cause::Builder, reason).into());
    };
    let mut r = R { program: program.clone(), version: String::new() };
    let output = job.output("R --version", r.command(job).arg("--version"), 64 << 10)?;
    r.version = version(&String::from_utf8_lossy(&output)).ok_or_else(|| {
        JobFailure::new(Cause::Builder, format!("{} --version does not name a version", program.display()))
    })?;
    Ok(r)
}

impl R {
    /// Returns a command with the environment of builds, without a user's profile and library.
    pub(super) fn command(&self, job: &RunningJob) -> Command {
        let mut command = job.workspace.command(&self.program);
        command
            .env("LANG", "C.UTF-8")
            .env("R_LIBS_USER", job.workspace.library())
            .env("R_PROFILE_USER", "/dev/null")
            .env("R_ENVIRON_USER", "/dev/null");
        command
    }
}

/// Returns the version in the output of `R --version`, such as `R version 4.2.2 Patched (2022-11-10 r83330)`.
fn version(output: &str) -> Option<String> {
    let mut words = output.lines().find_map(|line| line.strip_prefix("R version "))?.split(' ');
    let version = words.next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.chars().take(32).collect())
}

/// Returns the numbers in a directory name such as `4.10.1`. Names without numbers are considered the oldest.
pub(super) fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let output = "R version 4.2.2 Patched (2022-11-10 r83330) -- \"Innocent and Trusting\"\nCopyright";
        assert_eq!(version(output).as_deref(), Some("4.2.2"));
        assert_eq!(version("R Under development"), None);
        let mut paths = ["/opt/R/4.9.0", "/opt/R/devel", "/opt/R/4.10.1", "/opt/R/4.10"].map(PathBuf::from);
        paths.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
        assert_eq!(
            paths.map(|path| path.display().to_string()),
            ["/opt/R/4.10.1", "/opt/R/4.10", "/opt/R/4.9.0", "/opt/R/devel"]
        );
    }
}
