//! The history of a Python project that takes its version from git: a directory `.git` with commits and tags, without
//! the contents of earlier commits if possible, and without settings that name the remote repository or run a command.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::git::Git;
use crate::message::FetchCommit;
use crate::program::job::{RunningJob, Stop, io_failure};

/// Files in which a project names the program that determines its version.
const FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];
/// Names of programs that determine the version of a project from git.
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
/// Maximum number of bytes that are searched in a file.
const SEARCH_LIMIT: u64 = 1 << 20;

/// Fetches the history if the project needs it; returns its directory. git cannot fetch into the repository afterwards.
pub(super) fn collect(
    job: &RunningJob,
    git: &Git<'_>,
    request: &FetchCommit,
    commit: &str,
) -> Result<Option<PathBuf>, Stop> {
    let sources = job.workspace.sources();
    // Not included with one directory of a larger repository: git would report all other files as missing.
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
    prepare(&repository, commit, &tags).map_err(io_failure("could not prepare the history"))?;
    Ok(Some(repository))
}

/// Removes the parts of a repository that a build does not need; replaces configuration and references.
fn prepare(repository: &Path, commit: &str, tags: &str) -> std::io::Result<()> {
    let is_partial = fs::read_to_string(repository.join("config"))?.to_lowercase().contains("partialclone");
    for entry in fs::read_dir(repository)? {
        let entry = entry?;
        if ["objects", "index", "shallow"].iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    // `objects/info` may name other directories with objects.
    let info = repository.join("objects/info");
    if info.exists() {
        fs::remove_dir_all(info)?;
    }
    fs::create_dir(repository.join("refs"))?;
    fs::write(repository.join("HEAD"), format!("{commit}\n"))?;
    fs::write(repository.join("config"), config(is_partial, commit))?;
    fs::write(
        repository.join("packed-refs"),
        if tags.is_empty() { String::new() } else { format!("{tags}\n") },
    )
}

/// Returns the configuration of the repository for the build.
fn config(is_partial: bool, commit: &str) -> String {
    let is_sha256 = commit.len() == 64;
    let version = u8::from(is_partial || is_sha256);
    let mut text = format!("[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n");
    if is_sha256 {
        text += "[extensions]\n\tobjectFormat = sha256\n";
    }
    if is_partial {
        // Without these lines, git would report the contents that were not fetched as damage.
        text += "[extensions]\n\tpartialClone = origin\n[remote \"origin\"]\n\tpromisor = true\n";
        text += "\tpartialCloneFilter = blob:none\n";
    }
    text
}

/// Returns whether a file of the project names a program that reads the version from git.
fn is_needed(sources: &Path) -> bool {
    FILES.iter().any(|name| {
        let path = sources.join(name);
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return false;
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(SEARCH_LIMIT).read_to_end(&mut bytes));
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
    fn only_objects_index_and_tags_remain_of_a_repository() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["hooks", "objects/info", "objects/pack", "modules/x", "refs/heads", "info"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        for (name, text) in [
            ("config", "[remote \"origin\"]\n\turl = https://secret\n"),
            ("hooks/post-checkout", "x"),
            ("objects/info/alternates", "/x"),
            ("index", "x"),
            ("FETCH_HEAD", "https://secret"),
        ] {
            fs::write(path.join(name), text).unwrap();
        }
        prepare(path, &"a".repeat(40), "bb refs/tags/v1").unwrap();
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["HEAD", "config", "index", "objects", "packed-refs", "refs"]);
        assert!(!path.join("objects/info").exists() && path.join("objects/pack").exists());
        assert!(!fs::read_to_string(path.join("config")).unwrap().contains("secret"));
        assert_eq!(fs::read_to_string(path.join("packed-refs")).unwrap(), "bb refs/tags/v1\n");
    }

    #[test]
    fn the_configuration_names_no_remote_repository() {
        let text = config(true, &"a".repeat(64));
        assert!(!text.contains("url") && text.contains("objectFormat = sha256"), "{text}");
        assert!(config(false, &"a".repeat(40)).contains("repositoryFormatVersion = 0"));
    }
}
