//! `rspm backfill`: starts and stops the back-fill of a source's history before its first sync.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::Output;
use api::backfill::StartBackfill;
use api::operations::admin as operations;
use base::model::time::Day;

#[derive(Debug, Args)]
#[command(after_help = "Example: rspm backfill --source=cran --since=2020-01-01 --dry-run")]
pub struct Backfill {
    /// The source
    #[arg(long, default_value = "cran", value_name = "NAME")]
    pub source: String,
    /// The oldest day of the history, YYYY-MM-DD; required without --stop
    #[arg(long, value_name = "DATE", required_unless_present = "stop", conflicts_with = "stop")]
    pub since: Option<Day>,
    /// Maximum number of requests per second to the mirror, over four connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub rate: u32,
    /// Print what would be done and do nothing
    #[arg(long, conflicts_with = "stop")]
    pub dry_run: bool,
    /// Stop the running back-fill; its progress is stored, and the command without --stop resumes it
    #[arg(long)]
    pub stop: bool,
    /// Wait and progress flags.
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// `rspm backfill`.
///
/// # Errors
/// The server refuses, or the back-fill fails.
pub async fn run(client: &Client, output: &Output, args: Backfill) -> Result<(), CliError> {
    let Some(since) = args.since else {
        let result = client.call::<operations::StopBackfill>([&args.source.to_string()], &()).await?;
        return output.print(&result, || result.message.clone());
    };
    let start = StartBackfill {
        source: args.source.clone(),
        since: since.to_string(),
        rate: Some(args.rate),
        dry_run: args.dry_run,
    };
    let job = client.send::<operations::StartBackfill>([], &start).await?;
    job::follow_or_print(client, output, job, &args.job_flags, &format!("back-fill of {}", args.source)).await
}
