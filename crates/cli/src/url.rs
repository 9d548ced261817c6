//! `rspm url create`: prints the URL of a repository in a fixed state.

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, note};
use api::fixed_url::CreateUrl;
use api::operations::admin as operations;

/// `rspm url …`
#[derive(Debug, Subcommand)]
pub enum UrlCommand {
    /// Print the URL of a repository in a fixed state
    Create(CreateUrlArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Without --snapshot and --lock, the URL has the day, or latest.\n\
                        Example: rspm url create --repo=prod --snapshot=cran:2026-11-20 --lock")]
pub struct CreateUrlArgs {
    /// The repository; for Bioconductor optionally with a version: bioc@3.20
    #[arg(long, value_name = "NAME[@VERSION]")]
    pub repo: String,
    /// The request.
    #[command(flatten)]
    pub request: CreateUrl,
}

pub async fn run(client: &Client, output: &Output, command: UrlCommand) -> Result<(), CliError> {
    let UrlCommand::Create(args) = command;
    let (repo, version) = match args.repo.split_once('@') {
        Some((repo, version)) => (repo.to_owned(), Some(version.to_owned())),
        None => (args.repo, None),
    };
    let body = CreateUrl { version, ..args.request };
    let url = client.send::<operations::CreateUrl>([&repo], &body).await?;
    if !url.has_address && output.is_human() {
        note("Note: the URL is valid on this machine only; set Server.Address to the address for clients.");
    }
    output.print(&url, || url.url.clone())
}
