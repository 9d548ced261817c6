//! `[Git]`, and `Server.RVersion` and `Server.PythonVersion`, which only builds use.

use std::path::PathBuf;
use std::time::Duration;

use super::choice::{HostKeyPolicy, SandboxChoice};
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value;

#[derive(Clone, Debug)]
pub struct Git {
    /// Interval between polls of each remote repository.
    pub poll_interval: Duration,
    /// Maximum number of attempts for a build with temporary failures.
    pub build_retries: i64,
    /// Whether builds may run with the rights of the server.
    pub allow_unsandboxed: bool,
    pub sandbox: SandboxChoice,
    /// Maximum number of simultaneous builds.
    pub build_concurrency: usize,
    /// Maximum duration of each part of a build.
    pub build_timeout: Duration,
    /// Number of existing tags that a new builder builds.
    pub first_tags: usize,
    /// Directories below which local repositories are allowed.
    pub local_paths: Vec<String>,
    /// Hosts from which submodules may be fetched over HTTP, besides that of the repository.
    pub submodule_hosts: Vec<String>,
    pub host_keys: HostKeyPolicy,
    /// Library of packages that builds can use.
    pub r_library: Option<PathBuf>,
    /// Whether builds of R packages install the packages that they need.
    pub install_dependencies: bool,
    /// Repository from which these packages are installed; if empty, the only repository that subscribes to the
    /// source of the build.
    pub r_repository: String,
    /// `Server.PythonVersion`: directory of the Python installation; `None` if it is detected.
    pub python: Option<PathBuf>,
    /// `Server.RVersion`: directory of the R installation; `None` if it is detected.
    pub r: Option<PathBuf>,
}

impl Git {
    pub(super) fn read(reader: &mut Reader<'_>) -> Git {
        let text = |text: &str| Ok(text.to_owned());
        let paths = reader.values("Git", "LocalPaths", value::path).into_iter();
        let mut r: Vec<PathBuf> = reader.values("Server", "RVersion", value::path);
        let git = Git {
            poll_interval: reader.value("Git", "PollInterval", value::duration).max(Duration::from_secs(1)),
            build_retries: i64::try_from(reader.number("Git", "BuildRetries")).unwrap_or(i64::MAX).max(1),
            allow_unsandboxed: reader.value("Git", "AllowUnsandboxedGitBuilds", value::boolean),
            sandbox: reader.value("Git", "Sandbox", str::parse),
            build_concurrency: reader.number("Git", "BuildConcurrency"),
            build_timeout: reader.value("Git", "BuildTimeout", value::duration).max(Duration::from_secs(1)),
            first_tags: reader.number("Git", "FirstTags"),
            local_paths: paths.filter_map(|path| path.into_os_string().into_string().ok()).collect(),
            submodule_hosts: reader
                .values("Git", "SubmoduleHosts", text)
                .into_iter()
                .filter(|host: &String| !host.is_empty())
                .collect(),
            host_keys: reader.value("Git", "HostKeyPolicy", str::parse),
            r_library: reader.optional("Git", "RLibrary", value::path),
            install_dependencies: reader.value("Git", "InstallDependencies", value::boolean),
            r_repository: reader.value("Git", "RRepository", text),
            python: reader.optional("Server", "PythonVersion", value::path),
            r: (!r.is_empty()).then(|| r.remove(0)),
        };
        if !r.is_empty() {
            let message = "names more than one installation of R; builds use the first";
            reader.warning(ProblemCategory::Effect, "Server", None, "RVersion", message);
        }
        git
    }
}
