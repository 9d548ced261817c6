//! Why the daemon cannot serve: in full for its log, in a phrase for the network.

use super::bind::SocketError;
use super::files::{Unmade, Unsafe};
use super::privileges::PrivilegeError;
use crate::config::ConfigError;
use crate::control::Fault;
use crate::db::DbError;
use crate::http::tls::TlsError;
use crate::storage::StorageError;
use crate::sync::SyncError;
use crate::upstream::UpstreamError;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("Unable to initialize the configuration:\n{0}")]
    Config(#[from] ConfigError),
    /// A listening socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No listener that serves packages.
    #[error("{0}")]
    NoListener(String),
    /// Certificate or key.
    #[error("Could not initialize the HTTPS listener: {0}")]
    Tls(#[from] TlsError),
    /// Who to be.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// Files that are not safe.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// A directory.
    #[error(transparent)]
    Directory(#[from] Unmade),
    /// The database.
    #[error("Unable to connect to the database: {0}")]
    Db(#[from] DbError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The client for mirrors.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What a crashed sync left behind.
    #[error("what a crashed sync left behind cannot be undone: {0}")]
    Sync(#[from] SyncError),
    /// The server that was to be taken over has changed its mind, or stops.
    #[error("the server that ran before does not want to hand over any more")]
    NotWanted,
    /// A hand-over.
    #[error("nothing can be handed over: {0}")]
    HandOver(std::io::Error),
    /// Threads.
    #[error("the runtime cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Writes an error to the log, one entry for each of its lines: within an entry a line feed is escaped.
pub(super) fn log_lines(error: &str) {
    for line in error.lines() {
        tracing::error!("{line}");
    }
}

impl StartError {
    /// For the network a phrase, for administrators the whole.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let reachable = !matches!(self, StartError::NoListener(_));
        let phrase = match self {
            StartError::Config(_) => "its configuration file cannot be used",
            StartError::Socket(_) | StartError::NoListener(_) => "a listening socket cannot be used",
            StartError::Tls(_) => "the certificate (HTTPS.Certificate, HTTPS.Key) cannot be used",
            StartError::Privilege(_) => "the server cannot become its user",
            StartError::Unsafe(files) => {
                let mut names: Vec<&str> = files.0.iter().map(|(name, _)| *name).collect();
                names.dedup();
                return Fault {
                    phrase: format!("{} cannot be used", names.join(", ")),
                    detail: self.to_string(),
                    reachable,
                };
            }
            StartError::Directory(unmade) => {
                return Fault {
                    phrase: format!("{} cannot be used", unmade.name),
                    detail: self.to_string(),
                    reachable,
                };
            }
            StartError::Db(_) | StartError::Sync(_) => {
                "the database (Database.Provider, SQLite.Dir, Postgres.URL) cannot be used"
            }
            StartError::Storage(_) => "the storage (Storage, FileStorage, S3Storage) cannot be used",
            StartError::Upstream(_) => "the proxy (Proxy.URL) cannot be used",
            StartError::NotWanted | StartError::HandOver(_) => {
                "the server that ran before hands nothing over"
            }
            StartError::Runtime(_) => "the server's threads cannot be started",
        };
        Fault { phrase: phrase.to_owned(), detail: self.to_string(), reachable }
    }
}
