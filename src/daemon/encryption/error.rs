//! Errors of the commands for the encryption key.

use super::compare::KeyMismatch;
use crate::daemon::privileges::PrivilegeError;
use base::config::ConfigError;
use base::config::key_file::{self, KeyFileError};
use base::model::digest::Fingerprint;
use store::db::DbError;

#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum KeyCommandError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Key(#[from] KeyFileError),
    #[error("{0}")]
    Db(#[from] DbError),
    #[error("{0}")]
    Privilege(#[from] PrivilegeError),
    #[error("{0}")]
    Mismatch(#[from] KeyMismatch),
    #[error(
        "no key was created: the database uses the encryption key {database_key}, but there is no key at {path}; copy that \
         key from another server or a backup; {}",
        key_file::steps_if_lost(path.as_ref())
    )]
    DatabaseKey { database_key: Fingerprint, path: String },
    #[error(
        "no key was created: values of the configuration are encrypted, but there is no encryption key at {path} to \
         decrypt them; copy it from another server or a backup; {}\n  {}",
        key_file::steps_if_lost(path.as_ref()),
        values.join("\n  ")
    )]
    EncryptedValues { path: String, values: Vec<String> },
    #[error(
        "a server is running, and would continue with the old key; stop it first, and all other servers of the same \
         database: systemctl stop rstudio-pm"
    )]
    RunningServer,
    #[error(
        "servers on this database are running: {}; each would continue with the old key: stop them first, or set them \
         offline, and copy the new key to them; a server that was killed counts as running for 30 seconds",
        .0.join(", ")
    )]
    OtherServers(Vec<String>),
    #[error("there is no encryption key {0} to replace; the first rspm encrypt creates one")]
    NoKey(String),
    #[error("{0} is the key that is already in use")]
    SameKey(String),
    /// Values are still encrypted with the key before the current one, which would be lost.
    #[error(
        "values of the configuration are still encrypted with the key before the current one; replace them first by the \
         output of: rspm encrypt\n  {}",
        .0.join("\n  ")
    )]
    ValuesWithOldKey(Vec<String>),
    #[error("a value of the database cannot be decrypted with the encryption key {0}; nothing was changed")]
    UndecryptableValue(String),
    #[error("could not {operation}: {source}")]
    File {
        /// The operation, with the path.
        operation: String,
        source: std::io::Error,
    },
    #[error("could not start the runtime: {0}")]
    Runtime(std::io::Error),
}

impl KeyCommandError {
    /// Returns a function that converts errors of the system; `operation` includes the path.
    pub(super) fn file(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> KeyCommandError {
        let operation = operation.into();
        |source| KeyCommandError::File { operation, source }
    }
}
