//! Backups: requests to the server, and commands that need no server.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::{bytes, seconds};
use base::model::recorded_words::RecordedCommand;

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StartBackup {
    /// The folder, an absolute path or `s3://bucket/prefix`; the first of `Server.BackupPaths` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "FOLDER",
        help = "The folder, a directory that the server's user may write or s3://bucket/prefix (default: the first of Server.BackupPaths)"
    )]
    pub to: Option<String>,
    /// Whether files that can be fetched again from a mirror are included.
    #[serde(default)]
    #[arg(long, help = "Include packages that can be fetched from a mirror again")]
    pub with_cache: bool,
    /// Maximum average copy rate, in bytes per second; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_parser = bytes, value_name = "BYTES", help = "Maximum rate of copying files per second: bytes, or 500kB, 50MB, 1GB (default: not limited)")]
    pub rate: Option<u64>,
    /// Whether the backup succeeds if storage lacks files; the manifest lists them.
    #[serde(default)]
    #[arg(
        long,
        help = "Succeed although files are missing in storage: the manifest lists them, and the exit code is 4"
    )]
    pub allow_missing: bool,
    /// Whether to start a new series of backups in a folder that contains none although the server has made backups
    /// there.
    #[serde(default)]
    #[arg(
        long,
        help = "Start a new series in a folder whose earlier backups are missing; not needed for a new folder"
    )]
    pub init: bool,
    /// Whether to continue in a folder whose newest backup was made from another copy of this database, such as the
    /// original before a restore.
    #[serde(default)]
    #[arg(
        long,
        help = "Continue in a folder whose newest backup is of another copy of this database, such as its original before a restore"
    )]
    pub adopt: bool,
    /// Seconds to wait for another program that uses the folder.
    #[serde(default)]
    #[arg(long, default_value = "0s", value_parser = seconds, value_name = "TIME", help = "Maximum time to wait for another program that uses the folder: seconds, or 90s, 5m, 1h")]
    pub lock_timeout: u64,
}

/// `POST /backups/tests`: records the result of `rspm backup test`, which runs outside the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordBackupTest {
    /// The folder, an absolute path without links, or `s3://bucket/prefix`.
    pub place: String,
    /// Why the test failed; absent if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedBackupTest {
    /// Whether the result was recorded; false if this server has made no backup in the folder.
    pub recorded: bool,
}

/// The last result of `rspm backup create` or `rspm backup test` in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastBackupResult {
    /// The folder.
    pub place: String,
    /// `create` or `test`.
    #[schema(value_type = String)]
    pub command: RecordedCommand,
    /// Start time of the backup, or end time of the test (RFC 3339).
    pub at: String,
    /// Why the command failed; absent if it succeeded.
    pub error: Option<String>,
    /// The value of `at` for the last run that succeeded; absent if there is none.
    pub last_success: Option<String>,
    /// Number of files that storage lacked during the last backup.
    #[serde(default)]
    pub missing: u64,
}

/// A command that needs no running server, as `rspm backup` passes it to `rstudio-pm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBackup {
    /// The folder, an absolute path or `s3://bucket/prefix`; the first of `Server.BackupPaths` if absent.
    pub folder: Option<String>,
    /// Whether the result is printed as JSON.
    pub json: bool,
    /// Seconds to wait for another program that uses the folder.
    pub lock_timeout: u64,
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
        /// A day or a time; selects the newest backup at or before it, and if absent the newest backup.
        at: Option<String>,
        /// The part of the files to read, counted from 1, and the number of parts.
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
        /// Whether files of the backup may be missing.
        allow_missing: bool,
        /// Whether the files of an existing SQLite database are moved aside.
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
        /// Whether files are removed even if a kept backup lacks files.
        allow_missing: bool,
        /// Whether nothing is removed.
        dry_run: bool,
    },
}
