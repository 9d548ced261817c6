//! `rspm import from-…`: the installed program `rspm-offline-downloader` reads the origin and prints its list, which is then
//! imported as that of `rspm import list`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::import::{self, ImportFlags};
use super::output::Output;
use super::programs::{DOWNLOADER, program_command, start_error};

/// `rspm import from-…`
#[derive(Debug, Subcommand)]
pub enum Origin {
    /// Import the packages of a folder
    FromFolder(ImportOrigin),
    /// Import the packages of an index of Python projects
    FromIndex(ImportOrigin),
    /// Import the packages of a CRAN-like repository, and its archive
    FromCran(ImportOrigin),
    /// Import the packages and days of a server with dated snapshots
    FromSnapshots(ImportOrigin),
    /// Import the packages of each commit of a git repository; of another branch with -- --branch NAME
    FromGit(ImportOrigin),
    /// Import the packages of an index of devpi, or of its export with -- --index USER/INDEX
    FromDevpi(ImportOrigin),
}

impl Origin {
    /// Returns the name of the kind for the reader, and the flags.
    fn into_parts(self) -> (&'static str, ImportOrigin) {
        match self {
            Origin::FromFolder(args) => ("from-folder", args),
            Origin::FromIndex(args) => ("from-index", args),
            Origin::FromCran(args) => ("from-cran", args),
            Origin::FromSnapshots(args) => ("from-snapshots", args),
            Origin::FromGit(args) => ("from-git", args),
            Origin::FromDevpi(args) => ("from-devpi", args),
        }
    }
}

#[derive(Debug, Args)]
pub struct ImportOrigin {
    /// Folder or address
    #[arg(value_name = "ORIGIN")]
    pub origin: String,
    #[command(flatten)]
    pub flags: ImportFlags,
    /// Keep the list in this file
    #[arg(long, value_name = "FILE")]
    pub list_out: Option<PathBuf>,
    /// Flags of the reader after `--`, as in `rspm-offline-downloader list --help`
    #[arg(last = true, value_name = "FLAGS")]
    pub reader_flags: Vec<OsString>,
}

pub(super) async fn run(client: &Client, output: &Output, origin: Origin) -> Result<(), CliError> {
    let (kind, ImportOrigin { origin, flags, list_out, reader_flags }) = origin.into_parts();
    let temporary = tempfile::tempdir()
        .map_err(|source| CliError::Local { operation: "create a temporary folder".to_owned(), source })?;
    let (is_kept, temporary_list) = (list_out.is_some(), temporary.path().join("list.ndjson"));
    let list = list_out.unwrap_or(temporary_list);
    let mut command = program_command(DOWNLOADER, None);
    command.args(["list", kind, &origin, "--out"]).arg(&list).args(reader_flags);
    if kind == "from-index" && !flags.hosts.is_empty() {
        command.args(["--file-hosts", &flags.hosts.join(",")]);
    }
    let status = command.status().map_err(|source| start_error(&command, source))?;
    if !status.success() {
        return Err(CliError::refused("the origin was not read, and nothing was imported"));
    }
    // Paths in the list of a git repository are relative to the list.
    let origin = Some(origin.as_str()).filter(|_| kind != "from-git");
    let result = import::run(client, output, &list, origin, &flags).await;
    result.map_err(|error| match error {
        CliError::Refused { code, reason } if !is_kept => {
            CliError::Refused { code, reason: reason.replace(&format!("{}:", list.display()), "line ") }
        }
        other => other,
    })
}
