//! `rstudio-pm.gcfg`: as written, merged with the environment, validated.
//!
//! Sees no other room.

pub mod cran;
pub mod database;
pub mod listen;
pub mod logging;
pub mod problem;
pub mod proxy;
pub mod server;
pub mod storage;

pub use cran::Cran;
pub use database::{Database, Postgres, Provider, Sqlite};
pub use listen::{Http, HttpRedirect, Https, Listen, MinimumTls};
pub use logging::{LogDestination, LogFormat, LogLevel, Logging};
pub use problem::{About, ConfigError, Notice, Origin, Position};
pub use proxy::Proxy;
pub use server::{AccessLogFormat, Secret, Server};
pub use storage::{FilePlace, Place, S3Place, StorageClass, StorageConfig};

use std::path::Path;
use std::sync::Arc;

/// The file that is read when no other is named.
pub const DEFAULT_FILE: &str = "/etc/rstudio-pm/rstudio-pm.gcfg";

/// A configuration that can be used, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Arc<Config>,
    /// Unknown names, properties without effect, values that act as others: to be logged at start.
    pub warnings: Vec<Notice>,
}

/// Reads `text` (`name` is used in messages), puts the environment on top and validates. Pure.
///
/// # Errors
/// Every error found, not only the first.
pub fn parse(
    name: &str,
    text: &[u8],
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let _ = (name, text, env.into_iter().count());
    todo!()
}

/// Reads the file at `path` and parses it; the only I/O of this room. Pass [`std::env::vars`] made lossy, or nothing.
///
/// # Errors
/// The file cannot be read, or what [`parse`] finds.
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let _ = (path, env.into_iter().count());
    todo!()
}

/// A valid configuration: every property present, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[Server]`.
    pub server: Server,
    /// `[HTTP]`.
    pub http: Http,
    /// `[HTTPS]`.
    pub https: Https,
    /// `[HTTPRedirect]`.
    pub http_redirect: HttpRedirect,
    /// `[Database]`.
    pub database: Database,
    /// `[SQLite]`.
    pub sqlite: Sqlite,
    /// `[Postgres]`.
    pub postgres: Postgres,
    /// `[Storage]`, `[FileStorage "…"]`, `[S3Storage]` and `[S3Storage "…"]`, resolved per class.
    pub storage: StorageConfig,
    /// `[CRAN]`.
    pub cran: Cran,
    /// `[Logging]`.
    pub logging: Logging,
    /// `[Proxy]`.
    pub proxy: Proxy,
}

impl Config {
    /// A valid configuration with every path under `dir` (absolute, UTF-8; nothing is created), HTTP on a loopback
    /// port that the system chooses, and `more` (gcfg text, may be empty) on top. For tests and the demo.
    ///
    /// # Errors
    /// What `more` does wrong.
    pub fn example(dir: &Path, more: &str) -> Result<Loaded, ConfigError> {
        let _ = (dir, more);
        todo!()
    }
}
