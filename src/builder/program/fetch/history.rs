//! The history of a Python project that takes its version from git: a directory `.git` with commits and tags, but without
//! the contents of earlier commits, and with nothing that names the remote repository or runs a command.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::git::Git;
use crate::builder::message::FetchCommit;
use crate::builder::program::job::{Job, Stop, io_failure};

/// Files in which a project names the program that determines its version.
const FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];
/// Names of such programs.
const PROGRAMS: [&str; 9] = [
    "setuptools_scm",
    "setuptools-scm",
    "hatch-vcs",
    "versioneer",
    "versioningit",
    "poetry-dynamic-versioning",
    "flit_scm",
    "dunamai",
    "source = \"scm\"",
];
/// Number of bytes of a file that are searched.
const MAX_SEARCHED: u64 = 1 << 20;

/// Fetches the history if the project needs it; returns the directory for `.git`. The repository cannot be used afterwards.
pub(super) fn collect(
    job: &Job,
    git: &Git<'_>,
    request: &FetchCommit,
    commit: &str,
) -> Result<Option<PathBuf>, Stop> {
    let sources = job.workspace.sources();
    // Of a directory of a larger repository git would find all other files missing.
    if !request.history || !request.directory.is_empty() || !is_needed(&sources) {
        return Ok(None);
    }
    job.phase("git fetch of the history")?;
    let repository = sources.join(".git");
    let mut arguments = vec!["fetch", "--quiet", "--tags", "--no-recurse-submodules", "--filter=blob:none"];
    if repository.join("shallow").exists() {
        arguments.push("--unshallow");
    }
    arguments.push("origin");
    git.run_remote(git.command(&arguments).arg(&request.reference))?;
    let tags = git.output(&["for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"])?;
    let write = || -> std::io::Result<PathBuf> {
        let is_partial =
            fs::read_to_string(repository.join("config"))?.to_lowercase().contains("partialclone");
        let target = job.workspace.tmp().join("history");
        fs::create_dir(&target)?;
        fs::create_dir(target.join("refs"))?;
        fs::write(target.join("HEAD"), format!("{commit}\n"))?;
        fs::write(target.join("config"), config(is_partial, commit))?;
        fs::write(target.join("packed-refs"), if tags.is_empty() { tags } else { tags + "\n" })?;
        for name in ["index", "shallow"] {
            if repository.join(name).exists() {
                fs::rename(repository.join(name), target.join(name))?;
            }
        }
        fs::rename(repository.join("objects"), target.join("objects"))?;
        // It may name other directories with objects.
        let info = target.join("objects/info");
        if info.exists() {
            fs::remove_dir_all(info)?;
        }
        Ok(target)
    };
    write().map(Some).map_err(io_failure("could not prepare the history"))
}

/// The configuration of the repository of a build.
fn config(is_partial: bool, commit: &str) -> String {
    let is_sha256 = commit.len() == 64;
    let version = u8::from(is_partial || is_sha256);
    let mut text = format!("[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n");
    if is_sha256 {
        text += "[extensions]\n\tobjectFormat = sha256\n";
    }
    if is_partial {
        // Without them git takes the contents that were not fetched for damage.
        text += "[extensions]\n\tpartialClone = origin\n[remote \"origin\"]\n\tpromisor = true\n";
        text += "\tpartialCloneFilter = blob:none\n";
    }
    text
}

/// Whether a file of the project names a program that reads the version from git.
fn is_needed(sources: &Path) -> bool {
    FILES.iter().any(|name| {
        let path = sources.join(name);
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return false;
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(MAX_SEARCHED).read_to_end(&mut bytes));
        let text = String::from_utf8_lossy(&bytes);
        read.is_ok() && PROGRAMS.iter().any(|program| text.contains(program))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_projects_that_name_such_a_program_need_the_history() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_needed(directory.path()));
        fs::write(directory.path().join("pyproject.toml"), "requires = [\"setuptools\"]").unwrap();
        assert!(!is_needed(directory.path()));
        fs::write(directory.path().join("pyproject.toml"), "requires = [\"setuptools_scm>=8\"]").unwrap();
        assert!(is_needed(directory.path()));
        fs::remove_file(directory.path().join("pyproject.toml")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("setup.py")).unwrap();
        assert!(!is_needed(directory.path()));
    }

    #[test]
    fn the_configuration_names_no_remote_repository() {
        let text = config(true, &"a".repeat(64));
        assert!(!text.contains("url") && text.contains("objectFormat = sha256"), "{text}");
        assert!(config(false, &"a".repeat(40)).contains("repositoryFormatVersion = 0"));
    }
}
