//! Jobs in the sandbox with network access: lists references and fetches commits. Each job reads the credential once.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Builds;
use super::credential::{self, Secrets};
use super::detection;
use super::failure::BuildFailure;
use super::job::{self, Request};
use super::log::BuildLog;
use crate::builder::message::{FetchCommit, Job, ListReferences, Remote};
use crate::builder::sandbox::Kind;
use crate::builder::url::{GitUrl, Scheme};
use crate::db::git_builder::{GitBuilder, Trigger};
use crate::serve::RepoError;

/// Time limit of a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// Time limit of a fetch: less than that of the unit.
const FETCH_TIMEOUT: Duration = Duration::from_secs(840);
/// Maximum size of a list of references in bytes.
const MAX_REFERENCES: u64 = 32 << 20;

/// Checks the URL of a builder.
pub(super) fn url(builds: &Builds, text: &str) -> Result<GitUrl, RepoError> {
    let url = GitUrl::parse(text).map_err(|error| RepoError::Invalid(format!("--url: {error}")))?;
    let config = builds.state.config.load();
    if url.scheme == Scheme::Ssh {
        return Err(RepoError::Invalid(format!("--url: {}", credential::NO_SSH)));
    }
    url.check_local(&config.git.local_paths)
        .map_err(|error| RepoError::Invalid(format!("--url: {error}")))?;
    Ok(url)
}

/// Returns the full name of the reference that a builder for commits builds.
pub(super) fn branch_reference(builder: &GitBuilder) -> String {
    if builder.branch.is_empty() { "HEAD".to_owned() } else { format!("refs/heads/{}", builder.branch) }
}

/// The access of a job to a remote repository.
struct Access {
    remote: Remote,
    readable: Vec<PathBuf>,
    credential: Option<OwnedFd>,
}

async fn access(builds: &Builds, builder: &GitBuilder, log: &BuildLog) -> Result<Access, BuildFailure> {
    let url = url(builds, &builder.url)?;
    let Secrets { file, hidden } = credential::secrets(builds, builder, &url).await?;
    log.hide(hidden);
    // Only the directory of this repository is visible.
    let local: Vec<String> = match url.scheme {
        Scheme::File => vec![url.path.trim_end_matches('/').to_owned()],
        Scheme::Https | Scheme::Http | Scheme::Ssh => Vec::new(),
    };
    // The unit of systemd may see directories that the server does not see.
    let is_visible = detection::sandbox(builds).await?.kind != Kind::Systemd;
    let missing_path = local.iter().find(|path| is_visible && !std::path::Path::new(path).is_dir());
    if let Some(missing_path) = missing_path {
        return Err(BuildFailure::MayPass(format!("there is no directory {missing_path}")));
    }
    Ok(Access {
        readable: local.iter().map(PathBuf::from).collect(),
        remote: Remote { url: builder.url.clone(), local_paths: local, known_hosts: String::new() },
        credential: file,
    })
}

/// Lists references as pairs of object and name; those of annotated tags are followed by `name^{}` with the commit.
pub(super) async fn references(
    builds: &Builds,
    builder: &GitBuilder,
) -> Result<Vec<(String, String)>, BuildFailure> {
    let log = Arc::new(BuildLog::new());
    let access = access(builds, builder, &log).await?;
    let mut patterns = vec![branch_reference(builder)];
    if builder.trigger == Trigger::Tags {
        patterns.push("refs/tags/*".to_owned());
    }
    let job = Job::ListReferences(ListReferences { remote: access.remote.clone(), patterns });
    let sandbox = detection::sandbox(builds).await?;
    let request = request(builds, job, access, POLL_TIMEOUT);
    let output = job::run(&sandbox, request, &log, std::future::pending()).await;
    let (_, out) = output.map_err(|failure| failure.with_log(&log.last_lines(3)))?;
    if out.metadata()?.len() > MAX_REFERENCES {
        return Err(BuildFailure::Final("the repository has too many references".to_owned()));
    }
    let mut text = String::new();
    out.take(MAX_REFERENCES).read_to_string(&mut text)?;
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.map(|(object, name)| (object.to_owned(), name.to_owned())).collect())
}

/// Fetches the tree of a commit as a tar file.
pub(super) async fn commit(
    builds: &Builds,
    builder: &GitBuilder,
    (reference, commit): (String, &str),
    log: &Arc<BuildLog>,
    interrupted: impl Future<Output = ()>,
) -> Result<File, BuildFailure> {
    let access = access(builds, builder, log).await?;
    let config = builds.state.config.load_full();
    let job = Job::FetchCommit(FetchCommit {
        remote: access.remote.clone(),
        reference,
        commit: Some(commit.to_owned()),
        depth: builder.clone_depth,
        submodules: builder.submodules,
        submodule_hosts: config.git.submodule_hosts.clone(),
        directory: builder.sub_dir.clone(),
    });
    let sandbox = detection::sandbox(builds).await?;
    let timeout = config.git.build_timeout.min(FETCH_TIMEOUT);
    let request = request(builds, job, access, timeout);
    job::run(&sandbox, request, log, interrupted).await.map(|(_, tree)| tree)
}

fn request(builds: &Builds, job: Job, access: Access, timeout: Duration) -> Request {
    let Access { readable, credential, .. } = access;
    let temp_dir = builds.state.config.load().server.temp_dir.clone();
    Request { job, readable, source: None, credential, timeout, temp_dir }
}
