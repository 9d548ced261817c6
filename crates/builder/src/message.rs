//! The messages between the server and a builder in its sandbox, which are requests and events: JSON objects, each in
//! one packet of at most 64 kB. The first one is the request, with its descriptors; the builder answers with events.

use serde::{Deserialize, Serialize};

use super::value;

/// Version of the protocol. A builder refuses requests of newer versions; unknown fields are ignored. A request states
/// the lowest version that supports its job ([`Job::version`]), for older builders.
pub const VERSION: u32 = 2;
/// Maximum length of a packet in bytes.
pub const MAX_PACKET: usize = 64 << 10;
/// Maximum number of descriptors of a request.
pub const MAX_DESCRIPTORS: usize = 8;
/// Maximum number of packages that a build installs before it begins.
pub const MAX_DEPENDENCIES: usize = 300;
/// Maximum length in bytes of a URL, a reference, a path and a list of host keys.
const MAX_TEXT: usize = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("a message of {0} bytes is longer than {MAX_PACKET} bytes")]
    Length(usize),
    #[error("invalid message: {0}")]
    Json(#[from] serde_json::Error),
    #[error("protocol version {0} is not supported; this program has version {VERSION}")]
    Version(u32),
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
    /// A tar file open for reading: the directory of the package.
    Source,
    /// A file open for reading: the concatenated files of the packages in [`BuildRPackage::dependencies`].
    Dependencies,
    /// An immutable in-memory file with a [`Credential`].
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
    /// Number of processes of the user. Only set if the job has its own user or user namespace.
    pub processes: Option<u64>,
    /// Whether commands run only on otherwise idle processors.
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

/// A git repository, and how to connect to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remote {
    /// URL; see [`crate::url`].
    pub url: String,
    /// Directories below which `file` URLs are allowed.
    pub local_paths: Vec<String>,
    /// Accepted SSH host keys, in the format of `known_hosts`.
    pub known_hosts: String,
    /// Whether the key of a host without a key in `known_hosts` is accepted and reported.
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReferences {
    pub remote: Remote,
    /// Full names, such as `HEAD` and `refs/heads/main`, or `refs/tags/*` for all tags.
    pub patterns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchCommit {
    pub remote: Remote,
    /// Full name of the branch or tag, or `HEAD`.
    pub reference: String,
    /// The expected commit, 40 or 64 hexadecimal digits; `None` for the newest commit of the reference.
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
    /// Whether the tree of a Python project that takes its version from git includes the history, as `.git`.
    #[serde(default)]
    pub history: bool,
    /// Relative path of the only directory that is needed; empty for the whole tree.
    #[serde(default)]
    pub directory: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildRPackage {
    /// Installation directory of R, such as `/opt/R/4.3.2`. If missing, R is searched for.
    pub r: Option<String>,
    /// A library with packages that the build needs.
    pub library: Option<String>,
    pub vignettes: bool,
    /// Packages that are installed before the build, each after its dependencies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<RDependency>,
}

/// A source package of R that a build needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RDependency {
    pub name: String,
    pub version: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Requirements on its version, such as `>= 1.2`. The package is not installed if an installed version meets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildPythonPackage {
    /// Installation directory of Python, such as `/opt/python/3.12.1`. If missing, Python is searched for.
    pub python: Option<String>,
    /// The version for projects that take it from git.
    pub version: Option<String>,
    /// Time of the commit in seconds since the epoch, for the times in archives.
    pub time: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectPython {
    /// Installation directory of Python. If missing, Python is searched for.
    pub python: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub enum Job {
    /// Writes `<object>\t<reference>` lines of matching references to the result file.
    ListReferences(ListReferences),
    /// Writes the tree of a commit, or one directory of it, to the result file as a tar file.
    FetchCommit(FetchCommit),
    /// Writes a source package to the result file.
    BuildRPackage(BuildRPackage),
    /// Writes a source distribution and, if it can be built, a wheel to the result file, as a tar file.
    BuildPythonPackage(BuildPythonPackage),
    DetectPython(DetectPython),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs git, with the network and without code of the repository.
    Fetch,
    /// Runs code of the repository, without the network.
    Build,
}

impl Role {
    /// Returns the first argument of the program.
    pub fn argument(self) -> &'static str {
        match self {
            Role::Fetch => "fetch",
            Role::Build => "build",
        }
    }
}

impl Job {
    pub fn role(&self) -> Role {
        match self {
            Job::ListReferences(_) | Job::FetchCommit(_) => Role::Fetch,
            Job::BuildRPackage(_) | Job::BuildPythonPackage(_) | Job::DetectPython(_) => Role::Build,
        }
    }

    /// Returns the lowest protocol version that supports the job.
    pub fn version(&self) -> u32 {
        match self {
            Job::BuildRPackage(job) if !job.dependencies.is_empty() => 2,
            Job::BuildRPackage(_)
            | Job::ListReferences(_)
            | Job::FetchCommit(_)
            | Job::BuildPythonPackage(_)
            | Job::DetectPython(_) => 1,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub v: u32,
    /// The purposes of the descriptors, in their order.
    pub descriptors: Vec<Purpose>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(flatten)]
    pub job: Job,
}

/// Kind of a failure. It determines whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A command failed, or was killed by a signal; none of the other causes applies.
    Command,
    /// The repository cannot be reached, or does not accept the credential.
    Remote,
    Time,
    /// The time limit was reached while other processes used the processors.
    Processor,
    /// The kernel killed a process because the memory was exhausted.
    Memory,
    /// A limit on sizes or numbers of files was reached.
    Size,
    /// The tree or the result is not acceptable.
    Content,
    /// An error of the builder itself.
    Builder,
    /// A cause from a newer version.
    #[serde(other)]
    Unknown,
}

impl Cause {
    /// Returns whether the same job may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Cause::Remote | Cause::Processor | Cause::Memory | Cause::Builder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct JobFailure {
    pub cause: Cause,
    pub reason: String,
}

/// The last event of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The failure; `None` if the job succeeded.
    pub failure: Option<JobFailure>,
    pub commit: Option<String>,
    /// Name of the package file that the command wrote. Not trusted: name and version are read from its content.
    pub file: Option<String>,
    /// Number of bytes written to the result file.
    pub size: u64,
    /// SHA-256 of these bytes. Not trusted: the reader of the result file computes it again.
    pub sha256: Option<String>,
    /// SSH host keys after the job, in the format of `known_hosts`, if new keys were accepted.
    pub known_hosts: Option<String>,
    /// Number of Git LFS pointers in the tree.
    pub lfs_pointers: u64,
    /// Peak memory of the largest process in bytes.
    pub max_rss: u64,
    /// Duration in milliseconds.
    pub milliseconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Started {
        v: u32,
        /// The program that the job runs, and its version, such as `R 4.2.2`.
        program: String,
    },
    /// A part of the job has begun.
    Phase {
        name: String,
    },
    Ended(Report),
    /// The job was not started.
    Refused {
        reason: String,
    },
    /// An event from a newer version.
    #[serde(other)]
    Unknown,
}

impl Request {
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        encode(self)
    }

    pub fn decode(packet: &[u8]) -> Result<Request, MessageError> {
        check_length(packet)?;
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // The version is read first, so that a request with an unknown job is refused because of its version.
        let Version { v } = serde_json::from_slice(packet)?;
        if !(1..=VERSION).contains(&v) {
            return Err(MessageError::Version(v));
        }
        let request: Request = serde_json::from_slice(packet)?;
        let minimum = request.job.version();
        if v < minimum {
            return Err(invalid("v", format!("the job needs version {minimum} of the protocol")));
        }
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
                    check("patterns", value::reference(pattern.strip_suffix("/*").unwrap_or(pattern)))?;
                }
                &[Purpose::Log, Purpose::Result]
            }
            Job::FetchCommit(job) => {
                job.check()?;
                &[Purpose::Log, Purpose::Result]
            }
            Job::BuildRPackage(job) => {
                check("r", value::absolute(job.r.as_deref()))?;
                check("library", value::absolute(job.library.as_deref()))?;
                check_dependencies(&job.dependencies)?;
                match job.dependencies.as_slice() {
                    [] => &[Purpose::Log, Purpose::Result, Purpose::Source],
                    _ => &[Purpose::Log, Purpose::Result, Purpose::Source, Purpose::Dependencies],
                }
            }
            Job::BuildPythonPackage(job) => {
                check("python", value::absolute(job.python.as_deref()))?;
                let is_version =
                    |text: &String| text.len() <= 200 && text.chars().all(|c| c.is_ascii_graphic());
                if !job.version.as_ref().is_none_or(is_version) {
                    return Err(invalid("version", "not a version"));
                }
                &[Purpose::Log, Purpose::Result, Purpose::Source]
            }
            Job::DetectPython(job) => {
                check("python", value::absolute(job.python.as_deref()))?;
                &[Purpose::Log]
            }
        };
        if let Some(purpose) = required_purposes.iter().find(|purpose| !self.descriptors.contains(purpose)) {
            return Err(invalid("descriptors", format!("{purpose:?} is missing")));
        }
        Ok(())
    }
}

impl FetchCommit {
    /// Checks all fields except the URL, which is parsed by [`crate::url`] before the job.
    pub fn check(&self) -> Result<(), MessageError> {
        check_remote(&self.remote)?;
        check("reference", value::reference(&self.reference))?;
        check("directory", value::directory(&self.directory))?;
        if let Some(commit) = &self.commit {
            check("commit", value::commit(commit))?;
        }
        if self.submodules > 16 {
            return Err(invalid("submodules", "more than 16 levels"));
        }
        Ok(())
    }
}

impl Event {
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        encode(self)
    }

    pub fn decode(packet: &[u8]) -> Result<Event, MessageError> {
        check_length(packet)?;
        Ok(serde_json::from_slice(packet)?)
    }
}

impl JobFailure {
    /// Creates a failure. Control characters in the reason are replaced, and it is shortened to 2,000 characters.
    pub fn new(cause: Cause, reason: impl AsRef<str>) -> JobFailure {
        let reason = reason.as_ref().trim_end().chars().take(2000);
        JobFailure { cause, reason: reason.map(|c| if c.is_control() { ' ' } else { c }).collect() }
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

fn check(field: &'static str, result: Result<(), String>) -> Result<(), MessageError> {
    result.map_err(|reason| invalid(field, reason))
}

fn invalid(field: &'static str, reason: impl Into<String>) -> MessageError {
    MessageError::Value { field, reason: reason.into() }
}

/// Checks all fields except the URL, which is parsed by [`crate::url`] before the job.
fn check_remote(remote: &Remote) -> Result<(), MessageError> {
    for path in &remote.local_paths {
        check("local_paths", value::absolute(Some(path)))?;
    }
    if remote.known_hosts.len() > MAX_TEXT || remote.known_hosts.contains('\0') {
        return Err(invalid("known_hosts", "too long, or a NUL character"));
    }
    // The proxy becomes a value in git's configuration.
    let proxy = &remote.proxy.0;
    if proxy.len() > MAX_TEXT || !proxy.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c)) {
        return Err(invalid("proxy", "not a URL"));
    }
    if remote.no_proxy.len() > MAX_TEXT || remote.no_proxy.chars().any(char::is_control) {
        return Err(invalid("no_proxy", "too long, or a control character"));
    }
    Ok(())
}

fn check_dependencies(dependencies: &[RDependency]) -> Result<(), MessageError> {
    if dependencies.len() > MAX_DEPENDENCIES {
        return Err(invalid("dependencies", format!("more than {MAX_DEPENDENCIES} packages")));
    }
    for RDependency { name, version, requirements, .. } in dependencies {
        check("dependencies", value::r_package(name, version, requirements))?;
    }
    Ok(())
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
        Request { v: 1, descriptors, limits: Limits::default(), job: Job::FetchCommit(job) }
    }

    #[test]
    fn decoded_messages_equal_the_encoded_messages() {
        let request = fetch(|_| {});
        assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
        for event in [
            Event::Started { v: VERSION, program: "R 4.2.2".to_owned() },
            Event::Phase { name: "build".to_owned() },
            Event::Ended(Report {
                failure: Some(JobFailure::new(Cause::Time, "late\n")),
                ..Report::default()
            }),
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
    fn a_request_of_another_version_is_refused_because_of_its_version() {
        for (v, packet) in [(0, r#"{"v":0,"job":"paint"}"#), (3, r#"{"v":3,"job":"paint"}"#)] {
            let error = Request::decode(packet.as_bytes()).unwrap_err();
            assert!(matches!(error, MessageError::Version(number) if number == v), "{error}");
        }
    }

    fn build(dependencies: Vec<RDependency>) -> Request {
        let mut descriptors = vec![Purpose::Log, Purpose::Result, Purpose::Source];
        if !dependencies.is_empty() {
            descriptors.push(Purpose::Dependencies);
        }
        let job = Job::BuildRPackage(BuildRPackage { dependencies, ..BuildRPackage::default() });
        Request { v: job.version(), descriptors, limits: Limits::default(), job }
    }

    fn dependency(name: &str, version: &str, requirement: &str) -> RDependency {
        let requirements = vec![requirement.to_owned()];
        RDependency { name: name.to_owned(), version: version.to_owned(), size: 1, requirements }
    }

    #[test]
    fn only_a_build_with_dependencies_needs_the_second_version() {
        let old = build(Vec::new());
        assert_eq!(old.v, 1);
        let packet = old.encode().unwrap();
        assert!(
            !String::from_utf8(packet).unwrap().contains("dependencies"),
            "older builders know all of it"
        );
        let new = build(vec![dependency("knitr", "1.45", ">= 1.20")]);
        assert_eq!(new.v, 2);
        assert_eq!(Request::decode(&new.encode().unwrap()).unwrap(), new);
        let error = Request::decode(&Request { v: 1, ..new.clone() }.encode().unwrap()).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        let descriptors = vec![Purpose::Log, Purpose::Result, Purpose::Source];
        assert!(Request::decode(&Request { descriptors, ..new }.encode().unwrap()).is_err());
    }

    #[test]
    fn dependencies_are_names_and_versions() {
        for (name, version, requirement) in [
            ("../x", "1.0", ">= 1"),
            ("a/b", "1.0", ">= 1"),
            ("", "1.0", ">= 1"),
            ("-l", "1.0", ">= 1"),
            ("x", "1.0/../..", ">= 1"),
            ("x", "", ">= 1"),
            ("x", "1.0", ">=1"),
            ("x", "1.0", "quit 1"),
            ("x", "1.0", ">= 1\n"),
        ] {
            let packet = build(vec![dependency(name, version, requirement)]).encode().unwrap();
            assert!(Request::decode(&packet).is_err(), "{name} {version} {requirement}");
        }
        let many = vec![dependency("x", "1.0", ">= 1"); MAX_DEPENDENCIES + 1];
        assert!(Request::decode(&build(many).encode().unwrap()).is_err());
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
