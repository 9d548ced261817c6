//! `rspm clear`: removes all packages of CRAN from its newest state.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::Output;
use api::job::ClearSource;
use api::operations::admin as operations;
use api::suggested_values::SuggestedValues;

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
    let job = client.send::<operations::ClearSource>([], &body).await?;
    job::follow_or_print(client, output, job, &args.job_flags, "clearing of cran").await
}
