//! The environment and configuration with which git runs, instead of those of the system and of users.

use std::fmt::Write;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

use super::credential;
use crate::message::{Cause, JobFailure, Purpose, Remote};
use crate::program::Descriptors;
use crate::program::job::{RunningJob, Stop, io_failure};
use crate::url::{GitUrl, Scheme};

/// Configuration for every command. It overrides settings of repositories that could run programs. Objects are checked
/// (git-fsck(1)), except for the lines of author, committer and tagger: imports from other systems wrote malformed ones
/// into commits that cannot be changed any more, and a build does not use them.
const CONFIG: &str = "\
[core]
	hooksPath = /dev/null
	attributesFile = /dev/null
	excludesFile = /dev/null
	fsmonitor = false
	symlinks = true
	autocrlf = false
	protectHFS = true
	protectNTFS = true
[transfer]
	fsckObjects = true
	advertiseSID = false
[fetch \"fsck\"]
	zeroPaddedFilemode = ignore
	badDate = ignore
	badDateOverflow = ignore
	badEmail = ignore
	badName = ignore
	badTimezone = ignore
	missingAuthor = ignore
	missingCommitter = ignore
	missingEmail = ignore
	missingNameBeforeEmail = ignore
	missingSpaceBeforeDate = ignore
	missingSpaceBeforeEmail = ignore
	missingTaggerEntry = ignore
	multipleAuthors = ignore
	zeroPaddedDate = ignore
[fetch]
	recurseSubmodules = false
[submodule]
	recurse = false
[http]
	followRedirects = initial
	lowSpeedLimit = 1000
	lowSpeedTime = 60
	emptyAuth = false
[protocol]
	version = 2
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
[credential]
	helper =
	interactive = never
";

/// Options of SSH: no system configuration, no interaction, only known hosts.
const SSH: &str = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o UpdateHostKeys=no \
    -o GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts -o ConnectTimeout=10 -o ServerAliveInterval=15 \
    -o ServerAliveCountMax=4 -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no -o ProxyCommand=none \
    -o ControlMaster=no -o ControlPath=none -o ClearAllForwardings=yes";

/// Maximum length of host keys in a report, in bytes.
const MAX_KNOWN_HOSTS: usize = 16 << 10;

/// git, prepared for one remote repository.
pub(super) struct Git<'a> {
    job: &'a RunningJob,
    pub(super) url: GitUrl,
    config: PathBuf,
    ssh: String,
    no_proxy: String,
    agent: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    // Kept open, because the commands inherit it.
    _credential: Option<OwnedFd>,
}

impl<'a> Git<'a> {
    /// Checks the URL and writes the configuration.
    pub(super) fn new(
        job: &'a RunningJob,
        remote: &Remote,
        program: &Path,
        descriptors: &mut Descriptors,
    ) -> Result<Git<'a>, Stop> {
        let refusal = |error: crate::url::UrlError| JobFailure::new(Cause::Content, error.to_string());
        let url = GitUrl::parse(&remote.url).map_err(refusal)?;
        url.check_local(&remote.local_paths).map_err(refusal)?;
        let write_error = || io_failure("could not write the configuration of git");

        let mut config = CONFIG.to_owned();
        let credential = descriptors.remove(&Purpose::Credential);
        if let Some(credential) = &credential {
            fcntl_setfd(credential, FdFlags::empty())
                .map_err(|error| io_failure("could not forward the credential")(error.into()))?;
            let program = program.display().to_string().replace('\'', r"'\\''");
            let _ = writeln!(config, "\thelper = \"!'{program}' credential {}\"", credential.as_raw_fd());
        }
        if url.scheme == Scheme::File {
            // The repository may belong to another user, which git refuses otherwise. The process that reads it takes
            // this setting only from this file.
            let path = url.path.trim_end_matches('/');
            let _ = writeln!(config, "[safe]\n\tdirectory = \"{path}\"\n\tdirectory = \"{path}/.git\"");
        }
        if !remote.proxy.0.is_empty() {
            let _ = writeln!(config, "[http]\n\tproxy = \"{}\"", remote.proxy.0);
        }
        let file = job.workspace.home().join("gitconfig");
        fs::write(&file, config).map_err(write_error())?;
        let known_hosts = job.workspace.home().join("known_hosts");
        fs::write(&known_hosts, &remote.known_hosts).map_err(write_error())?;
        let agent = match descriptors.remove(&Purpose::Agent) {
            Some(upstream) => Some(
                credential::relay_agent(&job.workspace.home(), upstream)
                    .map_err(io_failure("could not open a socket for the SSH agent"))?,
            ),
            None => None,
        };
        let checking = if remote.accepts_new_host { "accept-new" } else { "yes" };
        let ssh = format!(
            "{SSH} -o StrictHostKeyChecking={checking} -o UserKnownHostsFile={}",
            known_hosts.display()
        );
        let reported = remote.accepts_new_host.then_some(known_hosts);
        Ok(Git {
            job,
            url,
            config: file,
            ssh,
            no_proxy: remote.no_proxy.clone(),
            agent,
            known_hosts: reported,
            _credential: credential,
        })
    }

    /// Returns the host keys after a command that may accept some; `None` for none, or too many for a message.
    pub(super) fn known_hosts(&self) -> Option<String> {
        let text = fs::read_to_string(self.known_hosts.as_ref()?).ok()?;
        (text.len() <= MAX_KNOWN_HOSTS).then_some(text)
    }

    /// Returns a command in the directory of the sources. If the URL is local, the command may use only local
    /// repositories; otherwise only HTTP and SSH.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.job.workspace.command("git");
        let protocols = match self.url.scheme {
            Scheme::File => "file",
            Scheme::Https | Scheme::Http | Scheme::Ssh => "https:http:ssh",
        };
        command
            .args(arguments)
            .current_dir(self.job.workspace.sources())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", &self.config)
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_SSH_VARIANT", "ssh")
            .env("GIT_SSH_COMMAND", &self.ssh);
        if !self.no_proxy.is_empty() {
            command.env("no_proxy", &self.no_proxy);
        }
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command
    }

    /// Runs a command that needs no network.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), Stop> {
        self.job.run(&name(arguments), &mut self.command(arguments))
    }

    /// Runs a command that connects to a server; its failures may be temporary.
    pub(super) fn run_remote(&self, command: &mut Command) -> Result<(), Stop> {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let name = name(&arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        self.job.run(&name, command).map_err(remote_failure)
    }

    /// Runs a command and returns its output, without the newline at its end.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String, Stop> {
        let bytes = self.job.output(&name(arguments), &mut self.command(arguments), 16 << 20)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }
}

/// Sets the cause of a command's failure to [`Cause::Remote`], because the server may be the reason.
pub(super) fn remote_failure(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(JobFailure { cause: Cause::Command, reason }) => {
            JobFailure { cause: Cause::Remote, reason }.into()
        }
        other => other,
    }
}

/// Returns the name of a command in messages, such as `git fetch` or `git --version`.
fn name(arguments: &[&str]) -> String {
    let command = arguments.iter().find(|argument| !argument.starts_with('-'));
    format!("git {}", command.or(arguments.first()).unwrap_or(&""))
}
