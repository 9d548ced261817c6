//! The messages between the server and a builder: JSON objects, each in one packet of at most 64 kB. The first one is
//! the request, with its descriptors; the builder answers with events.

use serde::{Deserialize, Serialize};

/// Version of the protocol. A builder refuses requests of other versions; unknown fields are ignored.
pub const VERSION: u32 = 1;
/// Maximum length of a packet in bytes.
pub const MAX_PACKET: usize = 64 << 10;
/// Maximum number of descriptors of a request.
pub const MAX_DESCRIPTORS: usize = 8;
/// Maximum length in bytes of a URL, a reference, a path and a list of host keys.
const MAX_TEXT: usize = 16 << 10;

/// A message that cannot be sent, or is invalid.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The packet is longer than [`MAX_PACKET`].
    #[error("a message of {0} bytes is longer than {MAX_PACKET} bytes")]
    Length(usize),
    /// Not the JSON of a message.
    #[error("invalid message: {0}")]
    Json(#[from] serde_json::Error),
    /// A request of another protocol version.
    #[error("protocol version {0} is not supported; this program has version {VERSION}")]
    Version(u32),
    /// A value that is not allowed.
    #[error("{field} is invalid: {reason}")]
    Value {
        /// The field of the request.
        field: &'static str,
        /// The reason why it is not allowed.
        reason: String,
    },
}

/// The purpose of a descriptor of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The write end of a pipe: standard output and standard error of all commands.
    Log,
    /// An empty file open for writing: the result file.
    #[serde(rename = "out")]
    Result,
    /// A tar file open for reading: the package's directory.
    Source,
    /// A sealed memory file with a [`Credential`].
    Credential,
    /// A connected stream socket of an SSH agent.
    Agent,
}

/// A user name and a password for one HTTP server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Scheme of the URL: `https` or `http`.
    pub protocol: String,
    /// Host of the URL, with the port if it has one.
    pub host: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

/// Limits of a job, in addition to those of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Duration of the job in seconds.
    pub seconds: u64,
    /// Size of the result in bytes.
    pub result: u64,
    /// Number of files of a tree.
    pub files: u64,
    /// Size of each file that a command writes, in bytes.
    pub file_size: u64,
    /// Private memory of each process in bytes.
    pub memory: Option<u64>,
    /// Number of processes of the user; only for a user or a user namespace of the job's own.
    pub processes: Option<u64>,
    /// Whether commands run only on processors that are otherwise idle.
    pub idle: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            seconds: 1800,
            result: 2 << 30,
            files: 200_000,
            file_size: 2 << 30,
            memory: None,
            processes: None,
            idle: false,
        }
    }
}

/// A repository of git and how to connect to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remote {
    /// URL; see [`crate::builder::url`].
    pub url: String,
    /// Directories below which `file` URLs are allowed.
    pub local_paths: Vec<String>,
    /// Accepted SSH host keys, in the format of `known_hosts`.
    pub known_hosts: String,
    /// Whether the key of a host that has none there is accepted, and reported.
    pub accepts_new_host: bool,
    /// The proxy for HTTPS and HTTP; empty for none.
    pub proxy: ProxyUrl,
    /// Hosts that are reached without the proxy, as in the variable `NO_PROXY`.
    pub no_proxy: String,
}

/// The URL of a proxy. It may contain a password, so its `Debug` form does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyUrl(pub String);

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A request to list references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReferences {
    /// The repository.
    pub remote: Remote,
    /// Full names, such as `HEAD` and `refs/heads/main`, or `refs/tags/*` for all tags.
    pub patterns: Vec<String>,
}

/// A request to fetch a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchCommit {
    /// The repository.
    pub remote: Remote,
    /// Full name of the branch or tag, or `HEAD`.
    pub reference: String,
    /// The commit that is expected, 40 or 64 hexadecimal digits; without it the newest one.
    #[serde(default)]
    pub commit: Option<String>,
    /// Number of commits to fetch; 0 for the full history.
    #[serde(default)]
    pub depth: u32,
    /// Levels of submodules to fetch.
    #[serde(default)]
    pub submodules: u32,
    /// Other hosts from which submodules may be fetched.
    #[serde(default)]
    pub submodule_hosts: Vec<String>,
    /// Whether a Python project that takes its version from git gets the history, as `.git`.
    #[serde(default)]
    pub history: bool,
    /// Relative path of the only directory that is needed; empty for the whole tree.
    #[serde(default)]
    pub directory: String,
}

/// A request to build an R package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildRPackage {
    /// Installation directory of R, such as `/opt/R/4.3.2`; without it R is searched for.
    pub r: Option<String>,
    /// A library with packages that the build needs.
    pub library: Option<String>,
    /// Whether to build vignettes.
    pub vignettes: bool,
}

/// A request to detect R.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectR {
    /// Installation directory of R; without it R is searched for.
    pub r: Option<String>,
}

/// A request to build a Python package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildPythonPackage {
    /// Installation directory of Python, such as `/opt/python/3.12.1`; without it Python is searched for.
    pub python: Option<String>,
    /// Version for projects that take theirs from git.
    pub version: Option<String>,
    /// Time of the commit in seconds, which archives contain.
    pub time: Option<u64>,
}

/// A request to detect Python.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectPython {
    /// Installation directory of Python; without it Python is searched for.
    pub python: Option<String>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub enum Job {
    /// Writes `<object>\t<reference>` lines of matching references to the result file.
    ListReferences(ListReferences),
    /// Writes the tree of a commit, or one directory of it, to the result file as a tar file.
    FetchCommit(FetchCommit),
    /// Writes a source package to the result file.
    BuildRPackage(BuildRPackage),
    /// Reports the version of R.
    DetectR(DetectR),
    /// Writes a source distribution and, if it can be built, a wheel to the result file, as a tar file.
    BuildPythonPackage(BuildPythonPackage),
    /// Reports the version of Python.
    DetectPython(DetectPython),
}

/// The role of a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs git, with the network and without code of the repository.
    Fetch,
    /// Runs code of the repository, without the network.
    Build,
}

impl Role {
    /// The first argument of the program.
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Role::Fetch => "fetch",
            Role::Build => "build",
        }
    }
}

impl Job {
    /// The role that runs it.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Job::ListReferences(_) | Job::FetchCommit(_) => Role::Fetch,
            Job::BuildRPackage(_) | Job::DetectR(_) | Job::BuildPythonPackage(_) | Job::DetectPython(_) => {
                Role::Build
            }
        }
    }
}

/// A request: one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of the protocol.
    pub v: u32,
    /// The purposes of the descriptors, in their order.
    pub descriptors: Vec<Purpose>,
    /// Limits of the job.
    #[serde(default)]
    pub limits: Limits,
    /// The job.
    #[serde(flatten)]
    pub job: Job,
}

/// Kind of a failure. Only some may succeed at a second attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A command failed, or was ended by a signal of its own.
    Command,
    /// The repository cannot be reached, or does not accept the credential.
    Remote,
    /// The time limit.
    Time,
    /// The kernel ended a process because the memory was exhausted.
    Memory,
    /// A limit on sizes or numbers of files.
    Size,
    /// The tree or the result is not acceptable.
    Content,
    /// The builder itself could not do its work.
    Builder,
    /// A cause of a newer version.
    #[serde(other)]
    Unknown,
}

impl Cause {
    /// Whether the same job may succeed later.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Cause::Remote | Cause::Memory | Cause::Builder)
    }
}

/// The reason why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Kind of the failure.
    pub cause: Cause,
    /// One sentence.
    pub reason: String,
}

/// The last event of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The failure; none if the job succeeded.
    pub failure: Option<Failure>,
    /// The fetched commit.
    pub commit: Option<String>,
    /// Name of the package file as written by the command. Only the content of the file decides.
    pub file: Option<String>,
    /// Number of bytes written to the result file.
    pub size: u64,
    /// SHA-256 of these bytes. Not trusted: the reader of the result file computes it again.
    pub sha256: Option<String>,
    /// SSH host keys after the job, in the format of `known_hosts`, if new ones were to be accepted.
    pub known_hosts: Option<String>,
    /// Number of Git LFS pointers in the tree.
    pub lfs_pointers: u64,
    /// Peak memory of the largest process in bytes.
    pub max_rss: u64,
    /// Duration in milliseconds.
    pub milliseconds: u64,
}

/// An event, from the builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The job was accepted.
    Started {
        /// Version of the protocol.
        v: u32,
        /// The program that does the work and its version, such as `R 4.2.2`.
        program: String,
    },
    /// A part of the job has begun.
    Phase {
        /// Its name.
        name: String,
    },
    /// The job has ended.
    Ended(Report),
    /// The job was not started.
    Refused {
        /// One sentence.
        reason: String,
    },
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

impl Request {
    /// Returns the packet.
    ///
    /// # Errors
    /// It would be too long.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        encode(self)
    }

    /// Reads and checks a packet.
    ///
    /// # Errors
    /// It is too long or invalid.
    pub fn decode(packet: &[u8]) -> Result<Request, MessageError> {
        check_length(packet)?;
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // First, so that a request with an unknown job is refused for its version.
        let Version { v } = serde_json::from_slice(packet)?;
        if v != VERSION {
            return Err(MessageError::Version(v));
        }
        let request: Request = serde_json::from_slice(packet)?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), MessageError> {
        if self.descriptors.len() > MAX_DESCRIPTORS {
            return Err(invalid("descriptors", "more than 8"));
        }
        for (index, purpose) in self.descriptors.iter().enumerate() {
            if self.descriptors[..index].contains(purpose) {
                return Err(invalid("descriptors", "one purpose appears twice"));
            }
        }
        let required_purposes: &[Purpose] = match &self.job {
            Job::ListReferences(job) => {
                check_remote(&job.remote)?;
                if job.patterns.is_empty() || job.patterns.len() > 16 {
                    return Err(invalid("patterns", "the number of patterns must be 1 to 16"));
                }
                for pattern in &job.patterns {
                    check_reference("patterns", pattern.strip_suffix("/*").unwrap_or(pattern))?;
                }
                &[Purpose::Log, Purpose::Result]
            }
            Job::FetchCommit(job) => {
                check_remote(&job.remote)?;
                check_reference("reference", &job.reference)?;
                check_directory(&job.directory)?;
                if let Some(commit) = &job.commit {
                    check_commit(commit)?;
                }
                if job.submodules > 16 {
                    return Err(invalid("submodules", "more than 16 levels"));
                }
                &[Purpose::Log, Purpose::Result]
            }
            Job::BuildRPackage(job) => {
                check_absolute("r", job.r.as_deref())?;
                check_absolute("library", job.library.as_deref())?;
                &[Purpose::Log, Purpose::Result, Purpose::Source]
            }
            Job::BuildPythonPackage(job) => {
                check_absolute("python", job.python.as_deref())?;
                let is_version =
                    |text: &String| text.len() <= 200 && text.chars().all(|c| c.is_ascii_graphic());
                if !job.version.as_ref().is_none_or(is_version) {
                    return Err(invalid("version", "not a version"));
                }
                &[Purpose::Log, Purpose::Result, Purpose::Source]
            }
            Job::DetectPython(job) => {
                check_absolute("python", job.python.as_deref())?;
                &[Purpose::Log]
            }
            Job::DetectR(job) => {
                check_absolute("r", job.r.as_deref())?;
                &[Purpose::Log]
            }
        };
        if let Some(purpose) = required_purposes.iter().find(|purpose| !self.descriptors.contains(purpose)) {
            return Err(invalid("descriptors", format!("{purpose:?} is missing")));
        }
        Ok(())
    }
}

impl Event {
    /// Returns the packet.
    ///
    /// # Errors
    /// It would be too long.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        encode(self)
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// It is too long or invalid.
    pub fn decode(packet: &[u8]) -> Result<Event, MessageError> {
        check_length(packet)?;
        Ok(serde_json::from_slice(packet)?)
    }
}

impl Failure {
    /// A failure; control characters of the reason are replaced, and it is shortened to 2,000 characters.
    #[must_use]
    pub fn new(cause: Cause, reason: impl AsRef<str>) -> Failure {
        let reason = reason.as_ref().trim_end().chars().take(2000);
        Failure { cause, reason: reason.map(|c| if c.is_control() { ' ' } else { c }).collect() }
    }
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    let packet = serde_json::to_vec(message)?;
    check_length(&packet)?;
    Ok(packet)
}

fn check_length(packet: &[u8]) -> Result<(), MessageError> {
    if packet.len() > MAX_PACKET { Err(MessageError::Length(packet.len())) } else { Ok(()) }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> MessageError {
    MessageError::Value { field, reason: reason.into() }
}

/// The URL itself is checked by [`crate::builder::url`].
fn check_remote(remote: &Remote) -> Result<(), MessageError> {
    for path in &remote.local_paths {
        check_absolute("local_paths", Some(path))?;
    }
    if remote.known_hosts.len() > MAX_TEXT || remote.known_hosts.contains('\0') {
        return Err(invalid("known_hosts", "too long, or a NUL character"));
    }
    // It becomes a value in the configuration of git.
    let proxy = &remote.proxy.0;
    if proxy.len() > MAX_TEXT || !proxy.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c)) {
        return Err(invalid("proxy", "not a URL"));
    }
    if remote.no_proxy.len() > MAX_TEXT || remote.no_proxy.chars().any(char::is_control) {
        return Err(invalid("no_proxy", "too long, or a control character"));
    }
    Ok(())
}

/// The rules of `git check-ref-format` that matter for arguments and patterns.
fn check_reference(field: &'static str, name: &str) -> Result<(), MessageError> {
    let is_allowed = |c: char| !c.is_control() && !" ~^:?*[\\".contains(c);
    let is_full_name = name == "HEAD" || name.starts_with("refs/");
    if !is_full_name
        || name.len() > 1024
        || !name.chars().all(is_allowed)
        || name.contains("..")
        || name.contains("@{")
    {
        return Err(invalid(field, format!("'{}' is not the full name of a reference", name.escape_debug())));
    }
    Ok(())
}

fn check_commit(text: &str) -> Result<(), MessageError> {
    let is_hexadecimal = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_hexadecimal && (text.len() == 40 || text.len() == 64) {
        return Ok(());
    }
    Err(invalid("commit", "it must have 40 or 64 hexadecimal digits"))
}

fn check_directory(path: &str) -> Result<(), MessageError> {
    let is_valid_name = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && !name.starts_with(['-', '!', '#'])
            && !name.eq_ignore_ascii_case(".git")
            && !name.chars().any(|c| c.is_control() || "\\*?[]".contains(c))
    };
    if path.is_empty() || (path.len() <= 4096 && path.split('/').all(is_valid_name)) {
        return Ok(());
    }
    Err(invalid("directory", format!("'{}' is not a relative path", path.escape_debug())))
}

fn check_absolute(field: &'static str, path: Option<&str>) -> Result<(), MessageError> {
    match path {
        Some(path)
            if !path.starts_with('/')
                || path.len() > 4096
                || path.chars().any(char::is_control)
                || path.split('/').any(|name| name == "..") =>
        {
            Err(invalid(field, format!("'{}' is not an absolute path", path.escape_debug())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(change: impl FnOnce(&mut FetchCommit)) -> Request {
        let mut job = FetchCommit {
            remote: Remote { url: "https://git.example.org/a.git".to_owned(), ..Remote::default() },
            reference: "refs/heads/main".to_owned(),
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            depth: 1,
            submodules: 0,
            submodule_hosts: Vec::new(),
            history: false,
            directory: "r/package".to_owned(),
        };
        change(&mut job);
        let descriptors = vec![Purpose::Log, Purpose::Result, Purpose::Credential];
        Request { v: VERSION, descriptors, limits: Limits::default(), job: Job::FetchCommit(job) }
    }

    #[test]
    fn messages_are_what_was_encoded() {
        let request = fetch(|_| {});
        assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
        for event in [
            Event::Started { v: VERSION, program: "R 4.2.2".to_owned() },
            Event::Phase { name: "build".to_owned() },
            Event::Ended(Report { failure: Some(Failure::new(Cause::Time, "late\n")), ..Report::default() }),
            Event::Refused { reason: "no".to_owned() },
        ] {
            assert_eq!(Event::decode(&event.encode().unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn events_of_a_newer_version_are_accepted() {
        let event = br#"{"event":"weather","sun":true}"#;
        assert_eq!(Event::decode(event).unwrap(), Event::Unknown);
        let packet = br#"{"event":"ended","failure":{"cause":"moon","reason":"x"},"new":1}"#;
        let Event::Ended(report) = Event::decode(packet).unwrap() else { panic!("another event") };
        assert_eq!(report.failure.map(|failure| failure.cause), Some(Cause::Unknown));
    }

    #[test]
    fn another_version_is_refused_as_such() {
        let error = Request::decode(br#"{"v":2,"job":"paint"}"#).unwrap_err();
        assert!(matches!(error, MessageError::Version(2)), "{error}");
    }

    #[test]
    fn long_and_invalid_packets_are_refused() {
        for packet in ["", "{}", "[1]", "{\"v\":1}", "{\"v\":1,\"descriptors\":[],\"job\":\"paint\"}"] {
            assert!(Request::decode(packet.as_bytes()).is_err(), "{packet}");
        }
        assert!(matches!(Request::decode(&vec![b' '; MAX_PACKET + 1]), Err(MessageError::Length(_))));
        let long = fetch(|job| job.remote.url = "x".repeat(MAX_PACKET));
        assert!(matches!(long.encode(), Err(MessageError::Length(_))));
    }

    #[test]
    fn values_that_a_command_could_misread_are_refused() {
        let changes: [fn(&mut FetchCommit); 12] = [
            |job| job.reference = "--upload-pack=x".to_owned(),
            |job| job.reference = "main".to_owned(),
            |job| job.reference = "refs/heads/a:b".to_owned(),
            |job| job.reference = "refs/heads/a\nb".to_owned(),
            |job| job.reference = "refs/heads/a..b".to_owned(),
            |job| job.commit = Some("--all".to_owned()),
            |job| job.commit = Some("0123".to_owned()),
            |job| job.directory = "../x".to_owned(),
            |job| job.directory = "/etc".to_owned(),
            |job| job.directory = "a/.GIT".to_owned(),
            |job| job.directory = "!a".to_owned(),
            |job| job.remote.local_paths = vec!["/srv/../etc".to_owned()],
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let packet = fetch(change).encode().unwrap();
            let error = Request::decode(&packet).expect_err(&number.to_string());
            assert!(matches!(error, MessageError::Value { .. }), "{error}");
        }
    }

    #[test]
    fn the_descriptors_of_a_job_are_required_once() {
        for descriptors in [vec![], vec![Purpose::Log], vec![Purpose::Log, Purpose::Result, Purpose::Result]]
        {
            let request = Request { descriptors, ..fetch(|_| {}) };
            assert!(Request::decode(&request.encode().unwrap()).is_err());
        }
    }
}
