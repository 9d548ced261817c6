//! `rspm export files`: the installed program `rspm-offline-downloader` reads the repository over HTTP, and writes it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::{ParseMode, server_config};
use super::error::CliError;
use super::programs::{DOWNLOADER, exec, program_command};
use super::tokens_file;
use base::config::Listen;
use base::model::time::Day;

/// `rspm export …`
#[derive(Debug, Subcommand)]
pub enum Export {
    /// Write the configured objects of the server as a file: sources, repositories, rules, guards, metadata, builders
    State(super::state::ExportArgs),
    /// Write one state of a repository as files that any web server can serve
    Files(ExportFiles),
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done; 1 refused, or the server cannot be reached; 2 wrong usage.")]
pub struct ExportFiles {
    /// The repository
    #[arg(long, value_name = "NAME")]
    pub repo: String,
    /// The state at the end of this day (default: the newest)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<Day>,
    /// Folder for the files (created if missing)
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Leave out the archived versions of R packages
    #[arg(long)]
    pub no_archive: bool,
    /// Another export: its equal files are linked instead of downloaded
    #[arg(long, value_name = "DIR")]
    pub hardlink: Option<PathBuf>,
    /// Remove other files below src, simple and packages
    #[arg(long)]
    pub prune: bool,
}

/// Replaces this process with the downloader. Returns only if this fails.
pub(super) fn run(
    config: Option<&Path>,
    address: Option<&str>,
    args: ExportFiles,
) -> Result<ExitCode, CliError> {
    let address = self::address(config, address)?;
    let snapshot = args.date.map_or_else(|| "latest".to_owned(), |day| day.to_string());
    let mut command = program_command(DOWNLOADER, None);
    command.args(["export-files", "--base-url", &format!("{address}/{}/{snapshot}", args.repo)]);
    command.arg("--to").arg(args.to);
    command.args(args.no_archive.then_some("--no-archive")).args(args.prune.then_some("--prune"));
    if let Some(folder) = args.hardlink {
        command.arg("--hardlink").arg(folder);
    }
    if std::env::var_os("PACKAGEMANAGER_TOKEN").is_none_or(|token| token.is_empty())
        && let Some(path) = tokens_file::path()
        && let Some(token) = tokens_file::find(&path, &address)?
    {
        command.env("PACKAGEMANAGER_TOKEN", &*token);
    }
    Err(exec(command))
}

/// Returns the address of the server: `--address`, a listener of the server of this machine, or `Server.Address`.
fn address(config: Option<&Path>, address: Option<&str>) -> Result<String, CliError> {
    if let Some(address) = address.map(str::trim).filter(|address| !address.is_empty()) {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    let config = server_config(config, ParseMode::Lenient)?;
    let listener = config.http.listen.clone().map(|listen| {
        let is_any = matches!(listen.host.as_str(), "" | "0.0.0.0" | "::");
        format!("http://{}", if is_any { Listen { host: "127.0.0.1".to_owned(), ..listen } } else { listen })
    });
    let address = listener.or_else(|| config.server.address.as_deref().map(str::to_owned));
    let address = address.map(|address| address.trim_end_matches('/').to_owned());
    address.ok_or_else(|| {
        CliError::refused("the server has no listener for http: give its address with --address")
    })
}
