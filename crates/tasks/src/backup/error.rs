//! Errors of making, verifying and restoring backups.

use std::io;
use std::path::{Path, PathBuf};

use super::dump::DumpError;
use super::migrate::{DumpSourceError, MigrateError};
use store::db::DbError;
use store::storage::{self, StorageError};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("{error}{remedy}", error = .0, remedy = storage_remedy(.0))]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Dump(#[from] DumpSourceError),
    #[error("{}: {source}", path.display())]
    DumpFile { path: PathBuf, source: DumpError },
    #[error("could not {action} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// Another program uses the folder; the text names the use and the remedy.
    #[error("{0}")]
    InUse(String),
    #[error("{0}")]
    Refused(String),
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let uid = nix::unistd::geteuid();
            let user = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
            let user = user.unwrap_or_else(|| uid.to_string());
            format!(
                "; user {user} needs the directory: install -d -m 0700 -o {user}, or chown -R {user} for an existing one"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; if the file system itself is writable, the sandbox of the unit makes it read-only: name the directory in \
            Server.BackupPaths, then systemctl restart rstudio-pm"
                .to_owned()
        }
        _ => String::new(),
    }
}

fn storage_remedy(error: &StorageError) -> String {
    match error {
        StorageError::NoBucket { bucket, .. } => format!(
            "; create it: aws s3 mb s3://{bucket}, or correct its name in Server.BackupPaths, History.ExportPath or the \
             command, or S3Storage.Region and Endpoint"
        ),
        _ => String::new(),
    }
}

impl BackupError {
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BackupError + 'a {
        move |source| BackupError::Io { action, path: path.to_owned(), source }
    }

    /// Returns the error of a task without a result. A panic of the task is resumed.
    pub fn of_task<T>(error: tokio::task::JoinError) -> Result<T, BackupError> {
        match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(BackupError::Refused("the server is stopping".to_owned())),
        }
    }

    pub(super) fn with_remedy(self, text: &str) -> BackupError {
        match self {
            BackupError::Damaged { path, reason } => {
                BackupError::Damaged { path, reason: format!("{reason}; {text}") }
            }
            error => error,
        }
    }

    /// Returns whether the file is damaged or missing, unlike with other errors, as of a bucket without answer.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            BackupError::Damaged { .. } => true,
            BackupError::Io { source, .. } => storage::is_damage(source),
            _ => false,
        }
    }

    /// Returns the error of a file that differs from what was written.
    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
