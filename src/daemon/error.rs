//! Errors that prevent the daemon from serving: with details for the log, as a phrase for clients.

use super::bind::SocketError;
use super::encryption::compare::KeyMismatch;
use super::files::FileError;
use super::privileges::PrivilegeError;
use crate::http::net::tls::TlsError;
use base::config::ConfigError;
use runtime::cluster::storage::SharingError;
use runtime::control::BrokenReason;
use store::db::DbError;
use store::storage::StorageError;
use tasks::sync::SyncError;
use upstream::UpstreamError;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Unable to initialize the configuration:\n{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("{0}")]
    NoListener(String),
    #[error("Could not initialize the HTTPS listener: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error("Unable to connect to the database: {0}")]
    Db(#[from] DbError),
    /// The encryption key is not that of the database.
    #[error(transparent)]
    Key(#[from] KeyMismatch),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Sharing(#[from] SharingError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("could not clean up after a crashed sync: {0}")]
    Sync(#[from] SyncError),
    #[error("the running server cancelled the hand-over")]
    Cancelled,
    /// The sockets cannot be duplicated, or the channel to the old server cannot be opened.
    #[error("could not prepare a hand-over: {0}")]
    HandOver(std::io::Error),
    #[error("could not start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Logs each line of an error as a separate entry, because an entry escapes line feeds.
pub(super) fn log_lines(error: &str) {
    for line in error.lines() {
        tracing::error!("{line}");
    }
}

impl StartError {
    pub fn broken_reason(&self) -> BrokenReason {
        let has_listener = !matches!(self, StartError::NoListener(_));
        let phrase = match self {
            StartError::Config(_) => "its configuration file cannot be used",
            StartError::Socket(_) | StartError::NoListener(_) => "a listening socket cannot be used",
            StartError::Tls(_) => "the certificate (HTTPS.Certificate, HTTPS.Key) cannot be used",
            StartError::Privilege(_) => "the server cannot switch to its user",
            StartError::Files(error) => {
                return BrokenReason {
                    phrase: format!("{} cannot be used", error.names().join(", ")),
                    detail: self.to_string(),
                    has_listener,
                };
            }
            StartError::Db(_) | StartError::Sync(_) => {
                "the database (Database.Provider, SQLite.Dir, Postgres.URL) cannot be used"
            }
            StartError::Key(_) => "the encryption key (Server.EncryptionKeyPath) cannot be used",
            StartError::Sharing(_) => "the storage is not that of the other servers on its database",
            StartError::Storage(_) => "the storage (Storage, FileStorage, S3Storage) cannot be used",
            StartError::Upstream(_) => "the proxy (Proxy.URL) cannot be used",
            StartError::Cancelled | StartError::HandOver(_) => {
                "the running server did not hand over its sockets"
            }
            StartError::Runtime(_) => "the server's threads cannot be started",
        };
        BrokenReason { phrase: phrase.to_owned(), detail: self.to_string(), has_listener }
    }
}
