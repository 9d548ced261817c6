//! Fetches submodules, level by level: only from the repository's and configured hosts, never from local paths.

use std::fs;
use std::path::PathBuf;

use super::git::Git;
use crate::message::{Cause, FetchCommit, JobFailure};
use crate::program::job::{RunningJob, Stop};
use crate::url::{GitUrl, Scheme};

/// Maximum number of submodules on all levels together.
const MAX_SUBMODULES: usize = 200;

/// Fetches the submodules, down to the requested level.
pub(super) fn fetch(job: &RunningJob, git: &Git<'_>, request: &FetchCommit) -> Result<(), Stop> {
    let mut repositories = vec![job.workspace.sources()];
    let mut count = 0;
    for level in 1..=request.submodules {
        let mut next_level = Vec::new();
        for repository in repositories {
            // A symbolic link could refer to a file outside of the tree.
            let modules = fs::symlink_metadata(repository.join(".gitmodules"));
            if !modules.is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            job.phase(&format!("submodules of level {level}"))?;
            let directory = repository.to_string_lossy().into_owned();
            git.run(&["-C", &directory, "submodule", "--quiet", "init"])?;
            for url in urls(git, &directory)? {
                check(&url, &git.url, &request.submodule_hosts)?;
            }
            let mut command = git.command(&[
                "-C",
                &directory,
                "submodule",
                "--quiet",
                "update",
                "--checkout",
                "--force",
                "--depth=1",
            ]);
            git.run_remote(command.env("GIT_ALLOW_PROTOCOL", "https:http:ssh"))?;
            next_level
                .extend(submodule_paths(git, &directory)?.into_iter().map(|path| repository.join(path)));
            count += next_level.len();
            if count > MAX_SUBMODULES {
                let reason = format!("the repository has more than {MAX_SUBMODULES} submodules");
                return Err(JobFailure::new(Cause::Size, reason).into());
            }
        }
        repositories = next_level;
    }
    Ok(())
}

/// Returns the URLs of the initialized submodules. git has made relative URLs absolute.
fn urls(git: &Git<'_>, directory: &str) -> Result<Vec<String>, Stop> {
    let output = git.output(&["-C", directory, "config", "--local", "--null", "--list"])?;
    let entries = output.split('\0').filter_map(|entry| entry.split_once('\n'));
    let urls = entries.filter(|(key, _)| key.starts_with("submodule.") && key.ends_with(".url"));
    Ok(urls.map(|(_, url)| url.to_owned()).collect())
}

fn check(url: &str, parent: &GitUrl, hosts: &[String]) -> Result<(), Stop> {
    let refusal = |reason: String| {
        JobFailure::new(Cause::Content, format!("the submodule {}: {reason}", url.escape_debug()))
    };
    let submodule_url = GitUrl::parse(url).map_err(|error| refusal(error.to_string()))?;
    if submodule_url.scheme == Scheme::File {
        return Err(refusal("submodules of local repositories are not supported".to_owned()).into());
    }
    // The SSH key of the builder must be used only for logins to the host of the repository.
    if submodule_url.scheme == Scheme::Ssh && submodule_url.host != parent.host {
        let reason = format!(
            "the host {} is not that of the repository, and submodules of other hosts are fetched only over HTTPS and HTTP",
            submodule_url.host
        );
        return Err(refusal(reason).into());
    }
    if submodule_url.host != parent.host
        && !hosts.iter().any(|host| host.eq_ignore_ascii_case(&submodule_url.host))
    {
        let reason =
            format!("the host {} is not that of the repository; see Git.SubmoduleHosts", submodule_url.host);
        return Err(refusal(reason).into());
    }
    Ok(())
}

/// Returns the paths of submodules in the index.
fn submodule_paths(git: &Git<'_>, directory: &str) -> Result<Vec<PathBuf>, Stop> {
    let output = git.output(&["-C", directory, "ls-files", "--stage", "-z"])?;
    let links = output.split('\0').filter_map(|entry| entry.strip_prefix("160000 ")?.split_once('\t'));
    Ok(links.map(|(_, path)| PathBuf::from(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_and_configured_hosts_are_allowed() {
        let parent = GitUrl::parse("https://git.example.org/a").unwrap();
        let hosts = ["other.example.org".to_owned()];
        for url in ["https://git.example.org/b", "git@git.example.org:b", "https://OTHER.example.org/b"] {
            assert!(check(url, &parent, &hosts).is_ok(), "{url}");
        }
        for url in [
            "https://third.example.org/b",
            "git@other.example.org:b",
            "ssh://git@other.example.org/b",
            "file:///srv/b",
            "../b",
            "ext::sh -c x",
            "--x",
            "-x:y",
        ] {
            assert!(check(url, &parent, &hosts).is_err(), "{url}");
        }
    }
}
