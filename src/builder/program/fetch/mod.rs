//! The role `fetch`: runs git with the network and a credential, and never code of the repository.

mod agent;
pub(super) mod credential;
mod git;
mod submodules;
pub(super) mod tree;

use std::fs;
use std::io::Write;
use std::path::Path;

use self::git::{Git, remote_failure};
use super::job::{Job, Stop, io_failure};
use super::{Descriptors, result_file};
use crate::builder::message::{Cause, Event, Failure, FetchCommit, ListReferences, Report, VERSION};

/// Lists references: one request, no clone.
pub(super) fn list_references(
    job: &Job,
    list: &ListReferences,
    program: &Path,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let git = Git::new(job, &list.remote, program, &mut descriptors)?;
    let mut out = result_file(&mut descriptors, job)?;
    start(job, &git)?;
    let mut command = git.command(&["ls-remote", "--quiet", "--", &list.remote.url]);
    command.args(&list.patterns);
    let each = |line: &[u8]| match std::str::from_utf8(line) {
        Ok(text) if is_listed(text, &list.patterns) => writeln!(out, "{text}"),
        _ => Ok(()),
    };
    job.lines("git ls-remote", &mut command, each).map_err(remote_failure)?;
    let (size, sha256) = out.finish();
    Ok(Report { size, sha256: Some(sha256), ..Report::default() })
}

/// Whether a line `<object>\t<reference>` has one of the names; git compares only the end of a name.
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
    job: &Job,
    fetch: &FetchCommit,
    program: &Path,
    mut descriptors: Descriptors,
) -> Result<Report, Stop> {
    let git = Git::new(job, &fetch.remote, program, &mut descriptors)?;
    let out = result_file(&mut descriptors, job)?;
    start(job, &git)?;
    job.phase("git fetch")?;
    prepare(job, &git, fetch)?;
    let commit = download(job, &git, fetch)?;
    job.phase("git checkout")?;
    // With a partial clone this also connects to the server.
    git.run_remote(&mut git.command(&["checkout", "--quiet", "--force", "--detach", &commit]))?;
    submodules::fetch(job, &git, fetch)?;
    let directory = job.workspace.sources().join(&fetch.directory);
    if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
        let reason = format!("the commit {commit} has no directory '{}'", fetch.directory);
        return Err(Failure::new(Cause::Content, reason).into());
    }
    let time = git.output(&["show", "--no-patch", "--format=%ct", &commit])?;
    let time = time.parse().map_err(|_| Failure::new(Cause::Content, "the commit has no time"))?;
    let (out, lfs_pointers) = tree::write(&directory, out, time, job.limits.files)?;
    if lfs_pointers > 0 {
        job.write_log(&format!("{lfs_pointers} files are Git LFS pointers; Git LFS is not supported"));
    }
    let (size, sha256) = out.finish();
    Ok(Report { commit: Some(commit), size, sha256: Some(sha256), lfs_pointers, ..Report::default() })
}

/// Reports the version of git, which is the proof that it can be run.
fn start(job: &Job, git: &Git<'_>) -> Result<(), Stop> {
    let version = git.output(&["--version"])?;
    let program = version.strip_prefix("git version ").unwrap_or(&version);
    job.send(&Event::Started { v: VERSION, program: format!("git {program}") })
}

/// Creates the repository. Of a directory's siblings no content is fetched.
fn prepare(job: &Job, git: &Git<'_>, fetch: &FetchCommit) -> Result<(), Stop> {
    git.run(&["init", "--quiet", "--template=", "--initial-branch=main"])?;
    git.run(&["config", "remote.origin.url", &fetch.remote.url])?;
    if !fetch.directory.is_empty() {
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
        let patterns = format!("/{}/\n/.gitmodules\n", fetch.directory);
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("sparse-checkout"), patterns))
            .map_err(io_failure("could not restrict the checkout to a directory"))?;
    }
    Ok(())
}

/// Fetches the commit, by its name where the server allows that; returns its name.
fn download(job: &Job, git: &Git<'_>, fetch: &FetchCommit) -> Result<String, Stop> {
    let depth = format!("--depth={}", fetch.depth);
    let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    if fetch.depth > 0 {
        arguments.push(&depth);
    }
    if !fetch.directory.is_empty() {
        arguments.push("--filter=blob:none");
    }
    arguments.push("origin");
    if let Some(commit) = &fetch.commit {
        let mut command = git.command(&arguments);
        if job.exit_status("git fetch", command.arg(commit))?.success() {
            return Ok(commit.clone());
        }
        job.write_log(&format!("the commit could not be fetched by its name; fetching {}", fetch.reference));
    }
    git.run_remote(git.command(&arguments).arg(&fetch.reference))?;
    let found = git.output(&["rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"])?;
    match &fetch.commit {
        Some(commit) if *commit != found => {
            let reason = format!("{} is now {found}, no longer {commit}", fetch.reference);
            Err(Failure::new(Cause::Remote, reason).into())
        }
        _ => Ok(found),
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
}
