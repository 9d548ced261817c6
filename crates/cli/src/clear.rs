//! `rspm clear`: removes all packages of CRAN from its newest state.

use clap::Args;
use hyper::Method;

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::Output;
use super::suggested_values::SuggestedValues;
use api::job::{ClearSource, Job};

/// Flags of `clear`.
#[derive(Debug, Args)]
#[command(
    after_help = "No repository may subscribe to the source. Earlier snapshots still serve its packages; the next \
                        sync fills it again."
)]
pub struct ClearArgs {
    /// The source
    #[arg(long = "type", default_value = "cran", value_name = "TYPE", value_parser = SuggestedValues(&["cran"]))]
    pub kind: String,
    /// Clear the source; without this flag, only check whether it can be cleared
    #[arg(long)]
    pub confirm: bool,
    /// Wait and progress flags.
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// `rspm clear`.
///
/// # Errors
/// The server refuses, or the job fails.
pub async fn run(client: &Client, output: &Output, args: ClearArgs) -> Result<(), CliError> {
    let body = ClearSource { kind: args.kind, confirm: args.confirm };
    let job: Job = client.send(Method::POST, "/clear", &body).await?;
    job::follow_or_print(client, output, job, &args.job_flags, "clearing of cran").await
}
