//! `rstudio-pm.gcfg`: as written, merged with the environment, validated.
//!
//! Sees no other room.

pub mod cran;
pub mod database;
pub mod listen;
pub mod logging;
pub mod proxy;
pub mod server;
pub mod storage;

pub use cran::Cran;
pub use database::{Database, Postgres, Provider, Sqlite};
pub use listen::{Http, HttpRedirect, Https, Listen, MinimumTls};
pub use logging::{LogDestination, LogFormat, LogLevel, Logging};
pub use proxy::Proxy;
pub use server::{AccessLogFormat, Secret, Server};
pub use storage::{FilePlace, Place, S3Place, StorageClass, StorageConfig};

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
