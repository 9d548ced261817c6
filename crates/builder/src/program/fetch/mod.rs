//! The role `fetch`: runs git with network access and a credential, but no code of the repository.

pub(super) mod credential;
mod git;
mod history;
mod submodules;
pub(super) mod tree;

use std::fs;
use std::io::Write;
use std::path::Path;

use self::git::{Git, remote_failure};
use super::job::{RunningJob, Stop, io_failure};
use super::{Descriptors, result_file};
use crate::message::{Cause, Event, FetchCommit, JobFailure, ListReferences, Report, VERSION};

/// The times that both zip and gzip files can contain, in seconds since the epoch: 1980 to 2106.
const FILE_TIMES: std::ops::RangeInclusive<u64> = 315_532_800..=u32::MAX as u64;

/// Lists references in one request, without a clone.
pub(super) fn list_references(
    job: &RunningJob,
    request: &ListReferences,
    program: &Path,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let git = Git::new(job, &request.remote, program, &mut descriptors)?;
    let mut result = result_file(&mut descriptors, job)?;
    start(job, &git)?;
    let mut command = git.command(&["ls-remote", "--quiet", "--", &request.remote.url]);
    command.args(&request.patterns);
    let write_line = |line: &[u8]| match std::str::from_utf8(line) {
        Ok(text) if is_listed(text, &request.patterns) => writeln!(result, "{text}"),
        _ => Ok(()),
    };
    job.lines("git ls-remote", &mut command, write_line).map_err(remote_failure)?;
    let (size, sha256) = result.finish();
    Ok(Report { size, sha256: Some(sha256), known_hosts: git.known_hosts(), ..Report::default() })
}

/// Returns whether a pattern matches the whole reference in `<object>\t<reference>`. git compares only its end.
fn is_listed(line: &str, patterns: &[String]) -> bool {
    let Some((_, name)) = line.split_once('\t') else { return false };
    let name = name.strip_suffix("^{}").unwrap_or(name);
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    })
}

/// Fetches one commit and writes its tree.
pub(super) fn fetch_commit(
    job: &RunningJob,
    request: &FetchCommit,
    program: &Path,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let git = Git::new(job, &request.remote, program, &mut descriptors)?;
    let result = result_file(&mut descriptors, job)?;
    start(job, &git)?;
    job.phase("git fetch")?;
    prepare(job, &git, request)?;
    let commit = download(job, &git, request)?;
    job.phase("git checkout")?;
    // In a partial clone, this also connects to the server.
    git.run_remote(&mut git.command(&["checkout", "--quiet", "--force", "--detach", &commit]))?;
    submodules::fetch(job, &git, request)?;
    let directory = job.workspace.sources().join(&request.directory);
    if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
        let reason = format!("the commit {commit} has no directory '{}'", request.directory);
        return Err(JobFailure::new(Cause::Content, reason).into());
    }
    let time = commit_time(&git.output(&["show", "--no-patch", "--format=%ct", &commit])?);
    let history = history::collect(job, &git, request, &commit)?;
    let (result, lfs_pointers) = tree::write(&directory, result, time, job.limits.files, history.as_deref())?;
    if lfs_pointers > 0 {
        job.write_log(&format!("{lfs_pointers} files are Git LFS pointers; Git LFS is not supported"));
    }
    let (size, sha256) = result.finish();
    Ok(Report { commit: Some(commit), size, sha256: Some(sha256), lfs_pointers, ..Report::default() })
}

/// Returns the time of a commit, in seconds since the epoch. It becomes the time of all files: a commit with a malformed
/// time, or one that zip and gzip files cannot contain, gets the earliest time that they can.
fn commit_time(output: &str) -> u64 {
    let time = output.trim().parse().ok();
    time.filter(|time| FILE_TIMES.contains(time)).unwrap_or(*FILE_TIMES.start())
}

/// Reports the version of git, after checking that git can be run.
fn start(job: &RunningJob, git: &Git<'_>) -> Result<(), Stop> {
    let version = git.output(&["--version"])?;
    let program = version.strip_prefix("git version ").unwrap_or(&version);
    job.send(&Event::Started { v: VERSION, program: format!("git {program}") })
}

/// Creates the repository. If only a directory is requested, content outside of it is not fetched.
fn prepare(job: &RunningJob, git: &Git<'_>, request: &FetchCommit) -> Result<(), Stop> {
    // git fetches only from repositories with the same hash algorithm.
    let mut arguments = vec!["init", "--quiet", "--template=", "--initial-branch=main"];
    if request.commit.as_ref().is_some_and(|commit| commit.len() == 64) {
        arguments.push("--object-format=sha256");
    }
    git.run(&arguments)?;
    git.run(&["config", "remote.origin.url", &request.remote.url])?;
    if !request.directory.is_empty() {
        for (key, value) in [
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.partialCloneFilter", "blob:none"),
            ("core.sparseCheckout", "true"),
        ] {
            git.run(&["config", key, value])?;
        }
        let info = job.workspace.sources().join(".git/info");
        let patterns = format!("/{}/\n/.gitmodules\n", request.directory);
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("sparse-checkout"), patterns))
            .map_err(io_failure("could not restrict the checkout to a directory"))?;
    }
    Ok(())
}

/// Fetches the commit, by its id if the server allows that, otherwise by the reference; returns its id.
fn download(job: &RunningJob, git: &Git<'_>, request: &FetchCommit) -> Result<String, Stop> {
    let depth = format!("--depth={}", request.depth);
    let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    if request.depth > 0 {
        arguments.push(&depth);
    }
    if !request.directory.is_empty() {
        arguments.push("--filter=blob:none");
    }
    arguments.push("origin");
    if let Some(commit) = &request.commit {
        let mut command = git.command(&arguments);
        if job.exit_status("git fetch", command.arg(commit))?.success() {
            return Ok(commit.clone());
        }
        job.write_log(&format!(
            "the commit could not be fetched by its name; fetching {}",
            request.reference
        ));
    }
    git.run_remote(git.command(&arguments).arg(&request.reference))?;
    let fetched_commit = git.output(&["rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"])?;
    match &request.commit {
        Some(commit) if *commit != fetched_commit => {
            let reason = format!("{} is now {fetched_commit}, no longer {commit}", request.reference);
            Err(JobFailure::new(Cause::Remote, reason).into())
        }
        _ => Ok(fetched_commit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_compared_as_a_whole() {
        let patterns = ["HEAD".to_owned(), "refs/heads/main".to_owned(), "refs/tags/*".to_owned()];
        for (name, expected) in [
            ("HEAD", true),
            ("refs/heads/main", true),
            ("refs/heads/main2", false),
            ("refs/remotes/x/refs/heads/main", false),
            ("refs/tags/v1", true),
            ("refs/tags/v1^{}", true),
            ("refs/remotes/origin/HEAD", false),
        ] {
            assert_eq!(is_listed(&format!("0123\t{name}"), &patterns), expected, "{name}");
        }
        assert!(!is_listed("HEAD", &patterns));
    }

    #[test]
    fn a_commit_without_a_usable_time_gets_the_earliest_one() {
        for (output, time) in [
            ("1500000000", 1_500_000_000),
            ("1500000000\n", 1_500_000_000),
            ("", 315_532_800),
            ("0", 315_532_800),
            ("-1", 315_532_800),
            ("18446744073709551616", 315_532_800),
            ("4294967296", 315_532_800),
        ] {
            assert_eq!(commit_time(output), time, "{output}");
        }
    }
}
