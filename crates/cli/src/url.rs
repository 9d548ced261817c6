//! `rspm url create`: prints the URL of a repository in a fixed state.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, note};
use api::fixed_url::{CreateUrl, SourceSnapshot};
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
    /// The day, YYYY-MM-DD (default: the newest state)
    #[arg(long, value_name = "DAY")]
    pub date: Option<String>,
    /// A source and the day or the transaction of its state; may be repeated
    #[arg(long, value_delimiter = ',', value_name = "SOURCE:SNAPSHOT")]
    pub snapshot: Vec<SourceState>,
    /// Fix the subscriptions and the states of all sources
    #[arg(long)]
    pub lock: bool,
    /// Print a URL with a day or a transaction, without creating an alias
    #[arg(long)]
    pub no_alias: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    source: String,
    snapshot: String,
}

impl FromStr for SourceState {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceState, String> {
        match text.split_once(':') {
            Some((source, snapshot)) if !source.is_empty() && !snapshot.is_empty() => {
                Ok(SourceState { source: source.to_owned(), snapshot: snapshot.to_owned() })
            }
            _ => Err("give SOURCE:DAY or SOURCE:TRANSACTION, such as cran:2026-11-20".to_owned()),
        }
    }
}

pub async fn run(client: &Client, output: &Output, command: UrlCommand) -> Result<(), CliError> {
    let UrlCommand::Create(args) = command;
    let (repo, version) = match args.repo.split_once('@') {
        Some((repo, version)) => (repo.to_owned(), Some(version.to_owned())),
        None => (args.repo, None),
    };
    let snapshots = args.snapshot.into_iter();
    let body = CreateUrl {
        version,
        date: args.date,
        snapshots: snapshots
            .map(|SourceState { source, snapshot }| SourceSnapshot { source, snapshot })
            .collect(),
        lock: args.lock,
        no_alias: args.no_alias,
    };
    let url = client.send::<operations::CreateUrl>([&repo], &body).await?;
    if !url.has_address && output.is_human() {
        note("Note: the URL is valid on this machine only; set Server.Address to the address for clients.");
    }
    output.print(&url, || url.url.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_and_its_state_are_separated_by_the_first_colon() {
        let state = "cran:2026-11-20".parse::<SourceState>();
        assert_eq!(state, Ok(SourceState { source: "cran".to_owned(), snapshot: "2026-11-20".to_owned() }));
        for bad in ["", "cran", "cran:", ":2026-11-20"] {
            assert!(bad.parse::<SourceState>().is_err(), "{bad}");
        }
    }
}
