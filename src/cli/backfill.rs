//! `rspm backfill`: fills in the history of a source before its first sync, and stops that.

use clap::Args;
use hyper::Method;

use super::client::Client;
use super::error::CliError;
use super::job::{self, Watched};
use super::output::Output;
use crate::api::backfill::{StartBackfill, StoppedBackfill};
use crate::api::job::Job;
use crate::model::time::Day;

/// Flags of `backfill`.
#[derive(Debug, Args)]
#[command(after_help = "Example: rspm backfill --source=cran --since=2020-01-01 --dry-run")]
pub struct Backfill {
    /// The source whose history is filled in
    #[arg(long, default_value = "cran", value_name = "NAME")]
    pub source: String,
    /// The oldest day to have, YYYY-MM-DD
    #[arg(long, value_name = "DATE", required_unless_present = "stop", conflicts_with = "stop")]
    pub since: Option<Day>,
    /// Requests to the mirror in a second, at most, over four connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub rate: u32,
    /// Say what there is to do, and do nothing
    #[arg(long, conflicts_with = "stop")]
    pub dry_run: bool,
    /// Stop the one under way; what was read is kept, and the same command goes on from there
    #[arg(long)]
    pub stop: bool,
    /// Whether it is watched.
    #[command(flatten)]
    pub watched: Watched,
}

/// `rspm backfill`.
///
/// # Errors
/// The server refuses, or the back-fill fails.
pub async fn run(client: &Client, output: &Output, args: Backfill) -> Result<(), CliError> {
    let Some(since) = args.since else {
        let stopped: StoppedBackfill = client.delete(&format!("/backfill/{}", args.source)).await?;
        return output.print(&stopped, || stopped.message.clone());
    };
    let start = StartBackfill {
        source: args.source.clone(),
        since: since.to_string(),
        rate: Some(args.rate),
        dry_run: args.dry_run,
    };
    let job: Job = client.send(Method::POST, "/backfill", &start).await?;
    job::attend(client, output, job, &args.watched, &format!("back-fill of {}", args.source)).await
}
