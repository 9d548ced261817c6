//! Backups: requests to the server, and commands that need no server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /backups`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartBackup {
    /// The folder, an absolute path or `s3://bucket/prefix`; the first of `Server.BackupPaths` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether files that a mirror has are included.
    #[serde(default)]
    pub with_cache: bool,
    /// Average rate of the copying in bytes per second; not limited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// A command that needs no running server, as `rspm backup` passes it to `rstudio-pm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBackup {
    /// The folder, an absolute path or `s3://bucket/prefix`; the first of `Server.BackupPaths` if absent.
    pub folder: Option<String>,
    /// Whether the result is printed as JSON.
    pub json: bool,
    /// The command.
    pub command: LocalCommand,
}

/// A command about a folder of backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalCommand {
    /// Lists the backups.
    List,
    /// Verifies a backup.
    Verify {
        /// A day or a time: the newest backup at or before it.
        at: Option<String>,
        /// The number of the part of the files that is read, from 1, and the number of parts.
        subset: Option<(u32, u32)>,
        /// Whether all files are read.
        full: bool,
    },
    /// Restores a backup into a temporary directory and compares it.
    Test {
        /// As in `Verify`.
        at: Option<String>,
    },
    /// Restores a backup.
    Restore {
        /// As in `Verify`.
        at: Option<String>,
        /// Restore although files of the backup are missing.
        allow_missing: bool,
        /// Move the files of an existing SQLite database aside.
        force: bool,
    },
    /// Removes old backups.
    Prune {
        /// Number of days whose newest backup is kept.
        daily: usize,
        /// Number of weeks whose newest backup is kept.
        weekly: usize,
        /// Number of months whose newest backup is kept.
        monthly: usize,
        /// Whether nothing is removed.
        dry_run: bool,
    },
}
