//! `rspm backup`: the running server makes backups; `rstudio-pm` does everything else, without a server.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::{Format, Output};
use super::programs::{exec, program_command};
use api::backup::{LastBackupResult, LocalBackup, LocalCommand, StartBackup};
use api::flag_values::seconds;
use api::operations::admin as operations;
use base::config::BackupPlace;
use base::model::recorded_words::RecordedCommand;

/// `rspm backup …`
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup of the running server: the database, and the files that cannot be fetched again
    Create(CreateBackup),
    #[command(flatten)]
    Local(LocalBackupCommand),
}

/// The commands that need no server.
#[derive(Debug, Subcommand)]
pub enum LocalBackupCommand {
    /// List the backups in a folder
    List(SourceFolder),
    /// Verify a backup: its manifest, its database, and size and owner of its files
    Verify(Verify),
    /// Restore a backup into a temporary directory and compare it with the server that was backed up
    Test(BackupSelection),
    /// Restore a backup while the server is stopped
    Restore(Restore),
    /// Remove old backups; the newest one stays
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct CreateBackup {
    #[command(flatten)]
    pub request: StartBackup,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// The folder with the backups.
#[derive(Debug, Args)]
pub struct SourceFolder {
    /// The folder with the backups, a directory or s3://bucket/prefix (default: the first of Server.BackupPaths)
    #[arg(long, value_name = "FOLDER")]
    pub from: Option<String>,
    /// Maximum time to wait for another program that uses the folder: seconds, or 90s, 5m, 1h
    #[arg(long, default_value = "0s", value_parser = seconds, value_name = "TIME")]
    pub lock_timeout: u64,
}

/// The flags that choose a backup.
#[derive(Debug, Args)]
pub struct BackupSelection {
    #[command(flatten)]
    pub folder: SourceFolder,
    /// The newest backup at or before this day (YYYY-MM-DD) or time (default: the newest)
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub selection: BackupSelection,
    /// Read the n-th of t parts of the files: --subset=1/8
    #[arg(long, value_name = "N/T", value_parser = subset, conflicts_with = "full")]
    pub subset: Option<(u32, u32)>,
    /// Read all files
    #[arg(long)]
    pub full: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    pub selection: BackupSelection,
    /// Restore although files of the backup are missing or damaged; they are not restored
    #[arg(long)]
    pub allow_missing: bool,
    /// Move the files of an existing SQLite database aside
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("keep").required(true).multiple(true)
    .args(["keep_daily", "keep_weekly", "keep_monthly"]))]
pub struct Prune {
    #[command(flatten)]
    pub folder: SourceFolder,
    /// Keep the newest backup of each of the last N days that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_daily: usize,
    /// Keep the newest backup of each of the last N weeks that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_weekly: usize,
    /// Keep the newest backup of each of the last N months that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_monthly: usize,
    /// Remove old backups although files are missing in those that are kept
    #[arg(long)]
    pub allow_missing: bool,
    /// Print what would be removed and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Parses `1/8`.
fn subset(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/').and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?)));
    let parts = parts.filter(|(n, of)| (1..=*of).contains(n));
    parts.ok_or_else(|| "give the number of a part and the number of parts: 1/8".to_owned())
}

pub async fn create(client: &Client, output: &Output, args: CreateBackup) -> Result<(), CliError> {
    let to = args.request.to.as_deref().map(place).transpose()?;
    let body = StartBackup { to, ..args.request };
    let job = client.send::<operations::StartBackup>([], &body).await?;
    let Some(job) = job::follow_to_end(client, output, job, &args.job_flags, "backup").await? else {
        return Ok(());
    };
    output.print(&job, || job.message.clone())?;
    if !body.allow_missing {
        return Ok(());
    }
    let node = client.call::<operations::Status>([], &()).await?;
    let place = job.key.trim_start_matches("backup:");
    let is_this =
        |result: &&LastBackupResult| result.command == RecordedCommand::Create && result.place == place;
    let result = node.backups.iter().find(is_this);
    match result.map_or(0, |result| result.missing) {
        0 => Ok(()),
        missing => Err(CliError::Incomplete(format!("files that are missing in the backup: {missing}"))),
    }
}

/// Returns the address of a bucket, or the absolute path of a directory.
pub(super) fn place(text: &str) -> Result<String, CliError> {
    if BackupPlace::is_address(text) {
        return Ok(text.to_owned());
    }
    if text.is_empty() {
        return Err(CliError::refused("the folder is empty: give a directory or s3://bucket/prefix"));
    }
    let local_error = |source| CliError::Local { operation: format!("find {text}"), source };
    Ok(std::path::absolute(text).map_err(local_error)?.display().to_string())
}

/// Replaces this process with `rstudio-pm --backup`. Returns only if this fails.
pub(super) fn run_locally(
    config: Option<&Path>,
    format: Format,
    command: LocalBackupCommand,
) -> Result<ExitCode, CliError> {
    let (SourceFolder { from, lock_timeout }, command) = match command {
        LocalBackupCommand::List(folder) => (folder, LocalCommand::List),
        LocalBackupCommand::Verify(Verify { selection: BackupSelection { folder, at }, subset, full }) => {
            (folder, LocalCommand::Verify { at, subset, full })
        }
        LocalBackupCommand::Test(BackupSelection { folder, at }) => (folder, LocalCommand::Test { at }),
        LocalBackupCommand::Restore(Restore {
            selection: BackupSelection { folder, at },
            allow_missing,
            force,
        }) => (folder, LocalCommand::Restore { at, allow_missing, force }),
        LocalBackupCommand::Prune(args) => (
            args.folder,
            LocalCommand::Prune {
                daily: args.keep_daily,
                weekly: args.keep_weekly,
                monthly: args.keep_monthly,
                allow_missing: args.allow_missing,
                dry_run: args.dry_run,
            },
        ),
    };
    let folder = from.as_deref().map(place).transpose()?;
    let request = LocalBackup { folder, json: format == Format::Json, lock_timeout, command };
    let request = serde_json::to_string(&request).map_err(|error| CliError::Local {
        operation: "prepare the command".to_owned(),
        source: error.into(),
    })?;
    let mut program = program_command("rstudio-pm", config);
    program.arg("--backup").arg(request);
    Err(exec(program))
}
