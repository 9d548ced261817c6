//! Jobs in the sandbox with network access: they list references and fetch commits. Each job reads the credential once.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::credential::{self, Secrets};
use super::failure::BuildFailure;
use super::job::Request;
use super::log::BuildLog;
use super::ssh::host_keys;
use super::ssh::key::PrivateKey;
use super::{Builds, detection};
use base::config::Proxy;
use base::model::text::one_line;
use builder::message::{FetchCommit, Job, ListReferences, ProxyUrl, Remote};
use builder::sandbox::Kind;
use builder::url::{GitUrl, Scheme};
use content::serve::RepoError;
use store::db::git_builder::{GitBuilder, Trigger};

const POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// Time limit of a fetch: less than that of the systemd unit.
const FETCH_TIMEOUT: Duration = Duration::from_secs(840);
/// Maximum size of a list of references in bytes.
const MAX_REFERENCES: u64 = 32 << 20;
/// Maximum length of the reason why a value is refused, in characters: it repeats the value.
const MAX_REASON: usize = 300;

/// Checks the URL of a builder.
pub(super) fn url(builds: &Builds, text: &str) -> Result<GitUrl, RepoError> {
    let url = GitUrl::parse(text).map_err(|error| RepoError::Invalid(format!("--url: {error}")))?;
    let config = builds.state.config.load();
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
    key: Option<Arc<PrivateKey>>,
    /// The name of the host in `known_hosts`.
    host: String,
}

/// Which SSH host keys are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKeys {
    /// The keys in the credential.
    Known,
    /// The keys in the credential; for a host without one, the key that it sends.
    New,
    /// The key that the host sends; its keys in the credential are ignored.
    Replaced,
}

/// Reads the credential of a builder, and returns the access of a job to its repository.
async fn access(
    builds: &Builds,
    builder: &GitBuilder,
    host_keys: HostKeys,
    log: &BuildLog,
) -> Result<Access, BuildFailure> {
    let url = url(builds, &builder.url)?;
    let Secrets { file, login: _, key, known_hosts, hidden } =
        credential::secrets(builds, builder, &url).await?;
    log.hide(hidden);
    let host = host_keys::host(&url);
    let known_hosts = match host_keys {
        HostKeys::Known | HostKeys::New => known_hosts,
        HostKeys::Replaced => host_keys::remove_host(&known_hosts, &host),
    };
    // SECURITY: only for a host without a known key: ssh would also accept a new key of another type.
    let accepts_new_host = url.scheme == Scheme::Ssh
        && match host_keys {
            HostKeys::Known => false,
            HostKeys::New => !host_keys::is_known(&known_hosts, &host),
            HostKeys::Replaced => true,
        };
    // Only the directory of this repository is visible.
    let local: Vec<String> = match url.scheme {
        Scheme::File => vec![url.path.trim_end_matches('/').to_owned()],
        Scheme::Https | Scheme::Http | Scheme::Ssh => Vec::new(),
    };
    // The systemd unit may see directories that the server does not see.
    let is_visible = detection::sandbox(builds, builds.language(builder)).await?.kind != Kind::Systemd;
    let missing_path = local.iter().find(|path| is_visible && !std::path::Path::new(path).is_dir());
    if let Some(missing_path) = missing_path {
        return Err(BuildFailure::Temporary(format!("there is no directory {missing_path}")));
    }
    let readable = local.iter().map(PathBuf::from).collect();
    let url_text = builder.url.clone();
    let mut remote =
        Remote { url: url_text, local_paths: local, known_hosts, accepts_new_host, ..Remote::default() };
    log.hide(set_proxy(&mut remote, &builds.state.config.load().proxy, url.scheme));
    Ok(Access { readable, remote, credential: file, key, host })
}

/// The result of listing the references of a repository.
pub(super) struct Listing {
    /// Pairs of object and reference name. An annotated tag is followed by the tagged commit and `name^{}`.
    pub(super) references: Vec<(String, String)>,
    /// Host keys of the repository's host that were accepted, as lines of `known_hosts`, with their fingerprints.
    pub(super) host_keys: (String, Vec<String>),
}

pub(super) async fn references(
    builds: &Builds,
    builder: &GitBuilder,
    host_keys: HostKeys,
) -> Result<Listing, BuildFailure> {
    let log = Arc::new(BuildLog::new());
    let access = access(builds, builder, host_keys, &log).await?;
    let (known, host) = (access.remote.known_hosts.clone(), access.host.clone());
    let mut patterns = vec![branch_reference(builder)];
    if builder.trigger == Trigger::Tags {
        patterns.push("refs/tags/*".to_owned());
    }
    let job = Job::ListReferences(ListReferences { remote: access.remote.clone(), patterns });
    let request = request(builds, job, access, POLL_TIMEOUT);
    let output =
        detection::run(builds, builds.language(builder), request, &log, std::future::pending()).await;
    let (report, out) =
        output.map_err(|failure| with_cause(builds, failure, builder, &known, &host, &log))?;
    if out.metadata()?.len() > MAX_REFERENCES {
        return Err(BuildFailure::Final("the repository has too many references".to_owned()));
    }
    let mut text = String::new();
    out.take(MAX_REFERENCES).read_to_string(&mut text)?;
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    let references = pairs.map(|(object, name)| (object.to_owned(), name.to_owned())).collect();
    let host_keys = host_keys::new_keys(&known, &report.known_hosts.unwrap_or_default(), &host)
        .map_err(BuildFailure::Final)?;
    Ok(Listing { references, host_keys })
}

/// Adds the cause to a failure, from the log.
fn with_cause(
    builds: &Builds,
    failure: BuildFailure,
    builder: &GitBuilder,
    known: &str,
    host: &str,
    log: &BuildLog,
) -> BuildFailure {
    let remedy = match builder.id {
        0 => "let builders accept the first key of a host (Git.HostKeyPolicy)".to_owned(),
        _ => {
            let catalog = builds.state.catalog.get();
            let source = catalog.source_by_id(builder.source).map_or("", |source| source.name.as_str());
            format!("rspm edit git-builder --source={source} --name={} --accept-host-key", builder.name)
        }
    };
    let text = log.text();
    match (host_keys::explain(&text, known, host, &remedy), failure) {
        (Some(reason), BuildFailure::Temporary(_)) => BuildFailure::Temporary(reason),
        (_, failure) => failure.with_log(&log.last_lines(3)).with_remedy(refused_object(&text, builder)),
    }
}

/// Returns the remedy for an object that git's check refuses (git-fsck(1)), if that is in the log.
fn refused_object(log: &str, builder: &GitBuilder) -> Option<String> {
    log.contains("fsck error in packed object").then(|| {
        let depth = match builder.clone_depth {
            1 => "",
            _ => "; a builder with --clone-depth=1 fetches only the newest commit",
        };
        format!(
            "git fsck refuses this object of the repository: `git fsck` in a clone of it names the problem, and a commit \
             without it, such as after `git filter-repo`, is built{depth}"
        )
    })
}

/// Returns the job that fetches a commit, without the access to its repository.
fn fetch_job(builds: &Builds, builder: &GitBuilder, reference: String, commit: Option<&str>) -> FetchCommit {
    FetchCommit {
        remote: Remote::default(),
        reference,
        commit: commit.map(str::to_owned),
        depth: builder.clone_depth,
        submodules: builder.submodules,
        submodule_hosts: builds.state.config.load().git.submodule_hosts.clone(),
        history: !builds.has_description(builder),
        directory: builder.sub_dir.clone(),
    }
}

/// Checks the branch, the directory and the submodules of a builder by the rules for the job that fetches them. Fails
/// with [`RepoError::Invalid`] with the reason.
pub(super) fn check(builds: &Builds, builder: &GitBuilder) -> Result<(), RepoError> {
    let job = fetch_job(builds, builder, branch_reference(builder), None);
    job.check().map_err(|error| RepoError::Invalid(one_line(&error.to_string(), MAX_REASON)))
}

/// Fetches the tree of a commit as a tar file.
pub(super) async fn commit(
    builds: &Builds,
    builder: &GitBuilder,
    reference: String,
    commit: &str,
    log: &Arc<BuildLog>,
    interrupted: impl Future<Output = ()>,
) -> Result<File, BuildFailure> {
    let access = access(builds, builder, HostKeys::Known, log).await?;
    let (known, host) = (access.remote.known_hosts.clone(), access.host.clone());
    let job = fetch_job(builds, builder, reference, Some(commit));
    let job = Job::FetchCommit(FetchCommit { remote: access.remote.clone(), ..job });
    let timeout = builds.state.config.load().git.build_timeout.min(FETCH_TIMEOUT);
    let request = request(builds, job, access, timeout);
    let fetched = detection::run(builds, builds.language(builder), request, log, interrupted).await;
    fetched.map(|(_, tree)| tree).map_err(|failure| with_cause(builds, failure, builder, &known, &host, log))
}

fn request(builds: &Builds, job: Job, access: Access, timeout: Duration) -> Request {
    let Access { readable, credential, key, .. } = access;
    let temp_dir = builds.state.config.load().server.temp_dir.clone();
    Request { job, readable, source: None, dependencies: None, credential, key, timeout, temp_dir }
}

/// Sets the proxy for a repository over HTTPS or HTTP, and as exceptions the hosts in `NO_PROXY` of the server's
/// environment. Returns the texts that must not appear in a log.
fn set_proxy(remote: &mut Remote, proxy: &Proxy, scheme: Scheme) -> Vec<String> {
    if !matches!(scheme, Scheme::Https | Scheme::Http) {
        return Vec::new();
    }
    let Some(url) = proxy_url(proxy) else { return Vec::new() };
    let encoded = url.password().map(str::to_owned);
    let hidden = proxy.password.iter().map(|password| password.0.clone()).chain(encoded);
    let hidden = hidden.filter(|text| !text.is_empty()).collect();
    remote.proxy = ProxyUrl(url.to_string());
    let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(|name| std::env::var(name).ok());
    remote.no_proxy = exceptions.unwrap_or_default();
    hidden
}

/// Returns the URL of the proxy with user and password; `None` without a proxy, and for a URL that is not valid.
pub(super) fn proxy_url(proxy: &Proxy) -> Option<Url> {
    let text = proxy.url.as_ref().map(|url| url.0.trim()).filter(|text| !text.is_empty())?;
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&text).ok()?;
    if let Some(user) = proxy.user.as_deref().filter(|user| !user.is_empty() && url.username().is_empty()) {
        let user = user.to_owned();
        url.set_username(&user).ok()?;
        url.set_password(proxy.password.as_ref().map(|password| password.0.as_str())).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Secret;

    #[test]
    fn user_and_password_are_a_part_of_the_url_and_are_hidden() {
        let proxy = Proxy {
            url: Some(Secret("proxy.example:3128".to_owned())),
            user: Some("team".to_owned()),
            password: Some(Secret("p@ss".to_owned())),
        };
        let mut remote = Remote::default();
        assert!(set_proxy(&mut remote, &proxy, Scheme::Ssh).is_empty() && remote == Remote::default());
        assert_eq!(set_proxy(&mut remote, &proxy, Scheme::Https), ["p@ss", "p%40ss"]);
        assert_eq!(remote.proxy.0, "http://team:p%40ss@proxy.example:3128/");
        assert!(!format!("{remote:?}").contains("p%40ss"), "{remote:?}");
        assert!(set_proxy(&mut remote, &Proxy::default(), Scheme::Https).is_empty());
    }
}
