//! The flags of the commands for builders of git repositories, named as in Posit Package Manager.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::import_origin::Origin;
use api::flag_values::SuggestedValues;
use api::git;

/// `rspm import …`
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Import a private key for git repositories over SSH
    SshKey(ImportSshKey),
    /// Import a user name and a password or token for git repositories over HTTPS
    HttpsCredential(git::ImportGitCredential),
    /// Import the packages of another server, which a list describes, into a local source
    List(super::import::ImportList),
    #[command(flatten)]
    From(Origin),
}

/// `rspm run …`
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Poll the repository of a builder now, and build a new commit or new tags
    GitBuilder(RunGitBuilder),
}

/// `rspm rerun …`
#[derive(Debug, Subcommand)]
pub enum Rerun {
    /// Build a tag or a commit again
    GitBuilder(RerunGitBuilder),
}

/// Flags of commands that start builds.
#[derive(Debug, Args)]
pub struct WaitFlags {
    /// Print the log until the builds end (the default); interrupting the command does not stop them
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct CreateGitBuilder {
    /// The source, of type git or git-python
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub request: git::CreateGitBuilder,
    /// File with a secret; webhooks that are signed with it trigger a poll
    #[arg(long, value_name = "FILE")]
    pub webhook_secret_path: Option<PathBuf>,
    #[command(flatten)]
    pub wait_flags: WaitFlags,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args([
    "url", "branch", "credential", "sub_dir", "remove_credential", "remove_sub_dir",
    "recurse_submodules", "clone_depth", "vignettes", "no_vignettes", "webhook_secret_path", "remove_webhook_secret",
    "accept_host_key",
]))]
pub struct EditGitBuilder {
    #[command(flatten)]
    pub builder: BuilderName,
    #[command(flatten)]
    pub request: git::EditGitBuilder,
    /// Use no credential
    #[arg(long)]
    pub remove_credential: bool,
    /// Build the package at the root of the repository
    #[arg(long)]
    pub remove_sub_dir: bool,
    /// Build vignettes
    #[arg(long, conflicts_with = "no_vignettes")]
    pub vignettes: bool,
    /// Build no vignettes (the default)
    #[arg(long)]
    pub no_vignettes: bool,
    /// File with a secret; webhooks that are signed with it trigger a poll
    #[arg(long, value_name = "FILE", conflicts_with = "remove_webhook_secret")]
    pub webhook_secret_path: Option<PathBuf>,
    /// Accept no webhooks
    #[arg(long)]
    pub remove_webhook_secret: bool,
}

#[derive(Debug, Args)]
pub struct BuilderName {
    /// The package of the builder
    #[arg(long)]
    pub name: String,
    /// The source
    #[arg(long)]
    pub source: String,
}

impl BuilderName {
    /// Returns the parameters of the path.
    pub(super) fn path(&self) -> [&str; 2] {
        [&self.source, &self.name]
    }
}

#[derive(Debug, Args)]
pub struct RunGitBuilder {
    #[command(flatten)]
    pub builder: BuilderName,
    #[command(flatten)]
    pub wait_flags: WaitFlags,
}

#[derive(Debug, Args)]
pub struct RerunGitBuilder {
    #[command(flatten)]
    pub builder: BuilderName,
    #[command(flatten)]
    pub request: git::RerunGitBuilder,
    #[command(flatten)]
    pub wait_flags: WaitFlags,
}

#[derive(Debug, Args)]
pub struct EditHttpsCredential {
    /// Name of the credential
    #[arg(long)]
    pub name: String,
    /// New user name
    #[arg(long)]
    pub username: Option<String>,
    /// New password or token (without a value: prompt or standard input)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub password: Option<String>,
    /// The only host for which the credential is used; empty for any
    #[arg(long)]
    pub host: Option<String>,
}

#[derive(Debug, Args)]
pub struct ImportSshKey {
    /// Name of the key
    #[arg(long)]
    pub name: String,
    /// File with the private key, as ssh-keygen writes it
    #[arg(long, value_name = "FILE")]
    pub path: PathBuf,
    /// File with the passphrase of the key, which is not stored
    #[arg(long, value_name = "FILE")]
    pub passphrase_path: Option<PathBuf>,
    /// Use the key for this host only, such as git.example.com or git.example.com:2222
    #[arg(long)]
    pub host: Option<String>,
    /// File with host keys of git servers, as ssh-keyscan writes it
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Succeed when a key of this name exists, and leave it unchanged
    #[arg(long)]
    pub succeed_on_existing: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["path", "host", "known_hosts"]))]
pub struct EditSshKey {
    /// Name of the key
    #[arg(long)]
    pub name: String,
    /// File with the new private key
    #[arg(long, value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// File with the passphrase of the new key
    #[arg(long, value_name = "FILE", requires = "path")]
    pub passphrase_path: Option<PathBuf>,
    /// Use the key for this host only; empty for any
    #[arg(long)]
    pub host: Option<String>,
    /// File with host keys of git servers, which replace the recorded ones
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DeleteGitCredential {
    /// Name of the credential
    #[arg(long)]
    pub name: String,
    /// Type of the credential
    #[arg(long = "type", value_name = "TYPE", value_parser = SuggestedValues(&["ssh", "https"]))]
    pub kind: String,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = clap::ArgGroup::new("build").required(true).args(["transaction_id", "build_id"]))]
pub struct Logs {
    /// Command for the log files of the server.
    #[command(subcommand)]
    pub command: Option<LogsCommand>,
    /// Transaction of the build, from `rspm list git-builds`
    #[arg(long, value_name = "ID")]
    pub transaction_id: Option<u64>,
    /// Number of the build, from `rspm list git-builds`
    #[arg(long, value_name = "ID")]
    pub build_id: Option<u64>,
    /// File for the log (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub file_out: Option<PathBuf>,
    /// Print further lines until the build ends
    #[arg(long)]
    pub follow: bool,
}

/// `rspm logs …`
#[derive(Debug, Subcommand)]
pub enum LogsCommand {
    /// Reopen the log files after a rotation; returns when the old files are no longer written to
    Reopen,
}
