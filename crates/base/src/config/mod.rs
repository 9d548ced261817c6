//! Parses `rstudio-pm.gcfg`, merges it with the environment, and validates it.
//!
//! The three steps: [`parsed_file`] (sections and entries with their positions, from [`lexer`]), [`merged`]
//! (repeated sections merged, overridden by [`environment`], each value with its origin), [`validate`] (a [`Config`]).
//! One table ([`table`], its [`rows`]) defines the known names. Pure except for [`file`], [`credentials`],
//! [`client_secret`] and [`key_file`]; uses only `model`, `encryption` and `access`.

pub mod address;
pub mod authentication;
pub mod backup_place;
pub mod binaries;
pub mod check;
pub mod client_secret;
mod credentials;
pub mod database;
mod debug_region;
mod decryption;
pub mod defaults;
mod environment;
mod example;
pub mod federation;
pub mod file;
pub mod git;
pub mod key_file;
mod lexer;
pub mod listen;
mod locations;
pub mod logging;
mod lookup;
pub mod merged;
pub mod metrics;
mod mirrors;
pub mod open_id_connect;
mod parsed_file;
mod pattern;
pub mod platforms;
pub mod problem;
pub mod pypi;
mod reader;
pub mod reference;
pub mod reload;
pub mod requirements;
pub mod rows;
pub mod server;
mod spelling;
pub mod storage;
pub mod table;
pub mod validate;
mod value;
pub mod vulnerabilities;

use std::path::PathBuf;
use std::sync::Arc;

pub use address::without_userinfo;
pub use authentication::{Authentication, Bootstrap, DeviceCodes};
pub use backup_place::BackupPlace;
pub use binaries::{BinaryServerKind, BinaryUrl};
pub use check::{Check, Verdict, checks};
pub use database::{Database, Postgres, Provider, Sqlite};
pub use debug_region::DebugRegion;
pub use federation::{Claim, Federation};
pub use file::{DEFAULT_FILE, RESTART_COMMAND, load, load_encrypted, read};
pub use git::{Git, HostKeyPolicy, SandboxChoice};
pub use key_file::{EncryptionKey, KeySource};
pub use listen::{Http, HttpRedirect, Https, MinimumTls};
pub use logging::{LogFormat, LogLevel, Logging};
pub use merged::{Settings, ValueForm};
pub use metrics::{Metrics, StorageAlerts, StorageAudit};
pub use mirrors::{Bioconductor, Cran};
pub use open_id_connect::{GroupScopes, OpenIdConnect};
pub use pattern::Pattern;
pub use platforms::Platforms;
pub use problem::{ConfigError, Origin, Position, Problem, ProblemCategory};
pub use pypi::{EarlierYanks, LocalPython, Pypi};
pub use reload::{Change, Reload, reload};
pub use requirements::Requirements;
pub use server::{AccessLogFormat, Proxy, Secret, Server};
pub use storage::{ClassLocation, DirectoryLocation, S3Location, StorageConfig};
pub use validate::{parse, parse_valid_part};
pub use value::{Listen, LogDestination};
pub use vulnerabilities::Vulnerabilities;

/// A valid configuration with its settings and warnings.
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
    pub cran: Cran,
    pub bioconductor: Bioconductor,
    pub pypi: Pypi,
    pub local_python: LocalPython,
    /// `[Platforms]`, `[Distribution "…"]` and `[MacOS "…"]` on top of the embedded table.
    pub platforms: Arc<Platforms>,
    pub requirements: Requirements,
    pub vulnerabilities: Vulnerabilities,
    pub git: Git,
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
