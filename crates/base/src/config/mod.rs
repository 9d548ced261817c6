//! Parses `rstudio-pm.gcfg`, merges it with the environment, and validates it.
//!
//! The three steps: [`parsed_file`] (sections and entries with their positions, from [`lexer`]), [`merged`]
//! (repeated sections merged, overridden by [`environment`], each value with its origin), [`validate`] (a [`Config`]).
//! One table ([`table`], its [`rows`]) defines the known names. Pure except for [`file`], [`environment`],
//! [`client_secret`] and [`key_file`]; uses only `model`, `encryption` and `access`.

pub mod address;
pub mod authentication;
pub mod backup_place;
pub mod binaries;
pub mod check;
mod choice;
pub mod client_secret;
pub mod database;
mod decryption;
mod environment;
pub mod federation;
pub mod file;
pub mod git;
pub mod history;
pub mod key_file;
mod lexer;
pub mod listen;
mod lookup;
pub mod merged;
mod mirrors;
mod monitoring;
pub mod open_id_connect;
mod parsed_file;
mod pattern;
pub mod platforms;
pub mod problem;
mod project_index;
mod reader;
pub mod reference;
pub mod reload;
pub mod rows;
pub mod server;
pub mod storage;
pub mod table;
pub mod validate;
mod value;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::ids::SourceId;

pub use address::{PrivateUrl, without_userinfo};
pub use authentication::{Authentication, Bootstrap, DeviceCodes};
pub use backup_place::BackupPlace;
pub use binaries::{BinaryServerKind, BinaryUrl};
pub use check::{Check, Verdict, checks};
pub use choice::{
    AccessLogFormat, DebugRegion, EarlierYanks, HostKeyPolicy, LogFormat, LogLevel, Provider, SandboxChoice,
};
pub use database::{Database, Postgres, Sqlite};
pub use federation::{Claim, Federation};
pub use file::{DEFAULT_FILE, RESTART_COMMAND, load, load_encrypted, read};
pub use git::Git;
pub use history::History;
pub use key_file::{EncryptionKey, KeySource};
pub use listen::{Http, HttpRedirect, Https, MinimumTls};
pub use merged::{Settings, ValueForm};
pub use mirrors::{Bioconductor, Bundle, Cran, Requirements, Vulnerabilities};
pub use monitoring::{Logging, Metrics, StorageAlerts, StorageAudit};
pub use open_id_connect::{GroupScopes, OpenIdConnect};
pub use pattern::Pattern;
pub use platforms::{Platforms, SharedPlatforms};
pub use problem::{ConfigError, Origin, Position, Problem, ProblemCategory};
pub use project_index::{IndexConfig, LocalPython};
pub use reload::{PropertyChange, Reload, reload};
pub use server::{Proxy, Secret, Server};
pub use storage::{ClassLocation, DirectoryLocation, S3Location, StorageConfig};
pub use validate::{parse, parse_valid_part};
pub use value::{Listen, LogDestination};
pub use witness::Witness;

#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Arc<Config>,
    /// The settings with their origins.
    pub settings: Settings,
    /// Unknown names, properties without effect, values that are replaced by others, and values that are encrypted with
    /// the old key; logged at start.
    pub warnings: Vec<Problem>,
}

/// A valid configuration: every property present, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub http: Http,
    pub https: Https,
    pub http_redirect: HttpRedirect,
    pub database: Database,
    pub sqlite: Sqlite,
    pub postgres: Postgres,
    /// `[Storage]`, `[FileStorage "…"]`, `[S3Storage]` and `[S3Storage "…"]`, resolved per class.
    pub storage: StorageConfig,
    pub bundle: Bundle,
    pub cran: Cran,
    pub bioconductor: Bioconductor,
    /// The indexes with one page per project.
    pub indexes: Vec<Arc<IndexConfig>>,
    pub local_python: LocalPython,
    /// `[Platforms]`, `[Distribution "…"]` and `[MacOS "…"]` on top of the embedded table.
    pub platforms: SharedPlatforms,
    pub requirements: Requirements,
    pub vulnerabilities: Vulnerabilities,
    pub git: Git,
    pub history: History,
    pub metrics: Metrics,
    pub storage_audit: StorageAudit,
    pub storage_alerts: StorageAlerts,
    pub authentication: Authentication,
    /// `[IdentityFederation "…"]`, in the order of the file.
    pub federations: Arc<[Federation]>,
    pub bootstrap: Bootstrap,
    /// `[OpenIDConnect]` and `[GroupToScopeMapping "…"]`, if a provider is configured.
    pub open_id_connect: Option<Arc<OpenIdConnect>>,
    pub logging: Logging,
    pub proxy: Proxy,
    /// The configuration file; `None` if the configuration was parsed from a text.
    pub file: Option<PathBuf>,
    /// The encryption key, if there is one.
    pub encryption_key: Option<Arc<EncryptionKey>>,
}

impl Config {
    /// Returns the settings of an index with one page per project; `None` for another source.
    pub fn index(&self, source: SourceId) -> Option<&Arc<IndexConfig>> {
        self.indexes.iter().find(|index| index.source() == source)
    }

    /// Returns the encryption key; without one, the message for the administrator.
    pub fn require_encryption_key(&self) -> Result<Arc<EncryptionKey>, String> {
        self.encryption_key.clone().ok_or_else(|| {
            format!(
                "the server has no encryption key at {}, and secrets are stored encrypted only; copy the key of this \
                 database from another server or a backup, or create the first one with rspm encrypt, and restart the \
                 server",
                self.server.encryption_key_path.display()
            )
        })
    }

    /// Returns a valid configuration for tests and examples: every path is below `dir` (absolute; nothing is created), HTTP and
    /// metrics on loopback ports that the system chooses, and `additions` (gcfg text, may be empty) appended.
    pub fn example(dir: &Path, additions: &str) -> Result<Loaded, ConfigError> {
        parse("example.gcfg", format!("{}{additions}", Config::example_text(dir)).as_bytes(), [])
    }

    /// Returns the text of [`Config::example`], to be written to a file.
    pub fn example_text(dir: &Path) -> String {
        let location = |name: &str| {
            let path = dir.join(name).to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{path}\"")
        };
        format!(
            "[Server]\nDataDir = {}\nTempDir = {}\nAccessLog = {}\nSockFileDir = {}\n\
             [HTTP]\nListen = 127.0.0.1:0\n[Metrics]\nListen = 127.0.0.1:0\n\
             [Logging]\nSystemLog = {}\n",
            location("data"),
            location("tmp"),
            location("log/access.log"),
            location("run"),
            location("log/server.log"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_are_below_the_directory_and_lines_can_be_added() {
        let dir = Path::new("/a \"b\" ; c");
        let loaded = Config::example(dir, "[CRAN]\nURL = file:///m\n").expect("valid");
        let config = &loaded.config;
        assert_eq!(loaded.warnings, []);
        for path in
            [&config.server.data_dir, &config.server.temp_dir, &config.server.access_log, &config.sqlite.dir]
        {
            assert!(path.starts_with(dir), "{}", path.display());
        }
        assert_eq!(&*config.cran.url, "file:///m");
        assert!(Config::example(dir, "[HTTP]\nListen = x\n").is_err());
    }
}
